{{ config(alias='customer_features') }}

{%- set usage_sums = [
    'sessions_7d', 'sessions_28d', 'sessions_90d', 'active_minutes_7d',
    'active_minutes_28d', 'active_minutes_90d', 'searches_28d', 'exports_28d', 'shares_28d',
    'metrics_used_28d',
] %}
{%- set ticket_counts = [
    'tickets_opened_28d', 'tickets_opened_90d', 'high_priority_tickets_90d',
    'open_tickets_120d', 'oldest_open_ticket_days_120d',
] %}
{%- set contact_counts = [
    'inbound_contacts_28d', 'inbound_contacts_90d', 'outbound_contacts_28d',
    'outbound_contacts_90d',
] %}

with

qualified as (

    select
        customer_id,
        as_of_date,
        known_as_of
    from {{ ref('int_subscriptions__customers_qualified') }}
    where
        {{ is_night_of_run() }}
        and is_active
        and exclusion_reason is distinct from 'rejected_value'

),

subscriptions as (

    select
        *,
        {{ days_since('first_started_at') }} as tenure_days,
        {{ days_since('opened_at') }} as days_since_opening,
        {{ days_since('plan_since_at') }} as days_on_plan
    from {{ ref('int_subscriptions__subscriptions_dated') }}
    where {{ is_night_of_run() }}

),

billing as (

    select *
    from {{ ref('int_subscriptions__billing_dated') }}
    where {{ is_night_of_run() }}

),

usage as (

    select *
    from {{ ref('int_subscriptions__usage_dated') }}
    where {{ is_night_of_run() }}

),

tickets as (

    select *
    from {{ ref('int_subscriptions__tickets_dated') }}
    where {{ is_night_of_run() }}

),

contacts as (

    select *
    from {{ ref('int_subscriptions__contacts_dated') }}
    where {{ is_night_of_run() }}

),

treatments as (

    select *
    from {{ ref('int_subscriptions__treatments_dated') }}
    where {{ is_night_of_run() }}

),

customers as (

    select *
    from {{ ref('int_subscriptions__customers_dated') }}
    where {{ is_night_of_run() }}

),

final as (

    select
        qualified.customer_id,
        qualified.as_of_date,
        qualified.known_as_of,
        subscriptions.tenure_days,
        subscriptions.days_since_opening,
        subscriptions.has_returned,
        subscriptions.days_on_plan,
        subscriptions.contract,
        subscriptions.term_end_date - qualified.as_of_date as days_to_term_end,
        subscriptions.is_auto_renewal,
        coalesce(subscriptions.plan_tier, 'not_stated') as plan_tier,
        subscriptions.net_price_amount::double precision as net_price_amount,
        subscriptions.discount_share::double precision as discount_share,
        (
            subscriptions.net_price_amount / nullif(subscriptions.list_price_amount, 0)
        )::double precision as net_to_list_price_ratio,
        {{ net_price_ratio('net_price_28d_ago_amount') }} as net_price_ratio_28d,
        {{ net_price_ratio('net_price_90d_ago_amount') }} as net_price_ratio_90d,
        subscriptions.price_rise_28d::double precision as price_rise_28d,
        subscriptions.price_rise_90d::double precision as price_rise_90d,
        coalesce(
            100 * (
                subscriptions.discount_share - subscriptions.discount_90d_ago_share
            ),
            0
        )::double precision as discount_change_pts_90d,
        subscriptions.price_moves_90d,
        subscriptions.upgrades_28d,
        subscriptions.upgrades_90d,
        subscriptions.downgrades_28d,
        subscriptions.downgrades_90d,
        ((
            coalesce(billing.paid_amount_90d, 0)
            - coalesce(billing.refunded_amount_90d, 0)
        ) / 3)::double precision as average_monthly_spend_90d,
        coalesce(billing.paid_amount_28d, 0)::double precision as paid_amount_28d,
        coalesce(billing.late_payments_90d, 0) as late_payments_90d,
        coalesce(billing.failed_payments_28d, 0) as failed_payments_28d,
        coalesce(billing.failed_payments_90d, 0) as failed_payments_90d,
        coalesce(billing.refunds_90d, 0) as refunds_90d,
        coalesce(billing.past_due_invoices_120d, 0) as past_due_invoices_120d,
        coalesce(billing.days_past_due_120d, 0) as days_past_due_120d,
        {{ capped_days_since('billing.last_paid_at', 90) }} as days_since_payment_90d,
        {{ is_missing_within_days('billing.last_paid_at', 90) }}
            as is_payment_missing_90d,
        {{ zero_if_missing('usage', usage_sums) }},
        {{ bounded_trend('sessions', 'days_since_opening') }} as session_trend_28d,
        {{ bounded_trend('active_minutes', 'days_since_opening') }}
            as active_minutes_trend_28d,
        {{ own_level('sessions', 'days_since_opening') }} as session_level_84d,
        {{ own_level('active_minutes', 'days_since_opening') }}
            as active_minutes_level_84d,
        {{ capped_days_since('usage.last_used_at', 90) }} as days_since_usage_90d,
        coalesce(usage.metrics_used_28d, 0) = 0 as is_usage_missing_28d,
        {{ zero_if_missing('tickets', ticket_counts) }},
        tickets.csat_mean_28d::double precision as csat_mean_28d,
        tickets.csat_mean_90d::double precision as csat_mean_90d,
        tickets.csat_mean_90d is not null as has_csat_90d,
        tickets.hours_to_resolve_mean_90d::double precision
            as hours_to_resolve_mean_90d,
        {{ zero_if_missing('contacts', contact_counts) }},
        {{ capped_days_since('contacts.last_contact_at', 90) }}
            as days_since_contact_90d,
        {{ is_missing_within_days('contacts.last_contact_at', 90) }}
            as is_contact_missing_90d,
        coalesce(treatments.treatments_28d, 0) as treatments_28d,
        coalesce(treatments.treatments_90d, 0) as treatments_90d,
        coalesce(customers.customer_type, 'not_stated') as customer_type,
        coalesce(customers.region, 'not_stated') as region,
        coalesce(customers.acquisition_channel, 'not_stated') as acquisition_channel,
        coalesce(customers.gender, 'not_stated') as gender,
        coalesce(customers.age_group, 'not_stated') as age_group
    from qualified
    inner join subscriptions
        on qualified.customer_id = subscriptions.customer_id
    left join billing
        on qualified.customer_id = billing.customer_id
    left join usage
        on qualified.customer_id = usage.customer_id
    left join tickets
        on qualified.customer_id = tickets.customer_id
    left join contacts
        on qualified.customer_id = contacts.customer_id
    left join treatments
        on qualified.customer_id = treatments.customer_id
    left join customers
        on qualified.customer_id = customers.customer_id

)

select * from final
