-- What is at risk and expected to be lost by tier, nights up to the chosen one.
select
    as_of_date,
    risk_tier,
    risk_tier_sort,
    sum(customer_count)::integer as customer_count,
    sum(revenue_at_risk_amount) as revenue_at_risk_amount,
    sum(expected_revenue_loss_amount) as expected_revenue_loss_amount
from marts.revenue_at_risk_daily
where as_of_date <= %(as_of_date)s
group by as_of_date, risk_tier, risk_tier_sort
order by as_of_date, risk_tier_sort
