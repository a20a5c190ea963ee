{{
    config(indexes=[
        {'columns': ['as_of_date', 'run_id'], 'type': 'brin'},
        {'columns': ['customer_id', 'as_of_date']},
    ])
}}

-- depends_on: {{ ref('int_run_bases_numbered') }}
-- depends_on: {{ dataset_ref('customer_features') }}
with

runs as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of
    from {{ ref('dim_scoring_run') }}
    where run_id = {{ run_id() }}

),

-- A restated night keeps what went out.
origin as (

    select
        is_restated,
        restated_run_id
    from {{ ref('int_runs_restated') }}
    where run_id = {{ run_id() }}

),

campaigns as (

    select
        campaign_id,
        treatment,
        budget_amount,
        capacity_count,
        holdout_share,
        cooldown_days,
        assignment_seed
    from {{ ref('dated_campaign_parameters') }}
    where {{ is_valid_parameter() }}

),

parameters as (

    select
        contact_cost_amount,
        offer_cost_amount,
        acceptance_share
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

customers as (

    select
        customer_id,
        customer_key,
        priority_rank,
        priority_score,
        expected_profit_amount,
        churn_probability,
        value_at_risk_amount,
        currency
    from {{ ref('customer_churn_current') }}
    where
        run_id = {{ run_id() }}
        and expected_profit_amount > 0

),

resting as (

    {{ resting_customers(this if is_incremental() else none) }}

),

candidates as (

    select
        customers.*,
        campaigns.campaign_id,
        campaigns.treatment,
        campaigns.budget_amount,
        campaigns.capacity_count,
        campaigns.cooldown_days,
        {{ is_held_out('customers.customer_id', 'campaigns') }} as is_held_out,
        {{ expected_treatment_cost('customers.churn_probability', 'parameters') }}
            as treated_cost_amount
    from customers
    cross join campaigns
    cross join parameters
    left join resting
        on customers.customer_id = resting.customer_id
    where resting.customer_id is null

),

-- Down the rank to the first whose treatment no longer fits: the held out cost nothing.
counted as (

    select
        *,
        case when is_held_out then 0 else treated_cost_amount end as cost_amount,
        count(*) filter (where not is_held_out) over ranked as used_count,
        coalesce(sum(treated_cost_amount) filter (where not is_held_out) over ranked, 0)
            as used_amount
    from candidates
    window ranked as (order by priority_rank)

),

chosen as (

    select
        counted.customer_id,
        counted.customer_key,
        counted.campaign_id,
        counted.treatment,
        counted.is_held_out,
        runs.as_of_date + counted.cooldown_days as cooldown_until_date,
        counted.priority_rank,
        counted.priority_score,
        counted.expected_profit_amount,
        counted.churn_probability,
        counted.value_at_risk_amount,
        counted.cost_amount,
        counted.currency
    from counted
    cross join runs
    cross join origin
    where
        counted.used_count <= counted.capacity_count
        and counted.used_amount <= counted.budget_amount
        and not origin.is_restated
    {% if is_incremental() %}
        union all
        select
            kept.customer_id,
            kept.customer_key,
            kept.campaign_id,
            kept.treatment,
            kept.is_held_out,
            kept.cooldown_until_date,
            kept.priority_rank,
            kept.priority_score,
            kept.expected_profit_amount,
            kept.churn_probability,
            kept.value_at_risk_amount,
            kept.cost_amount,
            kept.currency
        from {{ this }} as kept
        inner join origin
            on kept.run_id = origin.restated_run_id
    {% endif %}

),

final as (

    select
        runs.run_id,
        runs.scoring_run_key,
        chosen.customer_id,
        chosen.customer_key,
        runs.as_of_date,
        runs.as_of_date_key,
        runs.known_as_of,
        chosen.campaign_id,
        chosen.treatment,
        chosen.is_held_out,
        runs.as_of_date + 1 as assigned_date,
        chosen.cooldown_until_date,
        chosen.priority_rank,
        chosen.priority_score,
        chosen.expected_profit_amount,
        chosen.churn_probability,
        chosen.value_at_risk_amount,
        chosen.cost_amount::numeric(18, 2) as cost_amount,
        chosen.currency
    from chosen
    cross join runs

)

select * from final
