-- Transitions hold everyone of the night and of the previous one, with their money.
with

transitions as (

    select
        coalesce(sum(customer_count) filter (where to_state <> 'absent'), 0)
            as customer_count,
        coalesce(sum(customer_count) filter (where from_state <> 'new'), 0)
            as previous_customer_count,
        coalesce(sum(value_at_risk_amount), 0) as value_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as loss_amount
    from {{ ref('tier_transition_daily') }}
    where run_id = {{ run_id() }}

),

scores as (

    select
        count(*) as customer_count,
        coalesce(sum(value_at_risk_amount), 0) as value_amount,
        coalesce(sum(expected_revenue_loss_amount), 0) as loss_amount
    from {{ ref('fct_churn_score') }}
    where run_id = {{ run_id() }}

),

previous as (

    select count(*) as customer_count
    from {{ ref('fct_churn_score') }}
    where
        scoring_run_key = (
            select bases.base_run_number
            from {{ ref('int_run_bases_numbered') }} as bases
            where
                bases.run_id = {{ run_id() }}
                and bases.base_role = 'previous'
        )

),

final as (

    select
        transitions.*,
        scores.customer_count as scored_run_customer_count,
        previous.customer_count as previous_run_customer_count
    from transitions
    cross join scores
    cross join previous
    where
        transitions.customer_count <> scores.customer_count
        or transitions.previous_customer_count <> previous.customer_count
        or transitions.value_amount <> scores.value_amount
        or transitions.loss_amount <> scores.loss_amount

)

select * from final
