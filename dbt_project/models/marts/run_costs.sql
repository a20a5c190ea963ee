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
costs as (

    select *
    from ops.published_costs()

),

final as (

    select
        costs.cost_number,
        runs.run_id,
        runs.scoring_run_key,
        runs.as_of_date,
        costs.task_id,
        costs.map_index,
        costs.try_number,
        costs.verdict,
        costs.started_at,
        (costs.started_at at time zone 'UTC')::date as started_date,
        costs.finished_at,
        (costs.finished_at at time zone 'UTC')::date as finished_date,
        costs.seconds,
        costs.cpu_seconds,
        costs.peak_memory_mb,
        costs.rows_in,
        costs.rows_out,
        costs.customer_count::integer as customer_count
    from costs
    inner join runs
        on costs.run_id = runs.run_id

)

select * from final
