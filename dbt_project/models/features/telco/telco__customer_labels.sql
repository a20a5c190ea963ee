{{ config(alias='customer_labels') }}

with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        has_churned,
        monthly_charges_amount
    from {{ ref('int_telco__customers_qualified') }}
    where {{ is_this_night() }}

),

parameters as (

    select
        label_definition,
        value_horizon_months
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

final as (

    select
        customers.customer_id,
        customers.as_of_date,
        customers.known_as_of,
        parameters.label_definition,
        customers.has_churned as churned,
        case
            when customers.has_churned is null then 'missing' else 'known'
        end as label_status,
        null::date as churn_date,
        case customers.has_churned
            when true
                then round(
                    customers.monthly_charges_amount::numeric(18, 2)
                    * parameters.value_horizon_months, 2
                )
            when false then 0
        end::numeric(18, 2) as value_lost_amount,
        'none'::text as treatment_status
    from customers
    cross join parameters

)

select * from final
