{{
    config(
        meta={'record_key': ['contact_id']},
        pre_hook=["{{ find_new_batches('contacts') }}"],
        post_hook=["{{ register_new_batches() }}"],
        indexes=[
            {'columns': ['contact_id']},
            {'columns': ['event_at', 'known_at'], 'type': 'brin'},
        ],
    )
}}

{{ versions('contacts', ['contact_id'], [
    {'source': 'contact_id', 'type': 'text'},
    {'source': 'customer_id', 'type': 'text'},
    {'source': 'channel', 'type': 'category',
     'accepts': ['email', 'phone', 'chat', 'in_app']},
    {'source': 'direction', 'type': 'category', 'accepts': ['inbound', 'outbound']},
]) }}
