{{
    config(
        meta={'record_key': ['invoice_id']},
        pre_hook=["{{ find_new_batches('invoices') }}"],
        post_hook=["{{ register_new_batches() }}"],
        indexes=[
            {'columns': ['invoice_id']},
            {'columns': ['event_at', 'known_at'], 'type': 'brin'},
        ],
    )
}}

{{ versions('invoices', ['invoice_id'], [
    {'source': 'invoice_id', 'type': 'text'},
    {'source': 'customer_id', 'type': 'text'},
    {'source': 'subscription_id', 'type': 'text'},
    {'source': 'due_date', 'type': 'date'},
    {'source': 'amount', 'type': 'numeric', 'least': 0, 'most': 100000},
    {'source': 'currency', 'type': 'category', 'accepts': ['USD']},
]) }}
