with

customers as (

    {{ customers_compared() }}

),

final as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        previous_as_of_date,
        from_state,
        from_state_sort,
        from_risk_tier_key,
        to_state,
        to_state_sort,
        to_risk_tier_key,
        count(*)::integer as customer_count,
        sum(previous_value_at_risk_amount)::numeric(18, 2)
            as previous_value_at_risk_amount,
        sum(value_at_risk_amount)::numeric(18, 2) as value_at_risk_amount,
        sum(previous_expected_revenue_loss_amount)::numeric(18, 2)
            as previous_expected_revenue_loss_amount,
        sum(expected_revenue_loss_amount)::numeric(18, 2)
            as expected_revenue_loss_amount,
        currency
    from customers
    group by
        run_id, scoring_run_key, as_of_date, as_of_date_key, known_as_of,
        previous_as_of_date, from_state, from_state_sort, from_risk_tier_key,
        to_state, to_state_sort, to_risk_tier_key, currency

)

select * from final
