-- Who went from tier to tier since the night before.
select
    previous_as_of_date,
    from_state,
    from_state_sort,
    to_state,
    to_state_sort,
    customer_count,
    value_at_risk_amount
from marts.tier_transition_daily
where scoring_run_key = %(scoring_run_key)s
order by from_state_sort, to_state_sort
