-- What the queue of a night can be filtered by, and how many customers have it.
select
    choices.division,
    choices.choice,
    max(choices.choice_sort) as choice_sort,
    count(*) as customer_count
from marts.retention_queue as queue
cross join
    lateral (
        values
        ('risk_tier', queue.risk_tier, -queue.risk_tier_sort),
        ('queue_status', queue.queue_status, queue.queue_status_sort),
        ('segment', queue.segment, 0),
        ('region', queue.region, 0),
        ('plan', queue.plan, 0),
        ('contract', queue.contract, 0)
    ) as choices (division, choice, choice_sort)
where queue.scoring_run_key = %(scoring_run_key)s
group by choices.division, choices.choice
order by choices.division, choice_sort, choices.choice
