{#- A ticket opened longer ago than this is no longer followed. -#}
{%- set lookback_days = 120 -%}

with

events as (

    select
        ticket_id,
        event_type,
        customer_id,
        event_at,
        priority,
        csat
    from {{ ref('stg_subscriptions__tickets') }}
    where {{ is_visible_version(lookback_days) }}

),

tickets as (

    select
        ticket_id,
        customer_id,
        min(event_at) filter (where event_type = 'opened') as opened_at,
        min(event_at) filter (where event_type = 'resolved') as resolved_at,
        min(event_at) filter (where event_type = 'rated') as rated_at,
        max(csat) filter (where event_type = 'rated') as csat,
        bool_or(priority = 'high') as is_high_priority
    from events
    group by ticket_id, customer_id

),

followed as (

    select
        *,
        resolved_at is null and opened_at is not null as is_open,
        case
            when resolved_at >= opened_at
                then extract(epoch from resolved_at - opened_at) / 3600
        end as hours_to_resolve
    from tickets

),

final as (

    select
        customer_id,
        {{ as_of_date_constant() }} as as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        {{ count_within_days('opened_at', 28) }} as tickets_opened_28d,
        {{ count_within_days('opened_at', 90) }} as tickets_opened_90d,
        {{ count_within_days('opened_at', 90, 'is_high_priority') }}
            as high_priority_tickets_90d,
        count(*) filter (where is_open)::integer as open_tickets_120d,
        coalesce(
            max({{ days_since('opened_at') }}) filter (where is_open), 0
        ) as oldest_open_ticket_days_120d,
        avg(csat) filter (where {{ is_within_days('rated_at', 28) }}) as csat_mean_28d,
        avg(csat) filter (where {{ is_within_days('rated_at', 90) }}) as csat_mean_90d,
        avg(hours_to_resolve) filter (where {{ is_within_days('resolved_at', 90) }})
            as hours_to_resolve_mean_90d
    from followed
    group by customer_id

)

select * from final
