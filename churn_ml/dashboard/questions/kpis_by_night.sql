-- Customers, churn, retention, MRR and expected loss of the nights up to the chosen.
-- Amounts of nights told in another currency do not compare with it: they are null.
with

chosen as (

    select currency
    from marts.churn_kpis_daily
    where as_of_date = %(as_of_date)s

),

amounts as (

    select
        nights.scoring_run_key,
        nights.mrr_opening_amount,
        nights.mrr_closing_amount,
        nights.revenue_at_risk_amount,
        nights.expected_revenue_loss_amount,
        nights.expected_revenue_loss_low_amount,
        nights.expected_revenue_loss_high_amount
    from marts.churn_kpis_daily as nights
    inner join chosen
        on nights.currency = chosen.currency

)

select
    nights.as_of_date,
    nights.previous_as_of_date,
    nights.customer_closing_count,
    nights.customer_lost_count,
    nights.unvalued_customer_count,
    nights.logo_churn_28d_share,
    nights.logo_churn_28d_target_share,
    nights.retention_28d_from_date,
    nights.as_of_date - nights.retention_28d_from_date as retention_28d_days,
    nights.gross_revenue_retention_share,
    nights.net_revenue_retention_share,
    nights.gross_revenue_retention_28d_share,
    nights.net_revenue_retention_28d_share,
    amounts.mrr_opening_amount,
    amounts.mrr_closing_amount,
    amounts.revenue_at_risk_amount,
    amounts.expected_revenue_loss_amount,
    amounts.expected_revenue_loss_low_amount,
    amounts.expected_revenue_loss_high_amount,
    nights.scored_customer_count,
    nights.valued_customer_count,
    chosen.currency
from marts.churn_kpis_daily as nights
cross join chosen
left join amounts
    on nights.scoring_run_key = amounts.scoring_run_key
where nights.as_of_date <= %(as_of_date)s
order by nights.as_of_date
