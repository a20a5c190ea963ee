{{ config(alias='customer_values') }}

{{- require_value_definition(['none', 'balance_margin', 'fixed_amount']) }}
{{- require_valid_value_parameters(ref('dated_value_parameters')) }}

with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        balance_amount
    from {{ ref('int_bank__customers_qualified') }}
    where {{ is_this_night() }}

),

parameters as (

    select currency
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

value_parameters as (

    select
        annual_margin_share,
        monthly_amount
    from {{ ref('dated_value_parameters') }}
    where {{ is_valid_value_parameter() }}

),

valued as (

    select
        customers.customer_id,
        customers.as_of_date,
        customers.known_as_of,
        case {{ value_definition() }}
            when 'balance_margin'
                then case
                    when customers.balance_amount >= 0
                        then
                            customers.balance_amount
                            * value_parameters.annual_margin_share / 12
                    when customers.balance_amount < 0 then 0
                end
            when 'fixed_amount' then value_parameters.monthly_amount
        end as monthly_value_amount,
        parameters.currency
    from customers
    cross join parameters
    left join value_parameters
        on true

),

final as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        round(monthly_value_amount, 2)::numeric(18, 2) as monthly_value_amount,
        null::integer as remaining_contract_months,
        currency,
        case
            when {{ value_definition() }} = 'none' then 'no_value_definition'
            when monthly_value_amount is null then 'missing'
            else 'known'
        end as value_status
    from valued

)

select * from final
