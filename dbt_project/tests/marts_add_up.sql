-- A run's customers and money are the same in every mart, to the cent.
with

facts as (

    select
        count(*) as customer_count,
        count(*) filter (where is_active) as active_count,
        count(churn_probability) as scored_count,
        count(*) filter (where is_eligible) as eligible_count,
        count(*) filter (where is_eligible and churn_probability is not null)
            as eligible_scored_count,
        coalesce(sum(value_at_risk_amount) filter (where is_active), 0)
            as active_value_amount,
        coalesce(
            sum(value_at_risk_amount) filter (where churn_probability is not null), 0
        ) as scored_value_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as loss_amount
    from {{ ref('fct_churn_score') }}
    where run_id = {{ run_id() }}

),

newest as (

    select
        count(*) as active_count,
        coalesce(sum(value_at_risk_amount), 0) as active_value_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as loss_amount
    from {{ ref('customer_churn_current') }}
    where run_id = {{ run_id() }}

),

daily as (

    select
        coalesce(sum(customer_count), 0) as scored_count,
        coalesce(sum(revenue_at_risk_amount), 0) as scored_value_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as loss_amount
    from {{ ref('revenue_at_risk_daily') }}
    where run_id = {{ run_id() }}

),

runs as (

    select
        customer_count,
        active_count,
        scored_count
    from {{ ref('dim_scoring_run') }}
    where run_id = {{ run_id() }}

),

final as (

    select
        facts.*,
        newest.active_count as current_active_count,
        daily.scored_count as daily_scored_count
    from facts
    cross join newest
    cross join daily
    left join runs
        on true
    where
        (facts.customer_count, facts.active_count, facts.scored_count)
        is distinct from (runs.customer_count, runs.active_count, runs.scored_count)
        or facts.eligible_count <> facts.scored_count
        or facts.eligible_count <> facts.eligible_scored_count
        or facts.active_count <> newest.active_count
        or facts.active_value_amount <> newest.active_value_amount
        or facts.loss_amount <> newest.loss_amount
        or facts.scored_count <> daily.scored_count
        or facts.scored_value_amount <> daily.scored_value_amount
        or facts.loss_amount <> daily.loss_amount

)

select * from final
