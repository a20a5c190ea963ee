-- A run's customers and money are the same in every mart, to the cent: over tiers, over
-- segments and over customers. Whoever's value is not known is counted.
with

facts as (

    select
        count(*) as customer_count,
        count(*) filter (where is_active) as active_count,
        count(churn_probability) as scored_count,
        count(*) filter (where is_eligible) as eligible_count,
        count(*) filter (where is_eligible and churn_probability is not null)
            as eligible_scored_count,
        count(*) filter (where is_active and monthly_value_amount is null)
            as unvalued_count,
        count(*) filter (
            where (value_status = 'known') <> (value_at_risk_amount is not null)
        ) as misstated_count,
        count(*) filter (
            where
            monthly_value_amount
            is distinct from round(source_monthly_value_amount * exchange_rate, 2)
        ) as misconverted_count,
        count(distinct currency) as currency_count,
        count(value_at_risk_amount) filter (where churn_probability is not null)
            as valued_count,
        coalesce(sum(monthly_value_amount) filter (where is_active), 0) as mrr_amount,
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
        count(*) filter (where monthly_value_amount is null) as unvalued_count,
        coalesce(sum(value_at_risk_amount), 0) as active_value_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as loss_amount
    from {{ ref('customer_churn_current') }}
    where run_id = {{ run_id() }}

),

daily as (

    select
        coalesce(sum(customer_count), 0) as scored_count,
        coalesce(sum(valued_customer_count), 0) as valued_count,
        coalesce(sum(revenue_at_risk_amount), 0) as scored_value_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as loss_amount
    from {{ ref('revenue_at_risk_daily') }}
    where run_id = {{ run_id() }}

),

{# The same customers by other groups: each segment as revenue_at_risk_daily has it. #}
by_group as (

    select
        segment,
        sum(customer_count) as customer_count,
        sum(valued_customer_count) as valued_count,
        sum(revenue_at_risk_amount) as value_amount,
        sum(expected_revenue_loss_amount) as loss_amount
    from {{ ref('risk_by_group_daily') }}
    where run_id = {{ run_id() }}
    group by segment
    except
    select
        segment,
        sum(customer_count) as customer_count,
        sum(valued_customer_count) as valued_count,
        sum(revenue_at_risk_amount) as value_amount,
        sum(expected_revenue_loss_amount) as loss_amount
    from {{ ref('revenue_at_risk_daily') }}
    where run_id = {{ run_id() }}
    group by segment

),

grouped as (

    select coalesce(sum(customer_count), 0) as scored_count
    from {{ ref('risk_by_group_daily') }}
    where run_id = {{ run_id() }}

),

{# Every reason counts once, in the tier of its customer. #}
reasons as (

    select count(*) as reason_count
    from {{ ref('fct_churn_reason') }}
    where run_id = {{ run_id() }}

),

reasons_by_tier as (

    select coalesce(sum(customer_count), 0) as reason_count
    from {{ ref('reason_by_tier_daily') }}
    where run_id = {{ run_id() }}

),

kpis as (

    select
        customer_closing_count as active_count,
        unvalued_customer_count as unvalued_count,
        scored_customer_count as scored_count,
        valued_customer_count as valued_count,
        coalesce(mrr_closing_amount, 0) as mrr_amount,
        coalesce(revenue_at_risk_amount, 0) as scored_value_amount,
        coalesce(expected_revenue_loss_amount, 0) as loss_amount
    from {{ ref('churn_kpis_daily') }}
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

{# Per tier and segment, told from the customers and from the mart. #}
groups as (

    select
        risk_tier_key,
        segment,
        count(*) as scored_count,
        count(value_at_risk_amount) as valued_count,
        sum(value_at_risk_amount) as value_amount,
        sum(expected_revenue_loss_amount) as loss_amount
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and churn_probability is not null
    group by risk_tier_key, segment
    except
    select
        risk_tier_key,
        segment,
        customer_count,
        valued_customer_count,
        revenue_at_risk_amount,
        expected_revenue_loss_amount
    from {{ ref('revenue_at_risk_daily') }}
    where run_id = {{ run_id() }}

),

{# A group's interval holds its expectation and is no wider than what can be lost. #}
intervals as (

    select count(*) as wrong_count
    from {{ ref('revenue_at_risk_daily') }}
    where
        run_id = {{ run_id() }}
        and not (
            expected_revenue_loss_low_amount >= 0
            and expected_revenue_loss_low_amount
            <= expected_revenue_loss_amount + 0.01 * valued_customer_count
            and expected_revenue_loss_high_amount
            >= expected_revenue_loss_amount - 0.01 * valued_customer_count
            and expected_revenue_loss_high_amount <= revenue_at_risk_amount
        )

),

final as (

    select
        facts.*,
        newest.active_count as current_active_count,
        daily.scored_count as daily_scored_count
    from facts
    cross join newest
    cross join daily
    cross join grouped
    cross join reasons
    cross join reasons_by_tier
    cross join intervals
    left join kpis
        on true
    left join runs
        on true
    where
        (facts.customer_count, facts.active_count, facts.scored_count)
        is distinct from (runs.customer_count, runs.active_count, runs.scored_count)
        or facts.eligible_count <> facts.scored_count
        or facts.eligible_count <> facts.eligible_scored_count
        or facts.misstated_count > 0
        or facts.misconverted_count > 0
        or facts.currency_count > 1
        or (
            facts.active_count,
            facts.unvalued_count,
            facts.active_value_amount,
            facts.loss_amount
        )
        is distinct from (
            newest.active_count,
            newest.unvalued_count,
            newest.active_value_amount,
            newest.loss_amount
        )
        or (
            facts.scored_count,
            facts.valued_count,
            facts.scored_value_amount,
            facts.loss_amount
        )
        is distinct from (
            daily.scored_count,
            daily.valued_count,
            daily.scored_value_amount,
            daily.loss_amount
        )
        or (
            facts.active_count,
            facts.unvalued_count,
            facts.scored_count,
            facts.valued_count,
            facts.mrr_amount,
            facts.scored_value_amount,
            facts.loss_amount
        )
        is distinct from (
            kpis.active_count,
            kpis.unvalued_count,
            kpis.scored_count,
            kpis.valued_count,
            kpis.mrr_amount,
            kpis.scored_value_amount,
            kpis.loss_amount
        )
        or exists (select from groups)
        or exists (select from by_group)
        or grouped.scored_count <> facts.scored_count
        or reasons.reason_count <> reasons_by_tier.reason_count
        or intervals.wrong_count > 0

)

select * from final
