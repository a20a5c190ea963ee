with

scores as (

    select
        run_id,
        customer_id,
        base_run_id,
        model_version,
        churn_probability
    from {{ ref('stg_scores__model_change_scores') }}

),

bases as (

    select
        run_id,
        base_run_id
    from {{ ref('stg_ops__run_bases') }}
    where base_role = 'previous'

),

final as (

    select
        scores.run_id,
        scores.customer_id,
        scores.base_run_id,
        scores.model_version,
        scores.churn_probability
    from scores
    inner join bases
        on
            scores.run_id = bases.run_id
            and scores.base_run_id = bases.base_run_id

)

select * from final
