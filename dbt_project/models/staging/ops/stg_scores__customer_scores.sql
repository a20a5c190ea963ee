with

scores as (

    select
        run_id,
        customer_id,
        as_of_date,
        churn_probability,
        model_version,
        scored_at
    from {{ source('scores', 'customer_scores') }}

)

select * from scores
