{{ config(alias='customer_features') }}

with

customers as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        tenure_months,
        monthly_charges_amount,
        contract,
        payment_method,
        internet_service,
        multiple_lines,
        online_security,
        online_backup,
        device_protection,
        tech_support,
        streaming_tv,
        streaming_movies,
        has_partner,
        has_dependents,
        has_phone_service,
        is_paperless_billing,
        gender,
        is_senior
    from {{ ref('stg_telco__customers') }}
    where
        rejects is null
        and {{ is_this_night() }}

),

final as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        tenure_months,
        monthly_charges_amount::double precision as monthly_charges_amount,
        contract,
        payment_method,
        internet_service,
        multiple_lines,
        online_security,
        online_backup,
        device_protection,
        tech_support,
        streaming_tv,
        streaming_movies,
        has_partner,
        has_dependents,
        has_phone_service,
        is_paperless_billing,
        gender,
        is_senior
    from customers

)

select * from final
