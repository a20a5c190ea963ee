{#
    The point-in-time rule, written once: a source row counts if it happened before the
    end of the as-of date (UTC) and the warehouse knew it at the cut-off.
    event_time is an SQL expression of type date or timestamptz; sessions run in UTC.
#}
{% macro is_visible(event_time, known_at='_known_at') -%}
    {{ event_time }} < {{ end_of_as_of_date() }}
        and {{ known_at }} <= {{ known_as_of() }}
{%- endmacro %}

{#
    The same rule on a table of typed versions (see `versions`): of each record, the version
    in force at the cut-off, unless that one deletes it. lookback_days bounds what is read to
    a window (see `is_within_days`), so that a night does not grow with history. day_end is the
    first moment after the day that is described, where it is another than the as-of date.
#}
{% macro is_visible_version(lookback_days=none, day_end=none) -%}
    reject_reason is null
        and not is_deleted
        and event_at < {{ day_end or start_of_day(1) }}
        {%- if lookback_days %}
        and event_at >= {{ start_of_day(1 - lookback_days) }}
        {%- endif %}
        and known_at <= {{ known_as_of_constant() }}
        and (superseded_at is null or superseded_at > {{ known_as_of_constant() }})
{%- endmacro %}
