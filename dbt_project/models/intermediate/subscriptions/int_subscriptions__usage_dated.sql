{%- set metrics = [
    'session_count', 'active_minutes', 'search_count', 'export_count', 'share_count',
] -%}

with

weeks as (

    select
        customer_id,
        event_at,
        {{ metrics | join(',\n        ') }}
    from {{ ref('stg_subscriptions__usage') }}
    where {{ is_visible_version(90) }}

),

summed as (

    select
        customer_id,
        max(event_at) as last_used_at,
        {{ sum_within_days('session_count', 'event_at', 7) }} as sessions_7d,
        {{ sum_within_days('session_count', 'event_at', 28) }} as sessions_28d,
        {{ sum_within_days('session_count', 'event_at', 56) }} as sessions_56d,
        {{ sum_within_days('session_count', 'event_at', 84) }} as sessions_84d,
        sum(session_count) as sessions_90d,
        {{ sum_within_days('active_minutes', 'event_at', 7) }} as active_minutes_7d,
        {{ sum_within_days('active_minutes', 'event_at', 28) }} as active_minutes_28d,
        {{ sum_within_days('active_minutes', 'event_at', 56) }} as active_minutes_56d,
        {{ sum_within_days('active_minutes', 'event_at', 84) }} as active_minutes_84d,
        sum(active_minutes) as active_minutes_90d,
        {{ sum_within_days('search_count', 'event_at', 28) }} as searches_28d,
        {{ sum_within_days('export_count', 'event_at', 28) }} as exports_28d,
        {{ sum_within_days('share_count', 'event_at', 28) }} as shares_28d
    from weeks
    group by customer_id

),

final as (

    select
        customer_id,
        {{ as_of_date_constant() }} as as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        last_used_at,
        sessions_7d,
        sessions_28d,
        sessions_56d - sessions_28d as sessions_28d_before,
        sessions_84d,
        sessions_90d,
        active_minutes_7d,
        active_minutes_28d,
        active_minutes_56d - active_minutes_28d as active_minutes_28d_before,
        active_minutes_84d,
        active_minutes_90d,
        searches_28d,
        exports_28d,
        shares_28d,
        (sessions_28d > 0)::integer
        + (active_minutes_28d > 0)::integer
        + (searches_28d > 0)::integer
        + (exports_28d > 0)::integer
        + (shares_28d > 0)::integer as metrics_used_28d
    from summed

)

select * from final
