-- What is at risk and expected to be lost by tier, nights up to the chosen one.
-- Amounts of nights told in another currency do not compare with it: they are null.
with

chosen as (

    select currency
    from marts.churn_kpis_daily
    where as_of_date = %(as_of_date)s

)

select
    risk.as_of_date,
    risk.risk_tier,
    risk.risk_tier_sort,
    sum(risk.customer_count)::integer as customer_count,
    sum(risk.revenue_at_risk_amount) filter (
        where risk.currency = chosen.currency
    ) as revenue_at_risk_amount,
    sum(risk.expected_revenue_loss_amount) filter (
        where risk.currency = chosen.currency
    ) as expected_revenue_loss_amount
from marts.revenue_at_risk_daily as risk
cross join chosen
where risk.as_of_date <= %(as_of_date)s
group by risk.as_of_date, risk.risk_tier, risk.risk_tier_sort
order by risk.as_of_date, risk.risk_tier_sort
