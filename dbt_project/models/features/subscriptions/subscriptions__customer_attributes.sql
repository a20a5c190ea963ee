{{ config(alias='customer_attributes') }}

with

qualified as (

    select
        customer_id,
        as_of_date,
        known_as_of
    from {{ ref('int_subscriptions__customers_qualified') }}
    where {{ is_night_of_run() }}

),

subscriptions as (

    select
        customer_id,
        plan_id,
        plan_name,
        contract,
        (first_started_at at time zone 'UTC')::date as first_active_date,
        {{ days_since('first_started_at') }} as tenure_days
    from {{ ref('int_subscriptions__subscriptions_dated') }}
    where {{ is_night_of_run() }}

),

customers as (

    select
        customer_id,
        customer_type,
        region,
        signup_date
    from {{ ref('int_subscriptions__customers_dated') }}
    where {{ is_night_of_run() }}

),

grouped as (

    select
        qualified.customer_id,
        qualified.as_of_date,
        qualified.known_as_of,
        customers.customer_type,
        customers.region,
        customers.signup_date,
        subscriptions.first_active_date,
        subscriptions.plan_id,
        subscriptions.plan_name,
        subscriptions.contract,
        case
            when subscriptions.tenure_days is null then 0
            when subscriptions.tenure_days < 90 then 1
            when subscriptions.tenure_days < 365 then 2
            when subscriptions.tenure_days < 730 then 3
            else 4
        end as tenure_group_sort
    from qualified
    left join subscriptions
        on qualified.customer_id = subscriptions.customer_id
    left join customers
        on qualified.customer_id = customers.customer_id

),

final as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        coalesce(customer_type, 'not_stated') as segment,
        coalesce(region, 'not_stated') as region,
        coalesce(plan_name, plan_id, 'not_stated') as plan,
        coalesce(contract, 'not_stated') as contract,
        case tenure_group_sort
            when 0 then 'not_stated'
            when 1 then 'under_90_days'
            when 2 then '90_to_364_days'
            when 3 then '365_to_729_days'
            else '730_days_and_over'
        end as tenure_group,
        tenure_group_sort,
        signup_date,
        first_active_date
    from grouped

)

select * from final
