-- What moves a customer's score on one night, the strongest first.
select
    reason_rank,
    feature_name,
    direction,
    reason_value,
    reason_percentile,
    reason_points,
    is_actionable
from marts.fct_churn_reason
where
    scoring_run_key = %(scoring_run_key)s
    and customer_key = %(customer_key)s
order by reason_rank
