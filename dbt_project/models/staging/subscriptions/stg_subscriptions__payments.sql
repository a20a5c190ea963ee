{{
    config(
        meta={'record_key': ['payment_id']},
        pre_hook=["{{ find_new_batches('payments') }}"],
        post_hook=["{{ register_new_batches() }}"],
        indexes=[
            {'columns': ['payment_id']},
            {'columns': ['event_at', 'known_at'], 'type': 'brin'},
        ],
    )
}}

{{ versions('payments', ['payment_id'], [
    {'source': 'payment_id', 'type': 'text'},
    {'source': 'invoice_id', 'type': 'text'},
    {'source': 'customer_id', 'type': 'text'},
    {'source': 'status', 'type': 'category',
     'accepts': ['succeeded', 'failed', 'refunded']},
    {'source': 'amount', 'type': 'numeric', 'least': 0, 'most': 100000},
    {'source': 'currency', 'type': 'category', 'accepts': ['USD']},
]) }}
