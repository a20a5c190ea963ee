-- How many customers stand at which risk.
select
    bucket_number,
    bucket_label,
    customer_count,
    revenue_at_risk_amount,
    expected_revenue_loss_amount
from marts.risk_distribution_daily
where scoring_run_key = %(scoring_run_key)s
order by bucket_number
