-- Who is left of each month of signup, by months that have passed for the whole of it.
select
    cohort_month,
    months_since_signup,
    customer_count,
    retained_count,
    retained_share
from marts.cohort_retention
where scoring_run_key = %(scoring_run_key)s
order by cohort_month, months_since_signup
