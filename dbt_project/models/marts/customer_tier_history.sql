{{ config(materialized='view') }}

with

changes as (

    select
        customer_key,
        customer_id,
        as_of_date,
        to_state,
        to_risk_tier_key,
        to_exclusion_reason
    from {{ ref('fct_tier_change') }}
    where run_id = any((select ops.published_run_ids())::text[])

),

compared as (

    select
        customer_key,
        customer_id,
        as_of_date,
        to_state,
        to_risk_tier_key,
        to_exclusion_reason,
        lag(to_risk_tier_key) over customer_changes as former_risk_tier_key,
        lag(to_exclusion_reason) over customer_changes as former_exclusion_reason
    from changes
    window customer_changes as (partition by customer_key order by as_of_date)

),

final as (

    select
        customer_key,
        customer_id,
        to_risk_tier_key as risk_tier_key,
        case when to_risk_tier_key > 0 then to_state end as risk_tier,
        nullif(to_risk_tier_key, 0) as risk_tier_sort,
        to_exclusion_reason as exclusion_reason,
        as_of_date as valid_from,
        lead(as_of_date) over customer_changes as valid_to,
        lead(as_of_date) over customer_changes is null as is_current
    from compared
    where
        to_risk_tier_key is distinct from former_risk_tier_key
        or to_exclusion_reason is distinct from former_exclusion_reason
    window customer_changes as (partition by customer_key order by as_of_date)

)

select * from final
