{{ config(materialized='view') }}

{%- set entities = [
    'customers', 'plans', 'subscriptions', 'invoices', 'payments', 'usage', 'tickets',
    'contacts', 'treatments',
] %}

with

united as (

    {% for entity in entities %}
        select
            '{{ entity }}' as entity,
            batch_id,
            row_number,
            known_at,
            event_at,
            {{ 'null' if entity == 'plans' else 'customer_id' }}::text as customer_id,
            reject_reason,
            reject_detail
        from {{ ref('stg_subscriptions__' ~ entity) }}
        where reject_reason is not null
        {{ "union all" if not loop.last }}
    {% endfor %}

),

final as (

    select
        entity,
        batch_id,
        row_number,
        known_at,
        event_at,
        customer_id,
        reject_reason,
        case reject_reason
            when 'rejected_value' then reject_detail
            when 'event_in_future' then 'event_at is later than known_at'
            when 'moved_event' then 'the record was first known with another event_at'
            when 'duplicate'
                then 'the same content was known under this revision before'
            when 'conflicting_duplicate'
                then 'other content was known under this revision before'
        end as detail
    from united

)

select * from final
