{{ config(materialized='view') }}

with

runs as (

    select
        run_id,
        scoring_run_key,
        as_of_date
    from {{ ref('dim_scoring_run') }}

),

-- A function of the owner tells it: the reader has no right on schema ops.
checks as (

    select *
    from ops.published_checks()

),

final as (

    select
        checks.check_number,
        runs.run_id,
        runs.scoring_run_key,
        runs.as_of_date,
        checks.gate,
        checks.tool,
        checks.suite,
        checks.check_name,
        checks.table_name,
        checks.column_name,
        checks.severity,
        checks.verdict,
        checks.observed,
        checks.threshold,
        checks.expected,
        checks.failing_count,
        checks.owner,
        checks.reason,
        checks.recorded_at,
        (checks.recorded_at at time zone 'UTC')::date as recorded_date
    from checks
    inner join runs
        on checks.run_id = runs.run_id

)

select * from final
