with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        has_exited,
        balance_amount,
        product_count,
        is_active_member,
        region,
        tenure_years,
        rejects is not null as has_reject
    from {{ ref('stg_bank__customers') }}

),

final as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        has_exited,
        balance_amount,
        product_count,
        is_active_member,
        region,
        tenure_years,
        has_exited is not true as is_active,
        has_exited is not true and not has_reject as is_eligible,
        case
            when has_exited then 'not_active'
            when has_reject then 'rejected_value'
        end as exclusion_reason
    from customers

)

select * from final
