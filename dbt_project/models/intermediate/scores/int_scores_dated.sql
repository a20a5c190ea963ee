with

scores as (

    select
        run_id,
        customer_id,
        as_of_date,
        churn_probability,
        model_version,
        scored_at
    from {{ ref('stg_scores__customer_scores') }}

),

final as (

    select
        run_id,
        customer_id,
        as_of_date,
        churn_probability,
        model_version,
        scored_at,
        (scored_at at time zone 'UTC')::date as scored_date
    from scores

)

select * from final
