-- Whether what BI shows is stale, by the clock.
select
    last_as_of_date,
    expected_as_of_date,
    age_days,
    is_stale,
    last_attempt_as_of_date,
    last_attempt_status,
    failed_since_count
from marts.warehouse_freshness
