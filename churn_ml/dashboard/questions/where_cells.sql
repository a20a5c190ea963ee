-- Scored customers of one night by contract and tenure: what is expected of them.
select
    contract,
    tenure_group,
    tenure_group_sort,
    sum(customer_count)::integer as customer_count,
    sum(valued_customer_count)::integer as valued_customer_count,
    sum(expected_churned_count) as expected_churned_count,
    sum(expected_churned_count) / sum(customer_count) as expected_churn_share,
    sum(expected_revenue_loss_amount)::double precision as expected_revenue_loss_amount
from marts.risk_by_group_daily
where scoring_run_key = %(scoring_run_key)s
group by contract, tenure_group, tenure_group_sort
order by contract, tenure_group_sort
