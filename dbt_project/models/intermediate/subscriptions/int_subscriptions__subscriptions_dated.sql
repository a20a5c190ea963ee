{%- set is_upgrade = "change_type = 'upgrade'" -%}
{%- set is_downgrade = "change_type = 'downgrade'" -%}
{%- set plan_moves = "change_type in ('upgrade', 'downgrade')" -%}
{%- set repricings = "change_type in ('price_change', 'discount_change', 'renewal')" -%}

with

spells as (

    select
        customer_id,
        subscription_id,
        change_number,
        change_type,
        valid_from,
        valid_to,
        is_open,
        plan_id,
        monthly_price_amount,
        discount_share,
        net_price_amount,
        former_net_price_amount,
        currency,
        contract,
        term_end_date,
        is_auto_renewal
    from {{ ref('int_subscriptions__subscription_spells') }}

),

changes as (

    select
        *,
        valid_from as event_at,
        case
            when {{ repricings }}
                then greatest(
                    net_price_amount / nullif(former_net_price_amount, 0) - 1, 0
                )
        end as price_rise
    from spells

),

subscriptions as (

    select
        customer_id,
        subscription_id,
        max(event_at) as changed_at,
        min(event_at) as first_change_at,
        min(event_at) filter (where change_type = 'start') as started_at,
        max(event_at) filter (where change_type in ('start', 'return')) as opened_at,
        max(event_at) filter (
            where {{ plan_moves }} or change_type in ('start', 'return')
        ) as plan_since_at,
        min(event_at) filter (where not is_open) as first_end_at,
        coalesce(bool_or(change_type = 'return'), false) as has_returned,
        coalesce(
            max(change_number) filter (where change_type = 'cancel_request')
            > coalesce(max(change_number) filter (
                where change_type in ('cancel_withdrawal', 'start', 'return')
            ), 0),
            false
        ) as has_cancel_request,
        bool_or(is_open) filter (where valid_to is null) as is_open,
        max(change_type) filter (where valid_to is null) as change_type,
        max(plan_id) filter (where valid_to is null) as plan_id,
        max(monthly_price_amount) filter (where valid_to is null)
            as monthly_price_amount,
        max(discount_share) filter (where valid_to is null) as discount_share,
        max(net_price_amount) filter (where valid_to is null) as net_price_amount,
        max(currency) filter (where valid_to is null) as currency,
        max(contract) filter (where valid_to is null) as contract,
        max(term_end_date) filter (where valid_to is null) as term_end_date,
        bool_or(is_auto_renewal) filter (where valid_to is null) as is_auto_renewal,
        max(net_price_amount) filter (where {{ was_in_force_before(28) }})
            as net_price_28d_ago_amount,
        max(net_price_amount) filter (where {{ was_in_force_before(90) }})
            as net_price_90d_ago_amount,
        max(discount_share) filter (where {{ was_in_force_before(90) }})
            as discount_90d_ago_share,
        {{ sum_within_days('price_rise', 'event_at', 28) }} as price_rise_28d,
        {{ sum_within_days('price_rise', 'event_at', 90) }} as price_rise_90d,
        {{ count_within_days('event_at', 28, is_upgrade) }} as upgrades_28d,
        {{ count_within_days('event_at', 90, is_upgrade) }} as upgrades_90d,
        {{ count_within_days('event_at', 28, is_downgrade) }}
            as downgrades_28d,
        {{ count_within_days('event_at', 90, is_downgrade) }}
            as downgrades_90d,
        {{ count_within_days('event_at', 28, "change_type = 'price_change'") }}
            as price_moves_28d,
        {{ count_within_days('event_at', 90, "change_type = 'price_change'") }}
            as price_moves_90d
    from changes
    group by customer_id, subscription_id

),

ranked as (

    select
        *,
        row_number() over customer_subscriptions as place,
        count(*) filter (where is_open) over customer as open_subscription_count,
        min(coalesce(started_at, first_change_at)) over customer as first_started_at,
        bool_or(first_end_at < coalesce(started_at, 'infinity')) over customer
            as has_end_before_start
    from subscriptions
    window
        customer as (partition by customer_id),
        customer_subscriptions as (
            partition by customer_id
            order by {{ told_subscription_first('changed_at') }}
        )

),

plans as (

    select
        plan_id,
        plan_name,
        plan_tier,
        list_price_amount
    from {{ ref('int_subscriptions__plans_dated') }}

),

final as (

    select
        ranked.customer_id,
        {{ as_of_date_constant() }} as as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        ranked.subscription_id,
        ranked.is_open as is_active,
        ranked.open_subscription_count::integer as open_subscription_count,
        ranked.has_cancel_request and ranked.is_open as has_cancel_request,
        coalesce(ranked.has_end_before_start, false) as has_end_before_start,
        plans.plan_id is not null as is_plan_known,
        ranked.first_started_at,
        coalesce(ranked.opened_at, ranked.first_change_at) as opened_at,
        coalesce(ranked.plan_since_at, ranked.first_change_at) as plan_since_at,
        ranked.has_returned,
        case when not ranked.is_open then ranked.changed_at end as ended_at,
        case when not ranked.is_open then ranked.change_type end as end_type,
        ranked.plan_id,
        plans.plan_name,
        plans.plan_tier,
        plans.list_price_amount,
        ranked.monthly_price_amount,
        ranked.discount_share,
        ranked.net_price_amount,
        ranked.currency,
        ranked.contract,
        ranked.term_end_date,
        ranked.is_auto_renewal,
        ranked.net_price_28d_ago_amount,
        ranked.net_price_90d_ago_amount,
        ranked.discount_90d_ago_share,
        ranked.price_rise_28d,
        ranked.price_rise_90d,
        ranked.upgrades_28d,
        ranked.upgrades_90d,
        ranked.downgrades_28d,
        ranked.downgrades_90d,
        ranked.price_moves_28d,
        ranked.price_moves_90d
    from ranked
    left join plans
        on ranked.plan_id = plans.plan_id
    where
        ranked.place = 1
        and (
            ranked.is_open
            or ranked.changed_at >= {{ start_of_day(1 - 90) }}
        )

)

select * from final
