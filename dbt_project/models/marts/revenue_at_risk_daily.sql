with

scores as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        risk_tier_key,
        risk_tier,
        risk_tier_sort,
        segment,
        currency,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        value_at_risk_amount,
        expected_revenue_loss_amount
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and churn_probability is not null

),

grouped as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        risk_tier_key,
        risk_tier,
        risk_tier_sort,
        segment,
        count(*)::integer as customer_count,
        count(value_at_risk_amount)::integer as valued_customer_count,
        sum(value_at_risk_amount)::numeric(18, 2) as revenue_at_risk_amount,
        sum(expected_revenue_loss_amount)::numeric(18, 2)
            as expected_revenue_loss_amount,
        {{ loss_moments(
            'churn_probability', 'churn_probability_low', 'churn_probability_high',
            'value_at_risk_amount'
        ) }},
        round(avg(churn_probability::numeric), 6)::double precision
            as mean_churn_probability,
        currency
    from scores
    group by
        run_id, scoring_run_key, as_of_date, as_of_date_key, known_as_of,
        risk_tier_key, risk_tier, risk_tier_sort, segment, currency

),

final as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        risk_tier_key,
        risk_tier,
        risk_tier_sort,
        segment,
        customer_count,
        valued_customer_count,
        revenue_at_risk_amount,
        expected_revenue_loss_amount,
        {{ loss_limit('low') }}::numeric(18, 2) as expected_revenue_loss_low_amount,
        {{ loss_limit('high') }}::numeric(18, 2) as expected_revenue_loss_high_amount,
        {{ is_loss_interval_approximate() }} as is_interval_approximate,
        mean_churn_probability,
        currency
    from grouped

)

select * from final
