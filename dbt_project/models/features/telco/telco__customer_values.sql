{{ config(alias='customer_values') }}

{{- require_value_definition(['mrr_horizon', 'truncated_clv']) }}

with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        monthly_charges_amount
    from {{ ref('int_telco__customers_qualified') }}
    where {{ is_this_night() }}

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
        customers.monthly_charges_amount::numeric(18, 2) as monthly_value_amount,
        null::integer as remaining_contract_months,
        parameters.currency,
        case
            when customers.monthly_charges_amount is null then 'missing' else 'known'
        end as value_status
    from customers
    cross join parameters

)

select * from final
