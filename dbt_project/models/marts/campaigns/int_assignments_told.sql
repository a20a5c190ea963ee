{{ config(materialized='ephemeral', contract={'enforced': false}) }}

with recursive

bases as (

    select
        run_id,
        base_role,
        base_run_id,
        base_run_number
    from {{ ref('int_run_bases_numbered') }}

),

runs as (

    select
        run_id,
        scoring_run_key,
        as_of_date
    from {{ ref('dim_scoring_run') }}

),

-- The night and those it is built on, one after the other.
nights as (

    select {{ run_id() }} as run_id
    union
    select bases.base_run_id
    from nights
    inner join bases
        on nights.run_id = bases.run_id
    where bases.base_role = 'previous'

),

-- Which run states the outcomes of which night.
statements as (

    select
        runs.scoring_run_key,
        runs.as_of_date as stated_as_of_date,
        bases.base_run_number as scored_run_key
    from nights
    inner join bases
        on nights.run_id = bases.run_id
    inner join runs
        on nights.run_id = runs.run_id
    where bases.base_role = 'matured'

),

assignments as (

    select
        scoring_run_key,
        customer_key,
        campaign_id,
        treatment,
        is_held_out,
        as_of_date,
        assigned_date,
        value_at_risk_amount,
        cost_amount
    from {{ ref('fct_treatment_assignment') }}

),

-- A customer counts once, by the first assignment: whom a second one finds depends on
-- what the first one did.
firsts as (

    select distinct on (assignments.campaign_id, assignments.customer_key)
        assignments.*,
        outcomes.outcome_status,
        outcomes.treatment_status
    from assignments
    inner join statements
        on assignments.scoring_run_key = statements.scored_run_key
    left join {{ ref('fct_score_outcome') }} as outcomes
        on
            statements.scoring_run_key = outcomes.scoring_run_key
            and statements.scored_run_key = outcomes.scored_run_key
            and assignments.customer_key = outcomes.customer_key
    order by
        assignments.campaign_id asc,
        assignments.customer_key asc,
        assignments.as_of_date asc,
        statements.stated_as_of_date desc,
        statements.scored_run_key desc

),

final as (

    select
        *,
        coalesce(outcome_status in ('churned', 'churned_in_gap', 'retained'), false)
            as is_known,
        coalesce(outcome_status in ('churned', 'churned_in_gap'), false) as has_left,
        coalesce(treatment_status = 'treated', false) as is_reached,
        case
            when outcome_status in ('churned', 'churned_in_gap')
                then value_at_risk_amount
            when outcome_status = 'retained' then 0 * value_at_risk_amount
        end as lost_amount
    from firsts

)

select * from final
