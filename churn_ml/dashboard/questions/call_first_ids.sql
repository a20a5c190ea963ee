-- The first five of a night's queue.
select customer_id
from marts.retention_queue
where scoring_run_key = %(scoring_run_key)s
order by queue_position
limit 5
