-- MRR from the opening of the first night after %(since)s to the closing of the chosen
-- one, by the nights that each was built on: a night that was made up for later is left
-- out, or its movements would count twice. What no movement explains is what a night
-- published anew has changed since.
with recursive

nights as (

    select *
    from marts.churn_kpis_daily
    where as_of_date = %(as_of_date)s
    union all
    select former.*
    from nights
    inner join marts.churn_kpis_daily as former
        on nights.previous_as_of_date = former.as_of_date
    where former.as_of_date > %(since)s

),

ends as (

    select
        min(as_of_date) as first_date,
        max(as_of_date) as last_date
    from nights

),

bridge as (

    select
        min(nights.previous_as_of_date) as opening_date,
        count(*)::integer as night_count,
        sum(nights.mrr_opening_amount) filter (
            where nights.as_of_date = ends.first_date
        ) as opening_amount,
        sum(nights.mrr_restatement_amount) as restatement_amount,
        sum(nights.mrr_currency_amount) as currency_amount,
        sum(nights.mrr_new_amount) as new_amount,
        sum(nights.mrr_reactivation_amount) as reactivation_amount,
        sum(nights.mrr_expansion_amount) as expansion_amount,
        sum(nights.mrr_contraction_amount) as contraction_amount,
        sum(nights.mrr_churn_amount) as churn_amount,
        sum(nights.mrr_closing_amount) filter (
            where nights.as_of_date = ends.last_date
        ) as closing_amount,
        bool_or(nights.mrr_new_amount is null) as is_incomplete
    from nights
    cross join ends

)

select
    opening_date,
    night_count,
    opening_amount,
    restatement_amount,
    currency_amount,
    new_amount,
    reactivation_amount,
    expansion_amount,
    contraction_amount,
    churn_amount,
    closing_amount,
    closing_amount - opening_amount - restatement_amount - currency_amount - new_amount
    - reactivation_amount - expansion_amount - contraction_amount - churn_amount
        as replaced_amount,
    is_incomplete
from bridge
where night_count > 0
