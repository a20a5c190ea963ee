-- What is told of the outcomes is of the customers of the outcomes of the run.
with

outcomes as (

    select
        scored_run_key,
        count(*) as customer_count,
        count(*) filter (where {{ is_measured() }}) as measured_count,
        count(*) filter (where churned and {{ is_measured() }}) as churned_count,
        coalesce(
            sum(value_lost_amount) filter (
                where expected_revenue_loss_amount is not null and {{ is_measured() }}
            ), 0
        ) as value_lost_amount,
        coalesce(
            sum(expected_revenue_loss_amount) filter (where {{ is_measured() }}), 0
        ) as expected_revenue_loss_amount
    from {{ ref('fct_score_outcome') }}
    where run_id = {{ run_id() }}
    group by scored_run_key

),

performance as (

    select
        scored_run_key,
        customer_count,
        measured_count,
        unknown_count,
        treated_count,
        churned_count,
        expected_churned_count,
        high_tier_count,
        high_tier_churned_count,
        coalesce(value_lost_amount, 0) as value_lost_amount,
        coalesce(expected_revenue_loss_amount, 0) as expected_revenue_loss_amount
    from {{ ref('model_performance') }}
    where run_id = {{ run_id() }}

),

bins as (

    select
        scored_run_key,
        sum(customer_count) as measured_count,
        sum(churned_count) as churned_count,
        sum(expected_churned_count) as expected_churned_count,
        coalesce(sum(value_lost_amount), 0) as value_lost_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as expected_revenue_loss_amount
    from {{ ref('calibration') }}
    where run_id = {{ run_id() }}
    group by scored_run_key

),

groups as (

    select
        scored_run_key,
        sum(measured_count) as measured_count,
        sum(churned_count) as churned_count,
        sum(expected_churned_count) as expected_churned_count,
        coalesce(sum(value_lost_amount), 0) as value_lost_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as expected_revenue_loss_amount
    from {{ ref('outcome_by_group') }}
    where run_id = {{ run_id() }}
    group by scored_run_key

),

leavers as (

    select count(distinct customer_key) as customer_count
    from {{ ref('fct_score_outcome') }}
    where
        run_id = {{ run_id() }}
        and outcome_status in ('churned', 'churned_in_gap')

),

timed as (

    select coalesce(sum(customer_count), 0) as customer_count
    from {{ ref('lead_time') }}
    where run_id = {{ run_id() }}

),

final as (

    select
        coalesce(
            outcomes.scored_run_key, performance.scored_run_key
        ) as scored_run_key
    from outcomes
    full outer join performance
        on outcomes.scored_run_key = performance.scored_run_key
    left join bins
        on performance.scored_run_key = bins.scored_run_key
    left join groups
        on performance.scored_run_key = groups.scored_run_key
    where
        (
            outcomes.customer_count, outcomes.measured_count, outcomes.churned_count,
            outcomes.value_lost_amount, outcomes.expected_revenue_loss_amount
        )
        is distinct from (
            performance.customer_count, performance.measured_count,
            performance.churned_count, performance.value_lost_amount,
            performance.expected_revenue_loss_amount
        )
        or performance.customer_count
        <> performance.measured_count + performance.unknown_count
        + performance.treated_count
        or (
            coalesce(bins.measured_count, 0), coalesce(bins.churned_count, 0),
            coalesce(bins.value_lost_amount, 0),
            coalesce(bins.expected_revenue_loss_amount, 0)
        )
        is distinct from (
            performance.measured_count, performance.churned_count,
            performance.value_lost_amount, performance.expected_revenue_loss_amount
        )
        or (
            coalesce(groups.measured_count, 0), coalesce(groups.churned_count, 0),
            coalesce(groups.value_lost_amount, 0),
            coalesce(groups.expected_revenue_loss_amount, 0)
        )
        is distinct from (
            performance.measured_count, performance.churned_count,
            performance.value_lost_amount, performance.expected_revenue_loss_amount
        )
        or abs(
            coalesce(groups.expected_churned_count, 0)
            - coalesce(performance.expected_churned_count, 0)
        ) > 0.001
        or abs(
            coalesce(bins.expected_churned_count, 0)
            - coalesce(performance.expected_churned_count, 0)
        ) > 0.0001
        or performance.high_tier_churned_count
        > least(performance.high_tier_count, performance.churned_count)
    union all
    select null as scored_run_key
    from leavers
    cross join timed
    where leavers.customer_count <> timed.customer_count

)

select * from final
