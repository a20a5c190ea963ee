-- How long customers stay, by contract.
select
    contract,
    lifetime_months,
    at_risk_count,
    ended_count,
    survival_share,
    survival_share_low,
    survival_share_high
from marts.customer_survival
where scoring_run_key = %(scoring_run_key)s
order by contract, lifetime_months
