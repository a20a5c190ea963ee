-- Per month the newest scored night whose outcome was known by the chosen one: label
-- windows of the nights of one month overlap, so their losses do not add up. Losses
-- told in another currency than that of the chosen one do not compare with them.
with

nights as (

    select
        date_trunc('month', scored_as_of_date)::date as scored_month,
        scored_as_of_date,
        as_of_date,
        measured_count,
        treated_count,
        churned_count,
        expected_churned_count,
        value_lost_amount,
        expected_revenue_loss_amount,
        expected_revenue_loss_low_amount,
        expected_revenue_loss_high_amount,
        is_value_lost_within_interval
    from marts.model_performance
    where
        as_of_date <= %(as_of_date)s
        and currency = (
            select chosen.currency
            from marts.churn_kpis_daily as chosen
            where chosen.as_of_date = %(as_of_date)s
        )

)

select distinct on (scored_month) *
from nights
order by scored_month asc, scored_as_of_date desc
