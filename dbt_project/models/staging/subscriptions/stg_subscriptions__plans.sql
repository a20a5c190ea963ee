{{
    config(
        meta={'record_key': ['plan_id', 'event_at']},
        pre_hook=["{{ find_new_batches('plans') }}"],
        post_hook=["{{ register_new_batches() }}"],
        indexes=[
            {'columns': ['plan_id']},
            {'columns': ['event_at', 'known_at'], 'type': 'brin'},
        ],
    )
}}

{{ versions('plans', ['plan_id', 'event_at'], [
    {'source': 'plan_id', 'type': 'text'},
    {'source': 'plan_name', 'type': 'text'},
    {'source': 'plan_tier', 'type': 'category',
     'accepts': ['basic', 'standard', 'premium']},
    {'source': 'list_price_amount', 'type': 'numeric', 'least': 0, 'most': 100000},
    {'source': 'currency', 'type': 'category', 'accepts': ['USD']},
]) }}
