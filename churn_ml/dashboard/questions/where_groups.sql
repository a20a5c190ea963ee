-- The same customers by one division at a time, all four divisions at once.
select
    divided.division,
    divided.customer_group,
    max(divided.group_sort) as group_sort,
    sum(risk.customer_count)::integer as customer_count,
    sum(risk.expected_churned_count) as expected_churned_count,
    sum(risk.expected_churned_count) / sum(risk.customer_count) as expected_churn_share,
    sum(risk.expected_revenue_loss_amount)::double precision
        as expected_revenue_loss_amount
from marts.risk_by_group_daily as risk
cross join
    lateral (
        values
        ('segment', risk.segment, 0),
        ('region', risk.region, 0),
        ('contract', risk.contract, 0),
        ('tenure_group', risk.tenure_group, risk.tenure_group_sort)
    ) as divided (division, customer_group, group_sort)
where risk.scoring_run_key = %(scoring_run_key)s
group by divided.division, divided.customer_group
order by divided.division, group_sort, divided.customer_group
