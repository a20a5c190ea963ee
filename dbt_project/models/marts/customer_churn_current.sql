{{
    config(
        meta={'visible_runs': 'current'},
        post_hook=["{{ drop_old_runs() }}"],
        indexes=[{'columns': ['run_id', 'expected_revenue_loss_amount']}],
    )
}}

with

scores as (

    select
        run_id,
        customer_id,
        as_of_date,
        known_as_of,
        is_active,
        is_eligible,
        exclusion_reason,
        churn_probability,
        risk_tier,
        risk_tier_sort,
        monthly_value_amount,
        value_at_risk_amount,
        expected_revenue_loss_amount,
        currency,
        value_status,
        segment,
        region,
        plan,
        contract,
        tenure_group,
        tenure_group_sort,
        model_version,
        scored_at,
        scored_date
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and is_active

)

select * from scores
