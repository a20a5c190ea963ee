with

scores as (

    select
        run_id,
        customer_id,
        as_of_date,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        expected_months_retained,
        model_version,
        scored_at,
        reason_1_code,
        reason_1_value,
        reason_1_percentile,
        reason_1_points,
        reason_1_is_actionable,
        reason_2_code,
        reason_2_value,
        reason_2_percentile,
        reason_2_points,
        reason_2_is_actionable,
        reason_3_code,
        reason_3_value,
        reason_3_percentile,
        reason_3_points,
        reason_3_is_actionable
    from {{ ref('stg_scores__customer_scores') }}

),

final as (

    select
        run_id,
        customer_id,
        as_of_date,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        expected_months_retained,
        model_version,
        scored_at,
        (scored_at at time zone 'UTC')::date as scored_date,
        reason_1_code,
        reason_1_value,
        reason_1_percentile,
        reason_1_points,
        reason_1_is_actionable,
        reason_2_code,
        reason_2_value,
        reason_2_percentile,
        reason_2_points,
        reason_2_is_actionable,
        reason_3_code,
        reason_3_value,
        reason_3_percentile,
        reason_3_points,
        reason_3_is_actionable
    from scores

)

select * from final
