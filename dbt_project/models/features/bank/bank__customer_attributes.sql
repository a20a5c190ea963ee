{{ config(alias='customer_attributes') }}

with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        is_active_member,
        region,
        product_count,
        tenure_years
    from {{ ref('int_bank__customers_qualified') }}
    where {{ is_this_night() }}

),

grouped as (

    select
        *,
        case
            when tenure_years is null then 0
            when tenure_years <= 2 then 1
            when tenure_years <= 5 then 2
            when tenure_years <= 8 then 3
            else 4
        end as tenure_group_sort
    from customers

),

final as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        case
            when is_active_member then 'active_member'
            when not is_active_member then 'inactive_member'
            else 'not_stated'
        end as segment,
        coalesce(region, 'not_stated') as region,
        case
            when product_count is null then 'not_stated'
            when product_count = 0 then 'no_product'
            when product_count = 1 then '1_product'
            when product_count = 2 then '2_products'
            else '3_products_or_more'
        end as plan,
        'not_stated'::text as contract,
        case tenure_group_sort
            when 0 then 'not_stated'
            when 1 then 'up_to_2_years'
            when 2 then '3_to_5_years'
            when 3 then '6_to_8_years'
            else 'over_8_years'
        end as tenure_group,
        tenure_group_sort,
        null::date as signup_date,
        null::date as first_active_date
    from grouped

)

select * from final
