with

scores as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        segment,
        region,
        contract,
        tenure_group,
        tenure_group_sort,
        churn_probability,
        value_at_risk_amount,
        expected_revenue_loss_amount,
        currency
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and churn_probability is not null

),

final as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        segment,
        region,
        contract,
        tenure_group,
        tenure_group_sort,
        count(*)::integer as customer_count,
        count(value_at_risk_amount)::integer as valued_customer_count,
        round(sum(churn_probability::numeric), 6)::double precision
            as expected_churned_count,
        sum(value_at_risk_amount)::numeric(18, 2) as revenue_at_risk_amount,
        sum(expected_revenue_loss_amount)::numeric(18, 2)
            as expected_revenue_loss_amount,
        currency
    from scores
    group by
        run_id, scoring_run_key, as_of_date, as_of_date_key, known_as_of,
        segment, region, contract, tenure_group, tenure_group_sort, currency

)

select * from final
