{{
    config(
        alias='customer_retention',
        replaces='labels',
    )
}}

with

label_nights as (

    select as_of_date
    from {{ ref('stg_ops__label_nights') }}
    where run_id = {{ run_id() }}

),

{# An end is certain once a return has had its grace, and late rows their allowance. #}
definitions as (

    select
        label_definition,
        gap_days as gap,
        gap_days + horizon_days as span,
        grace_days * interval '24 hours' as grace,
        is_involuntary_included,
        {{ start_of_day('1 - grace_days - late_allowance_days') }} as followed_until_at
    from {{ ref('dated_label_definition') }}
    where label_definition = {{ label_definition() }}

),

retained as (

    select
        customer_labels.customer_id,
        customer_labels.as_of_date,
        customer_labels.label_definition,
        definitions.is_involuntary_included,
        definitions.followed_until_at,
        {{ end_of_day('customer_labels.as_of_date', 'definitions.gap') }}
            as window_start_at,
        {{ end_of_day('customer_labels.as_of_date', 'definitions.span') }}
            as window_end_at
    from {{ ref('subscriptions__customer_labels') }} as customer_labels
    inner join label_nights
        on customer_labels.as_of_date = label_nights.as_of_date
    inner join definitions
        on customer_labels.label_definition = definitions.label_definition
    where
        customer_labels.known_as_of = {{ known_as_of_constant() }}
        and customer_labels.label_status = 'retained'

),

spells as (

    select
        customer_id,
        change_type,
        valid_from,
        valid_to,
        is_open
    from {{ ref('int_subscriptions__subscription_spells') }}
    where exists (select from retained)

),

lasting_ends as (

    {{ lasting_ends('(select min(retained.window_end_at) from retained)') }}

),

first_ends as (

    select distinct on (retained.as_of_date, retained.customer_id)
        retained.as_of_date,
        retained.customer_id,
        lasting_ends.ended_at,
        lasting_ends.change_type
    from retained
    inner join lasting_ends
        on
            retained.customer_id = lasting_ends.customer_id
            and retained.window_end_at <= lasting_ends.ended_at
            and retained.followed_until_at > lasting_ends.ended_at
    order by
        retained.as_of_date asc,
        retained.customer_id asc,
        lasting_ends.ended_at asc,
        lasting_ends.change_type asc

),

followed as (

    select
        retained.*,
        first_ends.ended_at,
        first_ends.ended_at is null
        or (
            first_ends.change_type = 'end_involuntary'
            and not retained.is_involuntary_included
        ) as is_censored
    from retained
    left join first_ends
        on
            retained.as_of_date = first_ends.as_of_date
            and retained.customer_id = first_ends.customer_id

),

final as (

    select
        customer_id,
        as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        label_definition,
        (
            extract(epoch from coalesce(ended_at, followed_until_at) - window_start_at)
            / 86400
        )::double precision as retained_days,
        is_censored,
        case
            when not is_censored then (ended_at at time zone 'UTC')::date
        end as churn_date
    from followed

)

select * from final
