-- The first rows of a night's queue that fit the filters, and the sums of all that fit.
with

matched as (

    select
        customer_key,
        queue_position,
        is_within_budget,
        expected_profit_amount,
        expected_cost_amount
    from marts.retention_queue
    where
        scoring_run_key = %(scoring_run_key)s
        and (
            %(risk_tier)s::text[] is null
            or risk_tier = any(%(risk_tier)s::text[])
        )
        and (
            %(queue_status)s::text[] is null
            or queue_status = any(%(queue_status)s::text[])
        )
        and (
            %(segment)s::text[] is null
            or segment = any(%(segment)s::text[])
        )
        and (
            %(region)s::text[] is null
            or region = any(%(region)s::text[])
        )
        and (
            %(plan)s::text[] is null
            or plan = any(%(plan)s::text[])
        )
        and (
            %(contract)s::text[] is null
            or contract = any(%(contract)s::text[])
        )
        and (
            %(least_profit)s::numeric is null
            or expected_profit_amount >= %(least_profit)s::numeric
        )
        and position(lower(%(search)s::text) in lower(customer_id)) > 0

),

found as (

    select
        count(*) as found_count,
        count(*) filter (where is_within_budget) as found_to_treat_count,
        sum(expected_profit_amount) as found_profit_amount,
        sum(expected_cost_amount) as found_cost_amount
    from matched

),

listed as (

    select customer_key
    from matched
    order by queue_position
    limit %(most)s

)

select
    queue.queue_position,
    queue.customer_id,
    queue.queue_status,
    queue.risk_tier,
    queue.days_in_tier,
    queue.churn_probability,
    queue.risk_change_pts,
    queue.risk_change_7d_pts,
    queue.expected_profit_amount,
    queue.expected_cost_amount,
    queue.expected_revenue_loss_amount,
    queue.value_at_risk_amount,
    queue.monthly_value_amount,
    queue.currency,
    queue.value_status,
    queue.recommended_action,
    queue.reason_1_sentence,
    queue.reason_2_sentence,
    queue.reason_3_sentence,
    queue.segment,
    queue.region,
    queue.plan,
    queue.contract,
    queue.tenure_group,
    queue.campaign_id,
    queue.treatment,
    queue.as_of_date,
    found.*
from listed
inner join marts.retention_queue as queue
    on
        queue.scoring_run_key = %(scoring_run_key)s
        and listed.customer_key = queue.customer_key
cross join found
order by queue.queue_position
