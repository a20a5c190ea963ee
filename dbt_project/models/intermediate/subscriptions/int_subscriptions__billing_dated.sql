{#- Older bills are settled or given up: they and payments of them count nowhere. -#}
{%- set lookback_days = 120 -%}

with

invoices as (

    select
        invoice_id,
        customer_id,
        event_at,
        due_date,
        amount
    from {{ ref('stg_subscriptions__invoices') }}
    where {{ is_visible_version(lookback_days) }}

),

payments as (

    select
        invoice_id,
        event_at,
        status,
        amount
    from {{ ref('stg_subscriptions__payments') }}
    where {{ is_visible_version(lookback_days) }}

),

settled as (

    select
        invoice_id,
        min(event_at) filter (where status = 'succeeded') as paid_at,
        max(event_at) filter (where status = 'succeeded') as last_paid_at,
        {{ sum_within_days('amount', 'event_at', 28, "status = 'succeeded'") }}
            as paid_amount_28d,
        {{ sum_within_days('amount', 'event_at', 90, "status = 'succeeded'") }}
            as paid_amount_90d,
        {{ count_within_days('event_at', 28, "status = 'failed'") }}
            as failed_payments_28d,
        {{ count_within_days('event_at', 90, "status = 'failed'") }}
            as failed_payments_90d,
        {{ count_within_days('event_at', 90, "status = 'refunded'") }} as refunds_90d,
        {{ sum_within_days('amount', 'event_at', 90, "status = 'refunded'") }}
            as refunded_amount_90d
    from payments
    group by invoice_id

),

bills as (

    select
        invoices.customer_id,
        invoices.event_at,
        invoices.amount,
        settled.paid_at,
        settled.last_paid_at,
        settled.paid_amount_28d,
        settled.paid_amount_90d,
        settled.failed_payments_28d,
        settled.failed_payments_90d,
        settled.refunds_90d,
        settled.refunded_amount_90d,
        settled.paid_at >= (invoices.due_date + 1)::timestamp at time zone 'UTC'
            as is_paid_late,
        case
            when settled.paid_at is null
                then {{ as_of_date_constant() }} - invoices.due_date
            else 0
        end as days_past_due
    from invoices
    left join settled
        on invoices.invoice_id = settled.invoice_id

),

final as (

    select
        customer_id,
        {{ as_of_date_constant() }} as as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        {{ sum_within_days('amount', 'event_at', 28) }} as billed_amount_28d,
        {{ sum_within_days('amount', 'event_at', 90) }} as billed_amount_90d,
        coalesce(sum(paid_amount_28d), 0) as paid_amount_28d,
        coalesce(sum(paid_amount_90d), 0) as paid_amount_90d,
        coalesce(sum(refunds_90d), 0)::integer as refunds_90d,
        coalesce(sum(refunded_amount_90d), 0) as refunded_amount_90d,
        coalesce(sum(failed_payments_28d), 0)::integer as failed_payments_28d,
        coalesce(sum(failed_payments_90d), 0)::integer as failed_payments_90d,
        {{ count_within_days('paid_at', 90, 'is_paid_late') }} as late_payments_90d,
        count(*) filter (where days_past_due > 0)::integer as past_due_invoices_120d,
        greatest(max(days_past_due), 0) as days_past_due_120d,
        max(last_paid_at) as last_paid_at
    from bills
    group by customer_id

)

select * from final
