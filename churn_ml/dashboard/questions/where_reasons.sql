-- What raises the probability of the customers of one tier, the most common first.
select
    feature_name,
    is_actionable,
    customer_count,
    mean_reason_points,
    tier_customer_count
from marts.reason_by_tier_daily
where
    scoring_run_key = %(scoring_run_key)s
    and risk_tier = %(risk_tier)s
    and direction = 'raises'
order by customer_count desc, feature_name asc
limit 10
