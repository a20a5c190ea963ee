-- A tier begins where a change is told; whoever is absent has no row of the night.
with

changes as (

    select
        customer_key,
        to_state,
        to_risk_tier_key
    from {{ ref('fct_tier_change') }}
    where run_id = {{ run_id() }}

),

scores as (

    select
        customer_key,
        risk_tier_key,
        days_in_tier
    from {{ ref('fct_churn_score') }}
    where run_id = {{ run_id() }}

),

final as (

    select
        coalesce(changes.customer_key, scores.customer_key) as customer_key,
        changes.to_state,
        scores.days_in_tier
    from changes
    full join scores
        on changes.customer_key = scores.customer_key
    where
        (scores.customer_key is null) <> coalesce(changes.to_state = 'absent', false)
        or (scores.days_in_tier = 0) <> (changes.customer_key is not null)
        or changes.to_risk_tier_key <> scores.risk_tier_key

)

select * from final
