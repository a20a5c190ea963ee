-- The buckets hold every score of the night, and its money to the cent.
with

buckets as (

    select
        count(*) as bucket_count,
        sum(customer_count) as customer_count,
        coalesce(sum(revenue_at_risk_amount), 0) as value_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as loss_amount
    from {{ ref('risk_distribution_daily') }}
    where run_id = {{ run_id() }}

),

scores as (

    select
        count(*) as customer_count,
        coalesce(sum(value_at_risk_amount), 0) as value_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as loss_amount
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and churn_probability is not null

),

final as (

    select buckets.*
    from buckets
    cross join scores
    where
        buckets.bucket_count <> 20
        or buckets.customer_count <> scores.customer_count
        or buckets.value_amount <> scores.value_amount
        or buckets.loss_amount <> scores.loss_amount

)

select * from final
