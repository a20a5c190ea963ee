{{
    config(
        meta={'record_key': ['change_id']},
        pre_hook=["{{ find_new_batches('subscriptions') }}"],
        post_hook=["{{ register_new_batches() }}"],
        indexes=[
            {'columns': ['change_id']},
            {'columns': ['customer_id']},
            {'columns': ['event_at', 'known_at'], 'type': 'brin'},
        ],
    )
}}

{{ versions('subscriptions', ['change_id'], [
    {'source': 'change_id', 'type': 'text'},
    {'source': 'subscription_id', 'type': 'text'},
    {'source': 'customer_id', 'type': 'text'},
    {'source': 'change_type', 'type': 'category',
     'accepts': ['start', 'upgrade', 'downgrade', 'price_change', 'discount_change',
                 'renewal', 'cancel_request', 'cancel_withdrawal', 'end_voluntary',
                 'end_involuntary', 'return']},
    {'source': 'plan_id', 'type': 'text'},
    {'source': 'monthly_price_amount', 'type': 'numeric', 'least': 0, 'most': 100000},
    {'source': 'discount_share', 'type': 'numeric', 'least': 0, 'most': 1},
    {'source': 'currency', 'type': 'category', 'accepts': ['USD']},
    {'source': 'contract', 'type': 'category',
     'accepts': ['month_to_month', 'one_year', 'two_year']},
    {'source': 'term_end_date', 'type': 'date',
     'blank_where': "contract = 'month_to_month'"},
    {'source': 'is_auto_renewal', 'type': 'flag',
     'accepts': {'true': true, 'false': false}},
]) }}
