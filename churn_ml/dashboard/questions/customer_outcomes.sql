-- What became of a customer after each score whose outcome was due, as known by a day.
with

runs as (

    select
        array_agg(scoring_run_key) as scored_keys,
        array_agg(scoring_run_key) filter (
            where as_of_date <= %(as_of_date)s
        ) as stating_keys
    from marts.dim_scoring_run

)

select
    outcomes.scored_as_of_date,
    outcomes.churn_probability,
    outcomes.risk_tier,
    outcomes.outcome_status,
    outcomes.churn_date,
    outcomes.treatment_status,
    outcomes.value_lost_amount,
    outcomes.currency
from marts.fct_score_outcome as outcomes
cross join runs
where
    outcomes.scoring_run_key = any(runs.stating_keys)
    and outcomes.scored_run_key = any(runs.scored_keys)
    and outcomes.customer_key = %(customer_key)s
order by outcomes.scored_as_of_date desc
