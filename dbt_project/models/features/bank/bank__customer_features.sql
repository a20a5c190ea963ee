{{ config(alias='customer_features') }}

with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        credit_score,
        region,
        tenure_years,
        balance_amount,
        product_count,
        has_credit_card,
        is_active_member,
        estimated_salary_amount,
        gender,
        age_years
    from {{ ref('stg_bank__customers') }}
    where
        rejects is null
        and {{ is_this_night() }}

),

final as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        credit_score,
        region,
        tenure_years,
        balance_amount::double precision as balance_amount,
        product_count,
        has_credit_card,
        is_active_member,
        estimated_salary_amount::double precision as estimated_salary_amount,
        gender,
        age_years
    from customers

)

select * from final
