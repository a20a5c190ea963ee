-- How long before they left the leavers of one matured night had been warned of.
select
    lead_time,
    lead_time_sort,
    customer_count,
    flagged_count,
    mean_lead_days,
    value_lost_amount::double precision as value_lost_amount
from marts.lead_time
where
    scored_run_key = %(scored_run_key)s
    and as_of_date <= %(as_of_date)s
order by lead_time_sort
