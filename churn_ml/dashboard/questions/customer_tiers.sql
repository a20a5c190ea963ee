-- The spans of a customer's risk tiers that began up to a day, the latest first.
select
    tiers.valid_from,
    case when tiers.valid_to <= %(as_of_date)s then tiers.valid_to end as valid_to,
    tiers.risk_tier,
    tiers.exclusion_reason,
    coalesce(
        case when tiers.valid_to <= %(as_of_date)s then tiers.valid_to end,
        %(as_of_date)s::date
    ) - tiers.valid_from as span_days
from marts.customer_tier_history as tiers
where
    tiers.customer_key = %(customer_key)s
    and tiers.valid_from <= %(as_of_date)s
order by tiers.valid_from desc
