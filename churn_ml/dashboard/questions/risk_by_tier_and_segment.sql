-- What is at risk and expected to be lost, by tier and segment, with intervals.
select
    risk_tier,
    risk_tier_sort,
    segment,
    customer_count,
    valued_customer_count,
    revenue_at_risk_amount,
    expected_revenue_loss_amount,
    expected_revenue_loss_low_amount,
    expected_revenue_loss_high_amount,
    is_interval_approximate,
    mean_churn_probability
from marts.revenue_at_risk_daily
where scoring_run_key = %(scoring_run_key)s
order by segment, risk_tier_sort
