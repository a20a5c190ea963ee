-- The customer of an id, or else up to eight whose ids begin or end like it.
with

matched as (

    select
        customer_key,
        customer_id,
        customer_id = %(search)s::text as is_exact
    from marts.dim_customer
    where
        customer_id = %(search)s::text
        or starts_with(lower(customer_id), lower(%(search)s::text))
        or right(lower(customer_id), length(%(search)s::text))
        = lower(%(search)s::text)

)

select
    customer_key,
    customer_id,
    is_exact
from matched
order by is_exact desc, customer_id asc
limit 8
