{{
    config(
        materialized='ephemeral',
        contract={'enforced': false},
        enabled=var('dataset') == 'subscriptions',
    )
}}

{%- set day_after = '(' ~ as_of_date_constant() ~ ' + 1)' %}

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
        contract
    from {{ ref('int_subscriptions__subscription_spells') }}

),

subscriptions as (

    select
        customer_id,
        subscription_id,
        coalesce(
            min(valid_from) filter (where change_type = 'start'), min(valid_from)
        ) as started_at,
        min(contract) filter (where change_number = 1) as first_contract,
        bool_or(is_open) filter (where valid_to is null) as is_open,
        max(valid_from) as changed_at
    from spells
    group by customer_id, subscription_id

),

customers as (

    select
        customer_id,
        (min(started_at) at time zone 'UTC')::date as started_date,
        (array_agg(first_contract order by started_at, subscription_id collate "C"))[1]
            as contract,
        case
            when not bool_or(is_open)
                then (max(changed_at) at time zone 'UTC')::date
        end as ended_date
    from subscriptions
    group by customer_id

),

{# Of those who left before it only the ones who stayed are known. #}
followed as (

    select date_trunc('month', min(ended_date))::date as followed_from_date
    from customers

),

counted as (

    select
        customers.customer_id,
        customers.contract,
        date_trunc('month', customers.started_date)::date as started_month,
        followed.followed_from_date,
        case
            when customers.started_date < followed.followed_from_date
                then {{ whole_months(
                    'customers.started_date', 'followed.followed_from_date - 1'
                ) }} + 1
            else 0
        end as entry_months,
        {{ whole_months('customers.started_date', 'customers.ended_date') }} + 1
            as ended_month,
        {{ whole_months('customers.started_date', day_after) }} as passed_months
    from customers
    cross join followed
    where coalesce(customers.ended_date >= customers.started_date, true)

),

final as (

    select
        customer_id,
        case when started_month >= followed_from_date then started_month end
            as cohort_month,
        coalesce(contract, 'not_stated') as contract,
        entry_months,
        least(ended_month, passed_months) as lifetime_months,
        coalesce(ended_month <= passed_months, false) as has_ended
    from counted
    where followed_from_date is not null

)

select * from final
