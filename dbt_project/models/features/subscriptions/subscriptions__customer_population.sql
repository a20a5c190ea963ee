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
    from {{ ref('int_subscriptions__customers_qualified') }}
    where {{ is_night_of_run() }}

)

select * from customers
