-- What the scores of matured nights were worth, by what was known on the day.
select
    scored_run_key,
    scored_as_of_date,
    as_of_date,
    model_version,
    customer_count,
    measured_count,
    unknown_count,
    treated_count,
    churned_count,
    expected_churned_count,
    observed_expected_ratio,
    roc_auc,
    log_loss,
    brier,
    top_decile_lift,
    high_tier_count,
    high_tier_churned_count,
    high_tier_precision,
    valued_count,
    value_lost_amount::double precision as value_lost_amount,
    expected_revenue_loss_amount::double precision as expected_revenue_loss_amount,
    expected_revenue_loss_low_amount::double precision
        as expected_revenue_loss_low_amount,
    expected_revenue_loss_high_amount::double precision
        as expected_revenue_loss_high_amount,
    is_value_lost_within_interval,
    currency
from marts.model_performance
where
    as_of_date <= %(as_of_date)s
    and measured_count > 0
order by scored_as_of_date desc
