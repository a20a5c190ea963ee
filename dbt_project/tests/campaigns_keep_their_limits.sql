-- What a night assigns stays within budget and capacity and pays; the held out are not
-- in the queue.
with

assigned as (

    select
        run_id,
        customer_id,
        is_held_out,
        expected_profit_amount,
        cost_amount,
        currency
    from {{ ref('fct_treatment_assignment') }}
    where run_id = {{ run_id() }}

),

queued as (

    select
        customer_id,
        is_within_budget,
        currency
    from {{ ref('retention_queue') }}
    where run_id = {{ run_id() }}

),

campaigns as (

    select
        budget_amount,
        capacity_count,
        currency
    from {{ ref('dated_campaign_parameters') }}
    where {{ is_valid_parameter() }}

),

runs as (

    select
        run_id,
        run_kind
    from {{ ref('dim_scoring_run') }}
    where run_id = {{ run_id() }}

),

-- A restated night keeps what was assigned under the parameters of then.
over_the_limits as (

    select 'budget or capacity' as fault
    from assigned
    inner join runs
        on assigned.run_id = runs.run_id
    cross join campaigns
    where runs.run_kind = 'night'
    group by campaigns.budget_amount, campaigns.capacity_count
    having
        coalesce(sum(assigned.cost_amount), 0) > campaigns.budget_amount
        or count(*) filter (where not assigned.is_held_out) > campaigns.capacity_count

),

final as (

    select fault
    from over_the_limits
    union all
    select 'assigned without profit, or the held out cost something' as fault
    from assigned
    where
        expected_profit_amount <= 0
        or (is_held_out and cost_amount > 0)
    union all
    select 'budget in another currency than the costs' as fault
    from assigned
    cross join campaigns
    where assigned.currency <> campaigns.currency
    union all
    select 'held out, and in the queue' as fault
    from assigned
    inner join queued
        on assigned.customer_id = queued.customer_id
    where assigned.is_held_out
    union all
    select 'within budget in the queue, and not assigned' as fault
    from queued
    left join assigned
        on queued.customer_id = assigned.customer_id
    where queued.is_within_budget <> (assigned.customer_id is not null)

)

select * from final
