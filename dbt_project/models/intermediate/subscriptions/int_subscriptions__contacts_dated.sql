with

contacts as (

    select
        customer_id,
        event_at,
        direction
    from {{ ref('stg_subscriptions__contacts') }}
    where {{ is_visible_version(90) }}

),

final as (

    select
        customer_id,
        {{ as_of_date_constant() }} as as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        {{ count_within_days('event_at', 28, "direction = 'inbound'") }}
            as inbound_contacts_28d,
        {{ count_within_days('event_at', 90, "direction = 'inbound'") }}
            as inbound_contacts_90d,
        {{ count_within_days('event_at', 28, "direction = 'outbound'") }}
            as outbound_contacts_28d,
        {{ count_within_days('event_at', 90, "direction = 'outbound'") }}
            as outbound_contacts_90d,
        max(event_at) as last_contact_at
    from contacts
    group by customer_id

)

select * from final
