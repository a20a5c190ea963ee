with

model_change_scores as (

    select
        run_id,
        customer_id,
        base_run_id,
        model_version,
        churn_probability
    from {{ source('scores', 'model_change_scores') }}

)

select * from model_change_scores
