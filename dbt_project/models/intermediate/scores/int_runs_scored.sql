with

runs as (

    select
        run_id,
        run_number,
        run_kind,
        as_of_date,
        known_as_of
    from {{ ref('stg_ops__pipeline_runs') }}

),

scores as (

    select
        run_id,
        customer_id,
        as_of_date,
        model_version
    from {{ ref('stg_scores__customer_scores') }}

),

final as (

    select
        runs.run_id,
        runs.run_number,
        runs.run_kind,
        runs.as_of_date,
        runs.known_as_of,
        max(scores.model_version) as model_version,
        count(distinct scores.model_version) as model_version_count,
        count(scores.customer_id) as scored_count
    from runs
    left join scores
        on
            runs.run_id = scores.run_id
            and runs.as_of_date = scores.as_of_date
    group by
        runs.run_id, runs.run_number, runs.run_kind, runs.as_of_date, runs.known_as_of

)

select * from final
