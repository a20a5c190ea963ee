-- A customer's score on every published night up to a day, and the model that gave it.
select
    scores.as_of_date,
    scores.churn_probability,
    scores.churn_probability_low,
    scores.churn_probability_high,
    scores.risk_tier,
    scores.risk_change_pts,
    scores.risk_change_model_pts,
    scores.risk_change_customer_pts,
    scores.expected_revenue_loss_amount,
    scores.model_version,
    models.family,
    runs.tier_medium_from,
    runs.tier_high_from
from marts.fct_churn_score as scores
inner join marts.dim_scoring_run as runs
    on scores.scoring_run_key = runs.scoring_run_key
left join marts.dim_model as models
    on scores.model_key = models.model_key
where
    scores.customer_key = %(customer_key)s
    and scores.as_of_date <= %(as_of_date)s
order by scores.as_of_date
