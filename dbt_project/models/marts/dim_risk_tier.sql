{{ config(incremental_strategy='append') }}

with

tiers as (

    select *
    from (
        values
        (0, 'not_scored', 'Not scored'),
        (1, 'low', 'Low risk'),
        (2, 'medium', 'Medium risk'),
        (3, 'high', 'High risk')
    ) as listed (risk_tier_key, risk_tier, risk_tier_label)

),

final as (

    select
        risk_tier_key,
        risk_tier,
        risk_tier_label,
        risk_tier_key as risk_tier_sort
    from tiers
    {% if is_incremental() %}
        where risk_tier_key not in (select known.risk_tier_key from {{ this }} as known)
    {% endif %}

)

select * from final
