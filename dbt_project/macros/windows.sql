{#
    Lookbacks, written once. A window of n days is half-open, [end - n days, end), where end is
    the first moment after the as-of date, UTC; a day is 24 hours, whatever the calendar does.
#}

{% macro is_within_days(event_at, days) -%}
    {{ event_at }} >= {{ start_of_day(1 - days) }}
        and {{ event_at }} < {{ start_of_day(1) }}
{%- endmacro %}

{# How many rows of the window fulfil a condition. #}
{% macro count_within_days(event_at, days, condition=none) -%}
    count(*) filter (
            where
                {{ is_within_days(event_at, days) | replace('\n        ', '\n                ') }}
                {%- if condition %}
                and {{ condition }}
                {%- endif %}
        )::integer
{%- endmacro %}

{# The sum of a column over the window, 0 where it has no row. #}
{% macro sum_within_days(amount, event_at, days, condition=none) -%}
    coalesce(sum({{ amount }}) filter (
            where
                {{ is_within_days(event_at, days) | replace('\n        ', '\n                ') }}
                {%- if condition %}
                and {{ condition }}
                {%- endif %}
        ), 0)
{%- endmacro %}

{# Calendar days, UTC, from an event to the as-of date: 0 on the as-of date itself. #}
{% macro days_since(event_at) -%}
    ({{ as_of_date_constant() }} - ({{ event_at }} at time zone 'UTC')::date)
{%- endmacro %}

{# The version of a history that was in force `days` days before the end of the as-of date. #}
{% macro was_in_force_before(days) -%}
    valid_from < {{ start_of_day(1 - days) }}
            and (valid_to is null or valid_to >= {{ start_of_day(1 - days) }})
{%- endmacro %}

{# The first moment, UTC, of the day that lies `days` after the day that follows `day`. #}
{% macro end_of_day(day, days=0) -%}
    ({{ day }} + 1 + {{ days }})::timestamp at time zone 'UTC'
{%- endmacro %}

{#
    Months begun from the day after `day` to `last_day`, both counted, at least 1: what is billed in
    advance and owed to the end of a term, or the notice of one month where there is none.
#}
{% macro months_begun(day, last_day) -%}
    greatest(
                    coalesce(
                        (
                            extract(year from age({{ last_day }} + 1, {{ day }} + 1)) * 12
                            + extract(month from age({{ last_day }} + 1, {{ day }} + 1))
                            + (extract(day from age({{ last_day }} + 1, {{ day }} + 1)) > 0)
                            ::integer
                        )::integer,
                        1
                    ),
                    1
                )
{%- endmacro %}
