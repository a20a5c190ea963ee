{{ config(materialized='ephemeral') }}

with recursive

runs as (

    select
        run_id,
        run_kind,
        as_of_date,
        started_at,
        repeats_run_id
    from {{ ref('stg_ops__pipeline_runs') }}

),

publications as (

    select
        publication_id,
        as_of_date,
        run_id,
        action,
        recorded_at
    from {{ ref('stg_ops__publications') }}

),

-- A reproduction does what the run did that it repeats in the end.
chain as (

    select
        runs.run_id,
        runs.run_id as origin_run_id,
        runs.run_kind,
        runs.repeats_run_id
    from runs
    union all
    select
        chain.run_id,
        runs.run_id as origin_run_id,
        runs.run_kind,
        runs.repeats_run_id
    from chain
    inner join runs
        on chain.repeats_run_id = runs.run_id
    where chain.run_kind = 'reproduce'

),

origins as (

    select
        chain.run_id,
        chain.run_kind,
        chain.repeats_run_id,
        runs.as_of_date,
        runs.started_at
    from chain
    inner join runs
        on chain.origin_run_id = runs.run_id
    where chain.run_kind <> 'reproduce'

),

-- What was last done about that night before the run began.
former as (

    select distinct on (origins.run_id)
        origins.run_id,
        publications.run_id as former_run_id,
        publications.action
    from origins
    inner join publications
        on
            origins.as_of_date = publications.as_of_date
            and origins.started_at > publications.recorded_at
    order by origins.run_id asc, publications.publication_id desc

),

final as (

    select
        origins.run_id,
        origins.run_kind = 'restate'
        or coalesce(former.action = 'publish', false) as is_restated,
        case
            when origins.run_kind = 'restate' then origins.repeats_run_id
            when former.action = 'publish' then former.former_run_id
        end as restated_run_id
    from origins
    left join former
        on origins.run_id = former.run_id

)

select * from final
