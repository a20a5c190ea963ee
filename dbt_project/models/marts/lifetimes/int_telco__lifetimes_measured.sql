{{
    config(
        materialized='ephemeral',
        contract={'enforced': false},
        enabled=var('dataset') == 'telco',
    )
}}

with

population as (

    select
        customer_id,
        is_active
    from {{ ref('telco__customer_population') }}
    where {{ is_this_night() }}

),

customers as (

    select
        customer_id,
        contract,
        tenure_months
    from {{ ref('telco__customer_features') }}
    where
        {{ is_this_night() }}
        and tenure_months is not null

),

final as (

    select
        customers.customer_id,
        null::date as cohort_month,
        coalesce(customers.contract, 'not_stated') as contract,
        0 as entry_months,
        customers.tenure_months::integer as lifetime_months,
        not population.is_active as has_ended
    from customers
    inner join population
        on customers.customer_id = population.customer_id

)

select * from final
