-- Tenths of one matured night's customers by probability: expected and what happened.
select
    bin_number,
    probability_from,
    probability_to,
    customer_count,
    churned_count,
    expected_churned_count,
    mean_churn_probability,
    churned_share,
    churned_share_low,
    churned_share_high
from marts.calibration
where
    scored_run_key = %(scored_run_key)s
    and as_of_date <= %(as_of_date)s
order by bin_number
