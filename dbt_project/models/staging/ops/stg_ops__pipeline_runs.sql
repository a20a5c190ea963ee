with

runs as (

    select
        run_id,
        run_number,
        run_kind,
        dataset,
        as_of_date,
        known_as_of,
        started_at,
        repeats_run_id
    from {{ source('ops', 'pipeline_runs') }}

)

select * from runs
