-- The model's and the customer's part of a change of risk add up to it exactly.
with

scores as (

    select
        customer_key,
        model_version,
        churn_probability,
        previous_churn_probability,
        risk_change_pts,
        risk_change_model_pts,
        risk_change_customer_pts
    from {{ ref('fct_churn_score') }}
    where run_id = {{ run_id() }}

),

bases as (

    select base_run_number
    from {{ ref('int_run_bases_numbered') }}
    where
        run_id = {{ run_id() }}
        and base_role = 'previous'

),

previous as (

    select
        customer_key,
        model_version
    from {{ ref('fct_churn_score') }}
    where scoring_run_key = (select bases.base_run_number from bases)

),

final as (

    select scores.customer_key
    from scores
    left join previous
        on scores.customer_key = previous.customer_key
    where
        scores.risk_change_model_pts + scores.risk_change_customer_pts
        <> scores.risk_change_pts
        or (scores.risk_change_pts is null)
        <> (
            scores.churn_probability is null
            or scores.previous_churn_probability is null
        )
        or num_nulls(scores.risk_change_model_pts, scores.risk_change_customer_pts) = 1
        or (
            scores.risk_change_pts is not null
            and scores.model_version = previous.model_version
            and scores.risk_change_model_pts is distinct from 0
        )
        or (scores.risk_change_pts is null and scores.risk_change_model_pts is not null)

)

select * from final
