{#
    The point-in-time rule, written once: a source row counts if it happened before the
    end of the as-of date (UTC) and the warehouse knew it at the cut-off.
    event_time is an SQL expression of type date or timestamptz; sessions run in UTC.
#}
{% macro is_visible(event_time, known_at='_known_at') -%}
    {{ event_time }} < (({{ as_of_date() }} + 1)::timestamp at time zone 'UTC')
        and {{ known_at }} <= {{ known_as_of() }}
{%- endmacro %}
