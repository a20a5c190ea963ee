{{
    config(
        meta={'record_key': ['customer_id', 'event_at']},
        pre_hook=["{{ find_new_batches('usage') }}"],
        post_hook=["{{ register_new_batches() }}"],
        indexes=[{'columns': ['event_at', 'known_at'], 'type': 'brin'}],
    )
}}

{%- set count = {'type': 'integer', 'least': 0, 'most': 1000000} %}

{{ versions('usage', ['customer_id', 'event_at'], [
    {'source': 'customer_id', 'type': 'text'},
    dict(count, source='session_count'),
    dict(count, source='active_minutes'),
    dict(count, source='search_count'),
    dict(count, source='export_count'),
    dict(count, source='share_count'),
]) }}
