{{ config(alias='decision_parameters') }}

{{- require_valid_parameters(ref('decision_parameters')) }}

with

parameters as (

    select
        dataset,
        label_definition,
        valid_from,
        valid_to,
        tier_medium_from,
        tier_high_from,
        value_horizon_months,
        margin_share,
        contact_cost_amount,
        offer_cost_amount,
        acceptance_share,
        currency,
        max_age_days
    from {{ ref('decision_parameters') }}
    where dataset = '{{ var('dataset') }}'

)

select * from parameters
