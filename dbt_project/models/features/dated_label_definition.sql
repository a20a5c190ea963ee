{{ config(alias='label_definition') }}

with

definitions as (

    select
        dataset,
        label_definition,
        gap_days,
        horizon_days,
        grace_days,
        late_allowance_days,
        is_involuntary_included
    from {{ ref('label_definitions') }}
    where dataset = '{{ var('dataset') }}'

)

select * from definitions
