{{ config(alias='campaign_parameters') }}

{{- require_valid_campaign(ref('campaign_parameters'), ref('decision_parameters')) }}

with

parameters as (

    select
        dataset,
        label_definition,
        campaign_id,
        treatment,
        valid_from,
        valid_to,
        budget_amount::numeric(18, 2) as budget_amount,
        capacity_count,
        holdout_share::numeric(6, 4) as holdout_share,
        cooldown_days,
        assignment_seed,
        least_arm_count,
        least_left_count,
        currency
    from {{ ref('campaign_parameters') }}
    where dataset = '{{ var('dataset') }}'

)

select * from parameters
