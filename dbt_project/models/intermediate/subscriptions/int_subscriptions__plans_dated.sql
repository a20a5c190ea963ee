{{ config(materialized='ephemeral') }}

with

plans as (

    select
        plan_id,
        event_at,
        plan_name,
        plan_tier,
        list_price_amount
    from {{ ref('stg_subscriptions__plans') }}
    where {{ is_visible_version() }}

),

final as (

    select distinct on (plan_id)
        plan_id,
        plan_name,
        plan_tier,
        list_price_amount
    from plans
    order by plan_id asc, event_at desc

)

select * from final
