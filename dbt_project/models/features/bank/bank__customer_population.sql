{{ config(alias='customer_population') }}

with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        is_active,
        is_eligible,
        exclusion_reason
    from {{ ref('int_bank__customers_qualified') }}
    where {{ is_this_night() }}

)

select * from customers
