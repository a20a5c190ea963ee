-- What became of the customers of matured nights, by one division at a time.
select
    outcomes.scored_run_key,
    outcomes.scored_as_of_date,
    divided.division,
    divided.customer_group,
    max(divided.group_sort) as group_sort,
    sum(outcomes.measured_count)::integer as measured_count,
    sum(outcomes.churned_count)::integer as churned_count,
    sum(outcomes.expected_churned_count) as expected_churned_count,
    sum(outcomes.value_lost_amount)::double precision as value_lost_amount,
    sum(outcomes.expected_revenue_loss_amount)::double precision
        as expected_revenue_loss_amount
from marts.outcome_by_group as outcomes
cross join
    lateral (
        values
        ('segment', outcomes.segment, 0),
        ('region', outcomes.region, 0),
        ('contract', outcomes.contract, 0),
        ('tenure_group', outcomes.tenure_group, outcomes.tenure_group_sort)
    ) as divided (division, customer_group, group_sort)
where outcomes.as_of_date <= %(as_of_date)s
group by
    outcomes.scored_run_key, outcomes.scored_as_of_date, divided.division,
    divided.customer_group
having sum(outcomes.measured_count) > 0
order by
    outcomes.scored_as_of_date desc, divided.division asc, group_sort asc,
    divided.customer_group asc
