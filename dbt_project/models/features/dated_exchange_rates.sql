{{ config(alias='exchange_rates') }}

with

rates as (

    select
        dataset,
        currency,
        reporting_currency,
        valid_from,
        valid_to,
        rate::numeric(18, 8) as rate
    from {{ ref('exchange_rates') }}
    where dataset = '{{ var('dataset') }}'

)

select * from rates
