{{ config(incremental_strategy='merge', unique_key='run_id') }}

-- Every mart is built after this one, and foreign keys name dimensions that none reads.
-- depends_on: {{ ref('dim_date') }}
-- depends_on: {{ ref('dim_risk_tier') }}
with

runs as (

    select
        run_id,
        run_number,
        run_kind,
        as_of_date,
        known_as_of,
        model_version,
        scored_count
    from {{ ref('int_runs_scored') }}
    where
        run_id = {{ run_id() }}
        and as_of_date = {{ as_of_date() }}

),

population as (

    select
        count(*) as customer_count,
        count(*) filter (where is_active) as active_count
    from {{ dataset_ref('customer_population') }}
    where {{ is_this_night() }}

),

parameters as (

    select
        tier_medium_from,
        tier_high_from,
        value_horizon_months,
        max_age_days
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

models as (

    select
        model_key,
        model_version
    from {{ ref('dim_model') }}

),

final as (

    select
        runs.run_id,
        runs.run_number as scoring_run_key,
        runs.run_kind,
        runs.as_of_date,
        {{ date_key('runs.as_of_date') }} as as_of_date_key,
        runs.known_as_of,
        models.model_key,
        runs.model_version,
        population.customer_count::integer as customer_count,
        population.active_count::integer as active_count,
        runs.scored_count::integer as scored_count,
        parameters.tier_medium_from,
        parameters.tier_high_from,
        {{ value_definition() }} as value_definition,
        parameters.value_horizon_months,
        parameters.max_age_days,
        '{{ run_started_at }}'::timestamptz as built_at,
        ('{{ run_started_at }}'::timestamptz at time zone 'UTC')::date as built_date
    from runs
    cross join population
    cross join parameters
    left join models
        on runs.model_version = models.model_version

)

select * from final
