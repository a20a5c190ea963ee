-- How long each night took from its first task to its last, newest 60 nights.
select
    as_of_date,
    extract(epoch from max(finished_at) - min(started_at))::double precision as seconds,
    max(customer_count)::bigint as customer_count
from marts.run_costs
where as_of_date <= %(as_of_date)s
group by as_of_date, scoring_run_key
order by as_of_date desc
limit 60
