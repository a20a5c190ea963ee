{{
    config(
        meta={'record_key': ['ticket_id', 'event_type']},
        pre_hook=["{{ find_new_batches('tickets') }}"],
        post_hook=["{{ register_new_batches() }}"],
        indexes=[
            {'columns': ['ticket_id']},
            {'columns': ['event_at', 'known_at'], 'type': 'brin'},
        ],
    )
}}

{{ versions('tickets', ['ticket_id', 'event_type'], [
    {'source': 'ticket_id', 'type': 'text'},
    {'source': 'event_type', 'type': 'category',
     'accepts': ['opened', 'resolved', 'rated']},
    {'source': 'customer_id', 'type': 'text'},
    {'source': 'category', 'type': 'category',
     'accepts': ['billing', 'technical', 'account']},
    {'source': 'priority', 'type': 'category', 'accepts': ['low', 'normal', 'high']},
    {'source': 'csat', 'type': 'integer', 'least': 1, 'most': 5,
     'blank_where': "event_type <> 'rated'"},
]) }}
