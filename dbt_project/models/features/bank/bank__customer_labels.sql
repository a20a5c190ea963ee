{{ config(alias='customer_labels') }}

with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        has_exited
    from {{ ref('int_bank__customers_qualified') }}
    where {{ is_this_night() }}

),

customer_values as (

    select
        customer_id,
        monthly_value_amount,
        value_status
    from {{ ref('bank__customer_values') }}
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
        customers.has_exited as churned,
        case
            when customers.has_exited is null then 'missing' else 'known'
        end as label_status,
        null::date as churn_date,
        case
            when customer_values.value_status = 'no_value_definition' then null
            when customers.has_exited
                then round(
                    customer_values.monthly_value_amount
                    * parameters.value_horizon_months, 2
                )
            when not customers.has_exited then 0
        end::numeric(18, 2) as value_lost_amount,
        'none'::text as treatment_status
    from customers
    cross join parameters
    inner join customer_values
        on customers.customer_id = customer_values.customer_id

)

select * from final
