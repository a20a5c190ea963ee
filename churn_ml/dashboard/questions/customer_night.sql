-- One customer on one night: score, money and profile; reasons in words and the place
-- in the queue where the night still has them.
select
    scores.customer_id,
    scores.as_of_date,
    scores.is_active,
    scores.exclusion_reason,
    scores.churn_probability,
    scores.churn_probability_low,
    scores.churn_probability_high,
    scores.risk_tier,
    scores.previous_as_of_date,
    scores.previous_churn_probability,
    scores.risk_change_pts,
    scores.risk_change_model_pts,
    scores.risk_change_customer_pts,
    scores.tier_since_date,
    scores.days_in_tier,
    scores.monthly_value_amount,
    scores.value_at_risk_amount,
    scores.expected_revenue_loss_amount,
    scores.currency,
    scores.source_currency,
    scores.source_monthly_value_amount,
    scores.value_status,
    scores.segment,
    scores.region,
    scores.plan,
    scores.contract,
    scores.tenure_group,
    scores.signup_date,
    scores.model_version,
    runs.tier_medium_from,
    runs.tier_high_from,
    runs.value_horizon_months,
    queue.queue_position,
    queue.queue_status,
    explained.customer_key is not null as is_explained,
    explained.expected_profit_amount,
    explained.reason_1_sentence,
    explained.reason_2_sentence,
    explained.reason_3_sentence,
    explained.recommended_action
from marts.fct_churn_score as scores
inner join marts.dim_scoring_run as runs
    on scores.scoring_run_key = runs.scoring_run_key
left join marts.customer_churn_current as explained
    on
        scores.scoring_run_key = explained.scoring_run_key
        and scores.customer_key = explained.customer_key
left join marts.retention_queue as queue
    on
        scores.scoring_run_key = queue.scoring_run_key
        and scores.customer_key = queue.customer_key
where
    scores.scoring_run_key = %(scoring_run_key)s
    and scores.customer_key = %(customer_key)s
