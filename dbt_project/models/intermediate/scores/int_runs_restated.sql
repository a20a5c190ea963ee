{{ config(materialized='ephemeral') }}

with

runs as (

    select
        run_id,
        run_kind,
        repeats_run_id
    from {{ ref('stg_ops__pipeline_runs') }}

),

final as (

    select
        runs.run_id,
        origins.run_kind = 'restate' as is_restated,
        case when origins.run_kind = 'restate' then origins.repeats_run_id end
            as restated_run_id
    from runs
    inner join runs as origins
        on
            case
                when runs.run_kind = 'reproduce' then runs.repeats_run_id
                else runs.run_id
            end = origins.run_id

)

select * from final
