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

),

final as (

    select
        dataset,
        label_definition,
        valid_from,
        valid_to,
        tier_medium_from::numeric(6, 4) as tier_medium_from,
        tier_high_from::numeric(6, 4) as tier_high_from,
        value_horizon_months,
        margin_share::numeric(6, 4) as margin_share,
        contact_cost_amount::numeric(18, 2) as contact_cost_amount,
        offer_cost_amount::numeric(18, 2) as offer_cost_amount,
        acceptance_share::numeric(6, 4) as acceptance_share,
        currency,
        max_age_days
    from parameters

)

select * from final
