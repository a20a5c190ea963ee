-- Customers, churn, retention, MRR and expected loss of the nights up to the chosen.
select
    as_of_date,
    customer_closing_count,
    customer_lost_count,
    unvalued_customer_count,
    logo_churn_28d_share,
    logo_churn_28d_target_share,
    retention_28d_from_date,
    gross_revenue_retention_share,
    net_revenue_retention_share,
    gross_revenue_retention_28d_share,
    net_revenue_retention_28d_share,
    mrr_opening_amount,
    mrr_closing_amount,
    scored_customer_count,
    valued_customer_count,
    revenue_at_risk_amount,
    expected_revenue_loss_amount,
    expected_revenue_loss_low_amount,
    expected_revenue_loss_high_amount,
    currency
from marts.churn_kpis_daily
where as_of_date <= %(as_of_date)s
order by as_of_date
