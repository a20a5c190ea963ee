{{ config(alias='value_parameters') }}

with

parameters as (

    select
        dataset,
        value_definition,
        valid_from,
        valid_to,
        annual_margin_share::numeric(6, 4) as annual_margin_share,
        monthly_amount::numeric(18, 2) as monthly_amount
    from {{ ref('value_parameters') }}
    where dataset = '{{ var('dataset') }}'

)

select * from parameters
