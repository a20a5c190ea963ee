with

treatments as (

    select
        customer_id,
        event_at
    from {{ ref('stg_subscriptions__treatments') }}
    where
        {{ is_visible_version(90) }}
        and not is_held_out

),

final as (

    select
        customer_id,
        {{ as_of_date_constant() }} as as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        {{ count_within_days('event_at', 28) }} as treatments_28d,
        {{ count_within_days('event_at', 90) }} as treatments_90d
    from treatments
    group by customer_id

)

select * from final
