-- What raises the probability of the customers of one tier, the most common first.
-- Materialized: the tier's customers are few, and their reasons are found by key.
with

customers as materialized (

    select customer_key
    from marts.fct_churn_score
    where
        scoring_run_key = %(scoring_run_key)s
        and risk_tier = %(risk_tier)s

),

tiers as (

    select count(*) as customer_count
    from customers

)

select
    reasons.feature_name,
    reasons.is_actionable,
    count(*)::integer as customer_count,
    avg(reasons.reason_points) as mean_reason_points,
    max(tiers.customer_count)::integer as tier_customer_count
from customers
cross join tiers
inner join marts.fct_churn_reason as reasons
    on
        reasons.scoring_run_key = %(scoring_run_key)s
        and customers.customer_key = reasons.customer_key
where reasons.direction = 'raises'
group by reasons.feature_name, reasons.is_actionable
order by customer_count desc, reasons.feature_name asc
limit 10
