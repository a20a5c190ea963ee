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

lifetimes as (

    select
        cohort_month,
        lifetime_months,
        count(*) as customer_count,
        count(*) filter (where has_ended) as ended_count
    from {{ lifetimes_ref() }}
    where cohort_month is not null
    group by cohort_month, lifetime_months

),

cohorts as (

    select
        lifetimes.cohort_month,
        (lifetimes.cohort_month + interval '1 month')::date as closed_date,
        sum(lifetimes.customer_count) as customer_count
    from lifetimes
    group by lifetimes.cohort_month

),

months as (

    select
        runs.*,
        cohorts.cohort_month,
        cohorts.customer_count,
        series.months_since_signup
    from cohorts
    inner join runs
        on cohorts.closed_date <= runs.as_of_date + 1
    cross join
        lateral generate_series(
            0, {{ whole_months('cohorts.closed_date', 'runs.as_of_date + 1') }}
        ) as series (months_since_signup)

),

counted as (

    select
        months.*,
        months.customer_count - sum(coalesce(lifetimes.ended_count, 0)) over (
            partition by months.cohort_month
            order by months.months_since_signup
        ) as retained_count
    from months
    left join lifetimes
        on
            months.cohort_month = lifetimes.cohort_month
            and months.months_since_signup = lifetimes.lifetime_months

),

final as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        cohort_month,
        months_since_signup,
        customer_count::integer as customer_count,
        retained_count::integer as retained_count,
        round(retained_count / customer_count, 6)::double precision as retained_share
    from counted

)

select * from final
