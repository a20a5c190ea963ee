{{ config(materialized='ephemeral') }}

with

customers as (

    select customer_id
    from {{ ref('int_telco__customers_qualified') }}

),

final as (

    select
        customer_id,
        true as is_active,
        null::numeric as monthly_value_amount,
        null::text as currency
    from customers
    where false

)

select * from final
