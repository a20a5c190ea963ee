{{ config(enabled=var('dataset') == 'subscriptions', severity='warn') }}

{{- require_valid_tolerances(ref('dated_tolerances')) }}

-- Revenue is reckoned from subscriptions, bills by another system: over customers of
-- whom nothing has changed for 31 days a month's bills are the month's revenue.
with

tolerances as (

    select mrr_invoice_tolerance_share
    from {{ ref('dated_tolerances') }}
    where {{ is_valid_tolerance() }}

),

customers as (

    select
        customer_values.customer_id,
        customer_values.monthly_value_amount,
        customer_values.currency
    from {{ ref('subscriptions__customer_values') }} as customer_values
    inner join {{ ref('subscriptions__customer_population') }} as population
        on
            customer_values.as_of_date = population.as_of_date
            and customer_values.known_as_of = population.known_as_of
            and customer_values.customer_id = population.customer_id
    where
        {{ is_this_night('customer_values') }}
        and population.is_active
        and customer_values.monthly_value_amount is not null

),

unchanged as (

    select customer_id
    from {{ ref('int_subscriptions__subscription_spells') }}
    where valid_to is null
    group by customer_id
    having
        count(*) filter (where is_open) = 1
        and max(valid_from) < {{ start_of_day(1 - 31) }}

),

{# The month that ends with the as-of date: any day up to the 28th is in it once. #}
invoices as (

    select
        customer_id,
        currency,
        amount
    from {{ ref('stg_subscriptions__invoices') }}
    where
        {{ is_visible_version(31) }}
        and event_at >= (
            ({{ as_of_date_constant() }} - interval '1 month')::date + 1
        )::timestamp at time zone 'UTC'

),

billed as (

    select
        customer_id,
        currency,
        sum(amount) as invoiced_amount
    from invoices
    group by customer_id, currency

),

compared as (

    select
        customers.currency,
        count(*) as customer_count,
        sum(customers.monthly_value_amount) as mrr_amount,
        coalesce(sum(billed.invoiced_amount), 0) as invoiced_amount
    from customers
    inner join unchanged
        on customers.customer_id = unchanged.customer_id
    left join billed
        on
            customers.customer_id = billed.customer_id
            and customers.currency = billed.currency
    group by customers.currency

),

final as (

    select
        compared.currency,
        compared.customer_count,
        compared.mrr_amount,
        compared.invoiced_amount
    from compared
    cross join tolerances
    where
        abs(compared.invoiced_amount - compared.mrr_amount)
        > tolerances.mrr_invoice_tolerance_share * compared.mrr_amount

)

select * from final
