{{
    config(
        meta={'record_key': ['treatment_id']},
        pre_hook=["{{ find_new_batches('treatments') }}"],
        post_hook=["{{ register_new_batches() }}"],
        indexes=[
            {'columns': ['treatment_id']},
            {'columns': ['event_at', 'known_at'], 'type': 'brin'},
        ],
    )
}}

{{ versions('treatments', ['treatment_id'], [
    {'source': 'treatment_id', 'type': 'text'},
    {'source': 'customer_id', 'type': 'text'},
    {'source': 'campaign_id', 'type': 'text'},
    {'source': 'treatment', 'type': 'category',
     'accepts': ['discount', 'call', 'upgrade_offer']},
    {'source': 'is_held_out', 'type': 'flag',
     'accepts': {'true': true, 'false': false}},
    {'source': 'cost_amount', 'type': 'numeric', 'least': 0, 'most': 100000},
    {'source': 'currency', 'type': 'category', 'accepts': ['USD']},
]) }}
