{{
    config(indexes=[
        {'columns': ['as_of_date', 'run_id'], 'type': 'brin'},
        {'columns': ['customer_key', 'as_of_date']},
    ])
}}

with

customers as (

    {{ customers_compared() }}

),

final as (

    select
        run_id,
        scoring_run_key,
        customer_id,
        customer_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        previous_as_of_date,
        from_state,
        from_state_sort,
        from_risk_tier_key,
        from_exclusion_reason,
        to_state,
        to_state_sort,
        to_risk_tier_key,
        to_exclusion_reason,
        previous_churn_probability,
        churn_probability,
        previous_value_at_risk_amount,
        value_at_risk_amount,
        currency
    from customers
    where
        from_state = 'new'
        or (
            -- Who has left long ago is no longer listed: that changes nothing.
            (from_state, to_state) <> ('left', 'absent')
            and (from_risk_tier_key, from_exclusion_reason)
            is distinct from (to_risk_tier_key, to_exclusion_reason)
        )

)

select * from final
