with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        has_churned,
        monthly_charges_amount,
        internet_service,
        has_phone_service,
        contract,
        tenure_months,
        rejects is not null as has_reject
    from {{ ref('stg_telco__customers') }}

),

final as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        has_churned,
        monthly_charges_amount,
        internet_service,
        has_phone_service,
        contract,
        tenure_months,
        has_churned is not true as is_active,
        has_churned is not true and not has_reject as is_eligible,
        case
            when has_churned then 'not_active'
            when has_reject then 'rejected_value'
        end as exclusion_reason
    from customers

)

select * from final
