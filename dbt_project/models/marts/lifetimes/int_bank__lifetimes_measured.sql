{{
    config(
        materialized='ephemeral',
        contract={'enforced': false},
        enabled=var('dataset') == 'bank',
    )
}}

with

population as (

    select
        customer_id,
        is_active
    from {{ ref('bank__customer_population') }}
    where {{ is_this_night() }}

),

customers as (

    select
        customer_id,
        tenure_years
    from {{ ref('bank__customer_features') }}
    where
        {{ is_this_night() }}
        and tenure_years is not null

),

final as (

    select
        customers.customer_id,
        null::date as cohort_month,
        'not_stated'::text as contract,
        0 as entry_months,
        (12 * customers.tenure_years)::integer as lifetime_months,
        not population.is_active as has_ended
    from customers
    inner join population
        on customers.customer_id = population.customer_id

)

select * from final
