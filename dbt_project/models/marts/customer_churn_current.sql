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
        previous_as_of_date,
        previous_churn_probability,
        previous_risk_tier,
        previous_risk_tier_sort,
        risk_change_pts,
        risk_change_7d_pts,
        risk_change_28d_pts,
        risk_change_model_pts,
        risk_change_customer_pts,
        tier_since_date,
        days_in_tier,
        monthly_value_amount,
        value_at_risk_amount,
        expected_revenue_loss_amount,
        currency,
        source_currency,
        source_monthly_value_amount,
        exchange_rate,
        value_status,
        segment,
        region,
        plan,
        contract,
        tenure_group,
        tenure_group_sort,
        signup_date,
        model_key,
        model_version,
        scored_at,
        scored_date
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and is_active

),

parameters as (

    select
        value_horizon_months,
        margin_share,
        contact_cost_amount,
        offer_cost_amount,
        acceptance_share
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

valued as (

    select
        scores.customer_id,
        scores.churn_probability,
        scores.expected_revenue_loss_amount,
        {{ expected_profit(
            'scores.churn_probability', 'scores.monthly_value_amount', 'parameters'
        ) }} as expected_profit_amount
    from scores
    cross join parameters
    where scores.churn_probability is not null

),

ranked as (

    select
        customer_id,
        expected_profit_amount,
        row_number() over (
            order by
                expected_profit_amount desc nulls last,
                expected_revenue_loss_amount desc nulls last,
                churn_probability desc,
                customer_id collate "C" asc
        ) as priority_rank,
        rank() over (order by expected_profit_amount desc nulls last) as profit_rank,
        count(expected_profit_amount) over () as profit_count
    from valued

),

prioritised as (

    select
        customer_id,
        expected_profit_amount,
        priority_rank::integer as priority_rank,
        case
            when expected_profit_amount is not null
                then round(100 - 100.0 * (profit_rank - 1) / profit_count, 2)
        end::numeric(5, 2) as priority_score
    from ranked

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
        prioritised.priority_rank,
        prioritised.priority_score,
        prioritised.expected_profit_amount,
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
    left join prioritised
        on scores.customer_id = prioritised.customer_id
    left join explained
        on scores.customer_id = explained.customer_id

)

select * from final
