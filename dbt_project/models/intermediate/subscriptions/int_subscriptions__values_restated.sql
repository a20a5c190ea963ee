{{ config(materialized='ephemeral') }}

{%- set previous = previous_night() %}

with

records as (

    select distinct change_id
    from {{ ref('stg_subscriptions__subscriptions') }}
    where
        known_at > {{ previous.known_as_of }}
        and known_at <= {{ known_as_of_constant() }}
        and (event_at is null or event_at < {{ previous.day_end }})

),

{# Also whom an earlier version of the record named. #}
touched as (

    select distinct versions.customer_id
    from records
    inner join {{ ref('stg_subscriptions__subscriptions') }} as versions
        on records.change_id = versions.change_id
    where versions.customer_id is not null

),

changes as materialized (

    select
        versions.change_id,
        versions.customer_id,
        versions.event_at,
        versions.revision,
        versions.known_at,
        versions.reject_reason
    from touched
    inner join {{ ref('stg_subscriptions__subscriptions') }} as versions
        on touched.customer_id = versions.customer_id
    where
        versions.known_at <= {{ known_as_of_constant() }}
        and (versions.event_at is null or versions.event_at < {{ previous.day_end }})

),

refused as (

    {{ refused_customers() }}

),

spells as (

    {{ subscription_spells(
        'customer_id in (select touched.customer_id from touched) and '
        ~ is_visible_version(day_end=previous.day_end)
    ) | indent(4) }}

),

told as (

    select distinct on (customer_id)
        customer_id,
        is_open,
        net_price_amount,
        currency
    from spells
    where valid_to is null
    order by customer_id asc, {{ told_subscription_first('valid_from') }}

),

final as (

    select
        touched.customer_id,
        coalesce(
            told.is_open, refused.customer_id is not null and not refused.has_history
        ) as is_active,
        round(told.net_price_amount, 2)::numeric(18, 2) as monthly_value_amount,
        told.currency
    from touched
    left join told
        on touched.customer_id = told.customer_id
    left join refused
        on touched.customer_id = refused.customer_id

)

select * from final
