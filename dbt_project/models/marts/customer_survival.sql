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
        contract,
        entry_months,
        lifetime_months,
        has_ended
    from {{ lifetimes_ref() }}
    where
        entry_months = 0
        or entry_months < lifetime_months

),

{# Who is no longer followed after a month, and who only from the next one on. #}
moves as (

    select
        contract,
        lifetime_months,
        count(*) as left_count,
        count(*) filter (where has_ended) as ended_count
    from lifetimes
    group by contract, lifetime_months
    union all
    select
        contract,
        entry_months as lifetime_months,
        -count(*) as left_count,
        0 as ended_count
    from lifetimes
    where entry_months > 0
    group by contract, entry_months

),

by_month as (

    select
        coalesce(contract, 'all') as contract,
        lifetime_months,
        sum(left_count) as left_count,
        sum(ended_count) as ended_count
    from moves
    group by grouping sets ((contract, lifetime_months), (lifetime_months))

),

spans as (

    select
        contract,
        max(lifetime_months) as last_month
    from by_month
    group by contract

),

followed as (

    select
        spans.contract,
        series.lifetime_months,
        sum(by_month.left_count) over (
            partition by spans.contract
            order by series.lifetime_months desc
        ) as at_risk_count,
        coalesce(by_month.ended_count, 0) as ended_count
    from spans
    cross join lateral generate_series(0, spans.last_month) as series (lifetime_months)
    left join by_month
        on
            spans.contract = by_month.contract
            and series.lifetime_months = by_month.lifetime_months

),

estimated as (

    select
        contract,
        lifetime_months,
        at_risk_count,
        ended_count,
        case
            when bool_or(ended_count = at_risk_count) over until_month then 0
            else
                exp(sum(
                    ln(nullif(1 - ended_count::double precision / at_risk_count, 0))
                ) over until_month)
        end as survival_share,
        sum(
            ended_count::double precision
            / nullif(at_risk_count * (at_risk_count - ended_count), 0)
        ) over until_month as variance
    from followed
    where at_risk_count > 0
    window until_month as (partition by contract order by lifetime_months)

),

final as (

    select
        runs.run_id,
        runs.scoring_run_key,
        runs.as_of_date,
        runs.as_of_date_key,
        runs.known_as_of,
        estimated.contract,
        estimated.lifetime_months,
        estimated.at_risk_count::integer as at_risk_count,
        estimated.ended_count::integer as ended_count,
        round(estimated.survival_share::numeric, 6)::double precision
            as survival_share,
        round(
            ({{ survival_limit(
                'estimated.survival_share', 'estimated.variance', 'low'
            ) }})::numeric, 6
        )::double precision as survival_share_low,
        round(
            ({{ survival_limit(
                'estimated.survival_share', 'estimated.variance', 'high'
            ) }})::numeric, 6
        )::double precision as survival_share_high
    from estimated
    cross join runs

)

select * from final
