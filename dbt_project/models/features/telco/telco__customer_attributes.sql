{{ config(alias='customer_attributes') }}

with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        internet_service,
        has_phone_service,
        contract,
        tenure_months
    from {{ ref('int_telco__customers_qualified') }}
    where {{ is_this_night() }}

),

grouped as (

    select
        *,
        case
            when tenure_months is null then 0
            when tenure_months <= 12 then 1
            when tenure_months <= 24 then 2
            when tenure_months <= 48 then 3
            else 4
        end as tenure_group_sort
    from customers

),

final as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        coalesce(internet_service, 'not_stated') as segment,
        'not_stated'::text as region,
        case
            when internet_service is null or has_phone_service is null
                then 'not_stated'
            when internet_service = 'no_internet_service' then 'phone'
            when has_phone_service then internet_service || '_and_phone'
            else internet_service
        end as plan,
        coalesce(contract, 'not_stated') as contract,
        case tenure_group_sort
            when 0 then 'not_stated'
            when 1 then 'up_to_12_months'
            when 2 then '13_to_24_months'
            when 3 then '25_to_48_months'
            else 'over_48_months'
        end as tenure_group,
        tenure_group_sort,
        null::date as signup_date,
        null::date as first_active_date
    from grouped

)

select * from final
