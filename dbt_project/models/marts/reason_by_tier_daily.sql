with

scores as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        customer_key,
        risk_tier_key,
        risk_tier,
        risk_tier_sort
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and churn_probability is not null

),

reasons as (

    select
        customer_key,
        reason_code,
        feature_name,
        direction,
        reason_points,
        is_actionable
    from {{ ref('fct_churn_reason') }}
    where run_id = {{ run_id() }}

),

tiers as (

    select
        risk_tier_key,
        count(*)::integer as tier_customer_count
    from scores
    group by risk_tier_key

),

counted as (

    select
        scores.run_id,
        scores.scoring_run_key,
        scores.as_of_date,
        scores.as_of_date_key,
        scores.known_as_of,
        scores.risk_tier_key,
        scores.risk_tier,
        scores.risk_tier_sort,
        reasons.reason_code,
        reasons.feature_name,
        reasons.direction,
        bool_or(reasons.is_actionable) as is_actionable,
        count(*)::integer as customer_count,
        round(avg(reasons.reason_points::numeric), 6)::double precision
            as mean_reason_points
    from scores
    inner join reasons
        on scores.customer_key = reasons.customer_key
    group by
        scores.run_id, scores.scoring_run_key, scores.as_of_date,
        scores.as_of_date_key, scores.known_as_of, scores.risk_tier_key,
        scores.risk_tier, scores.risk_tier_sort, reasons.reason_code,
        reasons.feature_name, reasons.direction

),

final as (

    select
        counted.run_id,
        counted.scoring_run_key,
        counted.as_of_date,
        counted.as_of_date_key,
        counted.known_as_of,
        counted.risk_tier_key,
        counted.risk_tier,
        counted.risk_tier_sort,
        counted.reason_code,
        counted.feature_name,
        counted.direction,
        counted.is_actionable,
        counted.customer_count,
        tiers.tier_customer_count,
        counted.mean_reason_points
    from counted
    inner join tiers
        on counted.risk_tier_key = tiers.risk_tier_key

)

select * from final
