with

bases as (

    select
        run_id,
        base_role,
        base_as_of_date,
        base_run_id
    from {{ ref('stg_ops__run_bases') }}

),

runs as (

    select
        run_id,
        run_number
    from {{ ref('stg_ops__pipeline_runs') }}

),

final as (

    select
        bases.run_id,
        bases.base_role,
        bases.base_as_of_date,
        bases.base_run_id,
        runs.run_number as base_run_number
    from bases
    inner join runs
        on bases.base_run_id = runs.run_id

)

select * from final
