with

runs as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of
    from {{ ref('dim_scoring_run') }}
    where run_id = {{ run_id() }}

),

buckets as (

    select numbers.number as bucket_number
    from generate_series(1, 20) as numbers (number)

),

scores as (

    select
        least(floor(churn_probability::numeric * 20)::integer + 1, 20)
            as bucket_number,
        value_at_risk_amount,
        expected_revenue_loss_amount
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and churn_probability is not null

),

currencies as (

    select max(currency) as currency
    from {{ ref('fct_churn_score') }}
    where run_id = {{ run_id() }}

),

counted as (

    select
        bucket_number,
        count(*)::integer as customer_count,
        count(value_at_risk_amount)::integer as valued_customer_count,
        sum(value_at_risk_amount) as revenue_at_risk_amount,
        sum(expected_revenue_loss_amount) as expected_revenue_loss_amount
    from scores
    group by bucket_number

),

final as (

    select
        runs.run_id,
        runs.scoring_run_key,
        runs.as_of_date,
        runs.as_of_date_key,
        runs.known_as_of,
        buckets.bucket_number,
        format('%s-%s %%', buckets.bucket_number * 5 - 5, buckets.bucket_number * 5)
            as bucket_label,
        ((buckets.bucket_number - 1) / 20.0)::numeric(3, 2) as bucket_low,
        (buckets.bucket_number / 20.0)::numeric(3, 2) as bucket_high,
        coalesce(counted.customer_count, 0) as customer_count,
        coalesce(counted.valued_customer_count, 0) as valued_customer_count,
        -- Nobody has nothing at risk; of customers of no known value nothing is known.
        case
            when counted.bucket_number is null then 0
            else counted.revenue_at_risk_amount
        end::numeric(18, 2) as revenue_at_risk_amount,
        case
            when counted.bucket_number is null then 0
            else counted.expected_revenue_loss_amount
        end::numeric(18, 2) as expected_revenue_loss_amount,
        currencies.currency
    from runs
    cross join buckets
    cross join currencies
    left join counted
        on buckets.bucket_number = counted.bucket_number

)

select * from final
