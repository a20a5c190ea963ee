{{
    config(
        alias='customer_labels',
        replaces='labels',
    )
}}

with

label_nights as (

    select
        as_of_date,
        known_as_of
    from {{ ref('stg_ops__label_nights') }}
    where run_id = {{ run_id() }}

),

definitions as (

    select
        label_definition,
        gap_days as gap,
        gap_days + horizon_days as span,
        gap_days + horizon_days + grace_days + late_allowance_days as ripening,
        grace_days * interval '24 hours' as grace,
        is_involuntary_included
    from {{ ref('dated_label_definition') }}
    where label_definition = {{ label_definition() }}

),

parameters as (

    select
        label_definition,
        valid_from,
        valid_to,
        value_horizon_months
    from {{ ref('dated_decision_parameters') }}
    where label_definition = {{ label_definition() }}

),

nights as (

    select
        label_nights.as_of_date,
        label_nights.known_as_of,
        definitions.label_definition,
        definitions.is_involuntary_included,
        parameters.value_horizon_months,
        {{ end_of_day('label_nights.as_of_date') }} as day_end_at,
        {{ end_of_day('label_nights.as_of_date', 'definitions.gap') }}
            as window_start_at,
        {{ end_of_day('label_nights.as_of_date', 'definitions.span') }}
            as window_end_at,
        {{ end_of_day('label_nights.as_of_date', 'definitions.ripening') }}
        <= {{ start_of_day(1) }} as is_closed
    from label_nights
    cross join definitions
    left join parameters
        on
            label_nights.as_of_date >= parameters.valid_from
            and (
                label_nights.as_of_date < parameters.valid_to
                or parameters.valid_to is null
            )

),

population as (

    select
        customer_population.customer_id,
        customer_values.monthly_value_amount,
        case
            when
                {{ value_definition() }} = 'remaining_contract'
                and customer_values.remaining_contract_months
                < nights.value_horizon_months
                then customer_values.remaining_contract_months
            else nights.value_horizon_months
        end as lost_months,
        nights.*
    from nights
    inner join {{ ref('subscriptions__customer_population') }} as customer_population
        on
            nights.as_of_date = customer_population.as_of_date
            and nights.known_as_of = customer_population.known_as_of
    left join {{ ref('subscriptions__customer_values') }} as customer_values
        on
            customer_population.as_of_date = customer_values.as_of_date
            and customer_population.known_as_of = customer_values.known_as_of
            and customer_population.customer_id = customer_values.customer_id

),

spells as (

    select
        customer_id,
        change_type,
        valid_from,
        valid_to,
        is_open
    from {{ ref('int_subscriptions__subscription_spells') }}
    where (select bool_or(nights.is_closed) from nights)

),

{# Who, as the run knows it, had an open subscription at the end of the day. #}
at_risk as (

    select distinct
        population.as_of_date,
        population.customer_id
    from population
    inner join spells
        on
            population.customer_id = spells.customer_id
            and population.day_end_at > spells.valid_from
            and population.day_end_at <= coalesce(spells.valid_to, 'infinity')
    where spells.is_open

),

lasting_ends as (

    {{ lasting_ends('(select min(nights.day_end_at) from nights)') }}

),

first_ends as (

    select distinct on (population.as_of_date, population.customer_id)
        population.as_of_date,
        population.customer_id,
        lasting_ends.ended_at,
        lasting_ends.change_type
    from population
    inner join lasting_ends
        on
            population.customer_id = lasting_ends.customer_id
            and population.day_end_at <= lasting_ends.ended_at
            and population.window_end_at > lasting_ends.ended_at
    order by
        population.as_of_date asc,
        population.customer_id asc,
        lasting_ends.ended_at asc,
        lasting_ends.change_type asc

),

treatments as (

    select
        customer_id,
        event_at,
        is_held_out
    from {{ ref('stg_subscriptions__treatments') }}
    where {{ is_visible_version() }}

),

treated as (

    select
        population.as_of_date,
        population.customer_id,
        bool_or(not treatments.is_held_out) as is_treated
    from population
    inner join treatments
        on
            population.customer_id = treatments.customer_id
            and population.day_end_at <= treatments.event_at
            and population.window_end_at > treatments.event_at
    group by population.as_of_date, population.customer_id

),

outcomes as (

    select
        population.*,
        first_ends.ended_at,
        case
            when treated.is_treated then 'treated'
            when not treated.is_treated then 'held_out'
            else 'none'
        end as treatment_status,
        case
            when not population.is_closed then 'immature'
            when at_risk.customer_id is null then 'censored'
            when first_ends.ended_at is null then 'retained'
            when
                first_ends.change_type = 'end_involuntary'
                and not population.is_involuntary_included
                then 'censored'
            when first_ends.ended_at < population.window_start_at then 'churned_in_gap'
            else 'churned'
        end as label_status
    from population
    left join at_risk
        on
            population.as_of_date = at_risk.as_of_date
            and population.customer_id = at_risk.customer_id
    left join first_ends
        on
            population.as_of_date = first_ends.as_of_date
            and population.customer_id = first_ends.customer_id
    left join treated
        on
            population.as_of_date = treated.as_of_date
            and population.customer_id = treated.customer_id

),

final as (

    select
        customer_id,
        as_of_date,
        {{ known_as_of_constant() }} as known_as_of,
        label_definition,
        case label_status
            when 'churned' then true
            when 'retained' then false
        end as churned,
        label_status,
        case
            when label_status in ('churned', 'churned_in_gap')
                then (ended_at at time zone 'UTC')::date
        end as churn_date,
        case label_status
            when 'churned' then round(monthly_value_amount * lost_months, 2)
            when 'retained' then 0
        end::numeric(18, 2) as value_lost_amount,
        treatment_status
    from outcomes

)

select * from final
