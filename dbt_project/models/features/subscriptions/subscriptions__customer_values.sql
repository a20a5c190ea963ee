{{ config(alias='customer_values') }}

{{- require_value_definition([
    'mrr_horizon', 'truncated_clv', 'remaining_contract',
]) }}

with

customers as (

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
        net_price_amount,
        currency,
        case
            when is_active and contract = 'month_to_month' then 1
            when is_active
                then {{ months_begun(as_of_date_constant(), 'term_end_date') }}
        end as remaining_contract_months
    from {{ ref('int_subscriptions__subscriptions_dated') }}
    where {{ is_night_of_run() }}

),

parameters as (

    select currency
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

final as (

    select
        customers.customer_id,
        customers.as_of_date,
        customers.known_as_of,
        round(subscriptions.net_price_amount, 2)::numeric(18, 2)
            as monthly_value_amount,
        subscriptions.remaining_contract_months,
        coalesce(subscriptions.currency, parameters.currency) as currency,
        case
            when subscriptions.net_price_amount is null then 'missing' else 'known'
        end as value_status
    from customers
    cross join parameters
    left join subscriptions
        on customers.customer_id = subscriptions.customer_id

)

select * from final
