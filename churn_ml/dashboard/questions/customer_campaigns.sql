-- The campaigns that chose a customer up to a day, the latest first, and whether they
-- still bind.
select
    assignments.assigned_date,
    assignments.campaign_id,
    assignments.treatment,
    assignments.is_held_out,
    assignments.cooldown_until_date,
    assignments.cooldown_until_date > %(as_of_date)s as is_binding,
    assignments.expected_profit_amount,
    assignments.cost_amount,
    assignments.currency
from marts.fct_treatment_assignment as assignments
inner join marts.dim_customer as customers
    on assignments.customer_id = customers.customer_id
where
    customers.customer_key = %(customer_key)s
    and assignments.as_of_date <= %(as_of_date)s
order by assignments.as_of_date desc
