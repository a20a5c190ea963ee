with

customers as (

    select
        customer_id,
        event_at,
        signup_date,
        customer_type,
        region,
        acquisition_channel,
        age_group,
        gender
    from {{ ref('stg_subscriptions__customers') }}
    where {{ is_visible_version() }}

),

final as (

    select distinct on (customer_id)
        customer_id,
        {{ as_of_date_constant() }} as as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        signup_date,
        customer_type,
        region,
        acquisition_channel,
        age_group,
        gender
    from customers
    order by customer_id asc, event_at desc

)

select * from final
