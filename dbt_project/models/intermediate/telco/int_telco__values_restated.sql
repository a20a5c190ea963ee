{{ config(materialized='ephemeral') }}

select
    customer_id,
    true as is_active,
    null::numeric as monthly_value_amount,
    null::text as currency
from {{ ref('int_telco__customers_qualified') }}
where false
