{{ config(materialized='ephemeral') }}

with

changes as (

    select
        change_id,
        customer_id,
        subscription_id,
        change_type,
        event_at,
        plan_id,
        monthly_price_amount,
        discount_share,
        currency,
        contract,
        term_end_date,
        is_auto_renewal,
        known_at
    from {{ ref('stg_subscriptions__subscriptions') }}
    where {{ is_visible_version() }}

),

ordered as (

    select
        *,
        row_number() over subscription_changes as change_number,
        lead(event_at) over subscription_changes as valid_to,
        lag(monthly_price_amount * (1 - discount_share)) over subscription_changes
            as former_net_price_amount
    from changes
    window
        subscription_changes as (
            partition by customer_id, subscription_id
            order by event_at, change_id collate "C"
        )

),

final as (

    select
        customer_id,
        subscription_id,
        change_id,
        change_number,
        change_type,
        event_at as valid_from,
        valid_to,
        change_type not in ('end_voluntary', 'end_involuntary') as is_open,
        plan_id,
        monthly_price_amount,
        discount_share,
        monthly_price_amount * (1 - discount_share) as net_price_amount,
        former_net_price_amount,
        currency,
        contract,
        term_end_date,
        is_auto_renewal,
        known_at
    from ordered

)

select * from final
