with

outcomes as (

    select
        run_id,
        scoring_run_key,
        scored_run_id,
        scored_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        scored_as_of_date,
        scored_as_of_date_key,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        risk_tier,
        model_key,
        model_version,
        value_at_risk_amount,
        expected_revenue_loss_amount,
        churned,
        outcome_status,
        value_lost_amount,
        treatment_status,
        currency
    from {{ ref('fct_score_outcome') }}
    where run_id = {{ run_id() }}

),

measured as (

    select
        scored_run_key,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        risk_tier,
        value_at_risk_amount,
        expected_revenue_loss_amount,
        churned,
        value_lost_amount
    from outcomes
    where {{ is_measured() }}

),

ranked as (

    {{ ranked_outcomes() }}

),

-- The highest tenth by probability; of customers tied across its limit an equal share.
orders as (

    select
        scored_run_key,
        sum(
            churned_count
            * (lower_stayed_count + (customer_count - churned_count) / 2.0)
        ) / nullif(
            max(run_churned_count) * (max(run_customer_count) - max(run_churned_count)),
            0
        ) as roc_auc,
        sum(
            churned_count * least(greatest(
                (
                    lower_customer_count + customer_count - 0.9 * run_customer_count
                ) / customer_count, 0
            ), 1)
        ) / nullif(0.1 * max(run_churned_count), 0) as top_decile_lift
    from ranked
    group by scored_run_key

),

sums as (

    select
        scored_run_key,
        count(*) as measured_count,
        count(*) filter (where churned) as churned_count,
        sum(churn_probability::numeric) as expected_churned_count,
        avg(
            -ln(greatest(
                case when churned then churn_probability else 1 - churn_probability end,
                2.220446049250313e-16
            ))::numeric
        ) as log_loss,
        avg(
            ((churn_probability - churned::integer) ^ 2)::numeric
        ) as brier,
        count(*) filter (where risk_tier = 'high') as high_tier_count,
        count(*) filter (where risk_tier = 'high' and churned)
            as high_tier_churned_count,
        count(expected_revenue_loss_amount) as valued_count,
        sum(expected_revenue_loss_amount) as expected_revenue_loss_amount,
        sum(value_lost_amount) filter (where expected_revenue_loss_amount is not null)
            as value_lost_amount,
        {{ loss_moments(
            'churn_probability', 'churn_probability_low', 'churn_probability_high',
            'value_at_risk_amount'
        ) }}
    from measured
    group by scored_run_key

),

limits as (

    select
        scored_run_key,
        measured_count,
        churned_count,
        expected_churned_count,
        log_loss,
        brier,
        high_tier_count,
        high_tier_churned_count,
        valued_count,
        expected_revenue_loss_amount,
        {{ loss_limit('low') }} as expected_revenue_loss_low_amount,
        {{ loss_limit('high') }} as expected_revenue_loss_high_amount,
        value_lost_amount
    from sums

),

nights as (

    select
        run_id,
        scoring_run_key,
        scored_run_id,
        scored_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        scored_as_of_date,
        scored_as_of_date_key,
        max(model_key) as model_key,
        max(model_version) as model_version,
        count(*) as customer_count,
        count(*) filter (where churned is null) as unknown_count,
        count(*) filter (where outcome_status = 'churned_in_gap')
            as churned_in_gap_count,
        count(*) filter (where churned is not null and treatment_status = 'treated')
            as treated_count,
        count(*) filter (where churned and treatment_status = 'treated')
            as treated_churned_count,
        max(currency) as currency
    from outcomes
    group by
        run_id, scoring_run_key, scored_run_id, scored_run_key, as_of_date,
        as_of_date_key, known_as_of, scored_as_of_date, scored_as_of_date_key

),

final as (

    select
        nights.run_id,
        nights.scoring_run_key,
        nights.scored_run_id,
        nights.scored_run_key,
        nights.as_of_date,
        nights.as_of_date_key,
        nights.known_as_of,
        nights.scored_as_of_date,
        nights.scored_as_of_date_key,
        nights.model_key,
        nights.model_version,
        nights.customer_count::integer as customer_count,
        coalesce(limits.measured_count, 0)::integer as measured_count,
        nights.unknown_count::integer as unknown_count,
        nights.churned_in_gap_count::integer as churned_in_gap_count,
        nights.treated_count::integer as treated_count,
        nights.treated_churned_count::integer as treated_churned_count,
        coalesce(limits.churned_count, 0)::integer as churned_count,
        round(limits.expected_churned_count, 6)::double precision
            as expected_churned_count,
        round(
            limits.churned_count / nullif(limits.expected_churned_count, 0), 6
        )::double precision as observed_expected_ratio,
        round(orders.roc_auc, 6)::double precision as roc_auc,
        round(limits.log_loss, 6)::double precision as log_loss,
        round(limits.brier, 6)::double precision as brier,
        round(orders.top_decile_lift, 6)::double precision as top_decile_lift,
        coalesce(limits.high_tier_count, 0)::integer as high_tier_count,
        coalesce(limits.high_tier_churned_count, 0)::integer as high_tier_churned_count,
        round(
            limits.high_tier_churned_count::numeric / nullif(limits.high_tier_count, 0),
            6
        )::double precision as high_tier_precision,
        round(
            limits.high_tier_churned_count::numeric / nullif(limits.churned_count, 0), 6
        )::double precision as high_tier_recall,
        coalesce(limits.valued_count, 0)::integer as valued_count,
        limits.value_lost_amount::numeric(18, 2) as value_lost_amount,
        limits.expected_revenue_loss_amount::numeric(18, 2)
            as expected_revenue_loss_amount,
        limits.expected_revenue_loss_low_amount::numeric(18, 2)
            as expected_revenue_loss_low_amount,
        limits.expected_revenue_loss_high_amount::numeric(18, 2)
            as expected_revenue_loss_high_amount,
        limits.value_lost_amount between
        limits.expected_revenue_loss_low_amount
        and limits.expected_revenue_loss_high_amount as is_value_lost_within_interval,
        round(
            limits.value_lost_amount / nullif(limits.expected_revenue_loss_amount, 0), 6
        )::double precision as observed_expected_money_ratio,
        nights.currency
    from nights
    left join limits
        on nights.scored_run_key = limits.scored_run_key
    left join orders
        on nights.scored_run_key = orders.scored_run_key

)

select * from final
