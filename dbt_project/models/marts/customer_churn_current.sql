{{
    config(
        meta={'visible_runs': 'current'},
        post_hook=["{{ drop_old_runs() }}"],
        indexes=[
            {'columns': ['run_id', 'expected_revenue_loss_amount']},
            {'columns': ['run_id', 'customer_id'], 'unique': true},
        ],
    )
}}

with

scores as (

    select
        run_id,
        scoring_run_key,
        customer_id,
        customer_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        is_active,
        is_eligible,
        exclusion_reason,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        risk_tier_key,
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
        model_key,
        model_version,
        scored_at,
        scored_date
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and is_active

),

explained as (

    select
        customer_id,
        reason_1_code,
        reason_1_sentence,
        reason_1_points,
        reason_2_code,
        reason_2_sentence,
        reason_2_points,
        reason_3_code,
        reason_3_sentence,
        reason_3_points,
        recommended_action_code,
        recommended_action
    from {{ ref('int_scores_explained') }}

),

final as (

    select
        scores.*,
        explained.reason_1_code,
        explained.reason_1_sentence,
        explained.reason_1_points,
        explained.reason_2_code,
        explained.reason_2_sentence,
        explained.reason_2_points,
        explained.reason_3_code,
        explained.reason_3_sentence,
        explained.reason_3_points,
        explained.recommended_action_code,
        explained.recommended_action
    from scores
    left join explained
        on scores.customer_id = explained.customer_id

)

select * from final
