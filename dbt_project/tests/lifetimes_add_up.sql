-- Shares fall with time, since nobody comes back, and everyone counts once.
with

lifetimes as (

    select
        count(*) as row_count,
        count(distinct customer_id) as customer_count,
        count(*) filter (where entry_months = 0) as begun_count,
        count(*) filter (where entry_months < 0 or lifetime_months < 0) as wrong_count
    from {{ lifetimes_ref() }}

),

survival as (

    select
        contract,
        lifetime_months,
        at_risk_count,
        ended_count,
        survival_share,
        survival_share_low,
        survival_share_high,
        coalesce(lag(survival_share) over curve, 1) as former_share
    from {{ ref('customer_survival') }}
    where run_id = {{ run_id() }}
    window curve as (partition by contract order by lifetime_months)

),

by_month as (

    select
        lifetime_months,
        sum(at_risk_count) filter (where contract = 'all') as at_risk_count,
        sum(at_risk_count) filter (where contract <> 'all') as by_contract_count,
        sum(ended_count) filter (where contract = 'all') as ended_count,
        sum(ended_count) filter (where contract <> 'all') as ended_by_contract_count
    from survival
    group by lifetime_months

),

cohorts as (

    select
        months_since_signup,
        customer_count,
        retained_count,
        first_value(customer_count) over cohort as first_customer_count,
        coalesce(lag(retained_count) over cohort, customer_count) as former_count
    from {{ ref('cohort_retention') }}
    where run_id = {{ run_id() }}
    window cohort as (partition by cohort_month order by months_since_signup)

),

final as (

    select 'a customer has two lifetimes, or less than none' as fault
    from lifetimes
    where
        row_count <> customer_count
        or wrong_count > 0
    union all
    select 'contracts do not add up to all' as fault
    from by_month
    where
        (at_risk_count, ended_count)
        is distinct from (by_contract_count, ended_by_contract_count)
    union all
    select 'not everyone is there at the begin' as fault
    from lifetimes
    left join by_month
        on by_month.lifetime_months = 0
    where lifetimes.begun_count <> coalesce(by_month.at_risk_count, 0)
    union all
    select 'survival rises, or lies outside its interval' as fault
    from survival
    where
        survival_share > former_share
        or ended_count > at_risk_count
        or survival_share not between
        coalesce(survival_share_low, survival_share)
        and coalesce(survival_share_high, survival_share)
    union all
    select 'a cohort grows, or does not begin whole' as fault
    from cohorts
    where
        retained_count not between 0 and former_count
        or customer_count <> first_customer_count
        or (months_since_signup = 0 and retained_count <> customer_count)

)

select * from final
