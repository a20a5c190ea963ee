{#
    The states of subscriptions, one row per visible change, from it to the next one. is_visible is
    the condition on rows of staging (see `is_visible_version`).
#}
{% macro subscription_spells(is_visible) -%}
    with

    changes as (

        select
            change_id,
            customer_id,
            subscription_id,
            change_type,
            event_at,
            plan_id,
            monthly_price_amount,
            discount_share,
            currency,
            contract,
            term_end_date,
            is_auto_renewal,
            known_at
        from {{ ref('stg_subscriptions__subscriptions') }}
        where {{ is_visible }}

    ),

    ordered as (

        select
            *,
            row_number() over subscription_changes as change_number,
            lead(event_at) over subscription_changes as valid_to,
            lag(monthly_price_amount * (1 - discount_share)) over subscription_changes
                as former_net_price_amount
        from changes
        window
            subscription_changes as (
                partition by customer_id, subscription_id
                order by event_at, change_id collate "C"
            )

    ),

    final as (

        select
            customer_id,
            subscription_id,
            change_id,
            change_number,
            change_type,
            event_at as valid_from,
            valid_to,
            change_type not in ('end_voluntary', 'end_involuntary') as is_open,
            plan_id,
            monthly_price_amount,
            discount_share,
            monthly_price_amount * (1 - discount_share) as net_price_amount,
            former_net_price_amount,
            currency,
            contract,
            term_end_date,
            is_auto_renewal,
            known_at
        from ordered

    )

    select * from final
{%- endmacro %}

{# Of a customer's subscriptions the one that is told comes first. #}
{% macro told_subscription_first(changed_at) -%}
    is_open desc, {{ changed_at }} desc, subscription_id collate "C"
{%- endmacro %}

{#
    Customers of whom a row was refused and not mended since, and whether any row of theirs was
    accepted. It reads the CTE `changes` of the model that calls it: every version that had happened
    by the end of the day and was known at the cut-off.
#}
{% macro refused_customers() -%}
    select
        customer_id,
        bool_or(exists (
            select
            from changes as accepted
            where
                accepted.customer_id = refused.customer_id
                and accepted.reject_reason is null
        )) as has_history
    from changes as refused
    where
        reject_reason is not null
        and reject_reason <> 'duplicate'
        and customer_id is not null
        and not exists (
            select
            from changes as mended
            where
                mended.change_id = refused.change_id
                and mended.reject_reason is null
                and (
                    mended.revision > refused.revision
                    or (
                        mended.known_at > refused.known_at
                        and mended.revision >= coalesce(refused.revision, 1)
                    )
                )
        )
    group by customer_id
{%- endmacro %}
