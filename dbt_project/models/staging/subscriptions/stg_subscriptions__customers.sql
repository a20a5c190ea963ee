{{
    config(
        meta={'record_key': ['customer_id', 'event_at']},
        pre_hook=["{{ find_new_batches('customers') }}"],
        post_hook=["{{ register_new_batches() }}"],
        indexes=[
            {'columns': ['customer_id']},
            {'columns': ['event_at', 'known_at'], 'type': 'brin'},
        ],
    )
}}

{{ versions('customers', ['customer_id', 'event_at'], [
    {'source': 'customer_id', 'type': 'text'},
    {'source': 'signup_date', 'type': 'date'},
    {'source': 'customer_type', 'type': 'category',
     'accepts': ['consumer', 'small_business']},
    {'source': 'region', 'type': 'category',
     'accepts': ['north', 'south', 'east', 'west']},
    {'source': 'acquisition_channel', 'type': 'category',
     'accepts': ['web', 'store', 'partner', 'referral']},
    {'source': 'age_group', 'type': 'category',
     'accepts': ['18_29', '30_44', '45_59', '60_plus', 'not_stated']},
    {'source': 'gender', 'type': 'category',
     'accepts': ['female', 'male', 'not_stated']},
]) }}
