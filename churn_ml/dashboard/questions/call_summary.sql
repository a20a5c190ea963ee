-- One row: the queue of a night by status, whom its campaign holds out, and who rests
-- after an earlier one. Only the newest night is kept.
with

night as (

    select
        scoring_run_key,
        as_of_date,
        active_count,
        scored_count
    from marts.dim_scoring_run
    where scoring_run_key = %(scoring_run_key)s

),

queued as (

    select
        count(*) as queue_count,
        count(*) filter (where is_within_budget) as to_treat_count,
        count(*) filter (where queue_status = 'beyond_budget') as beyond_budget_count,
        count(*) filter (where queue_status = 'no_campaign') as no_campaign_count,
        count(*) filter (
            where queue_status = 'profit_not_known'
        ) as profit_not_known_count,
        sum(expected_profit_amount) filter (
            where is_within_budget
        ) as to_treat_profit_amount,
        sum(expected_cost_amount) filter (
            where is_within_budget
        ) as to_treat_cost_amount,
        sum(expected_profit_amount) as expected_profit_amount,
        sum(expected_cost_amount) as expected_cost_amount,
        sum(expected_revenue_loss_amount) as expected_revenue_loss_amount
    from marts.retention_queue
    where scoring_run_key = %(scoring_run_key)s

),

arms as (

    select
        count(*) filter (where is_held_out) as held_out_count,
        max(campaign_id) as campaign_id,
        max(treatment) as treatment
    from marts.fct_treatment_assignment
    where scoring_run_key = %(scoring_run_key)s

),

resting as (

    select count(distinct earlier.customer_key) as resting_count
    from marts.fct_treatment_assignment as earlier
    inner join night
        on
            earlier.as_of_date < night.as_of_date
            and earlier.cooldown_until_date > night.as_of_date
    inner join marts.fct_churn_score as scores
        on
            night.scoring_run_key = scores.scoring_run_key
            and earlier.customer_key = scores.customer_key
    where scores.is_active

),

newest as (

    select scoring_run_key
    from marts.dim_scoring_run
    order by as_of_date desc
    limit 1

)

select
    night.active_count,
    night.scored_count,
    queued.*,
    arms.*,
    resting.resting_count,
    newest.scoring_run_key is not null as is_kept
from night
cross join queued
cross join arms
cross join resting
left join newest
    on night.scoring_run_key = newest.scoring_run_key
