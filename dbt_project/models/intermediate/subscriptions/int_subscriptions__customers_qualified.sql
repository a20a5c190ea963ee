with

changes as not materialized (

    select
        change_id,
        customer_id,
        event_at,
        revision,
        known_at,
        reject_reason
    from {{ ref('stg_subscriptions__subscriptions') }}
    where
        known_at <= {{ known_as_of_constant() }}
        and (event_at is null or event_at < {{ start_of_day(1) }})

),

rejected as (

    {{ refused_customers() }}

),

subscriptions as (

    select
        customer_id,
        is_active,
        open_subscription_count,
        has_cancel_request,
        has_end_before_start,
        is_plan_known
    from {{ ref('int_subscriptions__subscriptions_dated') }}
    where {{ is_night_of_run() }}

),

population as (

    select
        coalesce(subscriptions.customer_id, rejected.customer_id) as customer_id,
        coalesce(subscriptions.is_active, true) as is_active,
        subscriptions.open_subscription_count,
        subscriptions.has_cancel_request,
        subscriptions.has_end_before_start,
        subscriptions.is_plan_known,
        rejected.customer_id is not null as has_reject
    from subscriptions
    full join rejected
        on subscriptions.customer_id = rejected.customer_id
    where
        subscriptions.customer_id is not null
        or not rejected.has_history

),

explained as (

    select
        customer_id,
        is_active,
        case
            when not is_active then 'not_active'
            when has_cancel_request then 'cancel_requested'
            when open_subscription_count > 1 then 'overlapping_subscriptions'
            when has_end_before_start then 'inconsistent_history'
            when not is_plan_known then 'unknown_plan'
            when has_reject then 'rejected_value'
        end as exclusion_reason
    from population

),

final as (

    select
        customer_id,
        {{ as_of_date_constant() }} as as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        is_active,
        exclusion_reason is null as is_eligible,
        exclusion_reason
    from explained

)

select * from final
