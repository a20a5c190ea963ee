{#
    The day and the cut-off of the run as literals, for models that read many rows: a session
    setting is read and cast anew for every row, and a planner that cannot see its value guesses
    how many rows a window holds. The values are asked for when a model is built, never when the
    project is parsed; without a run, as in `dbt docs`, the setting itself stands there.
#}
{% macro run_constant(setting, data_type) -%}
    {%- set found = none -%}
    {%- if execute -%}
        {%- set answer = run_query("select current_setting('" ~ setting ~ "', true)") -%}
        {%- set found = answer.columns[0][0] -%}
    {%- endif -%}
    {%- if found -%}
        '{{ found }}'::{{ data_type }}
    {%- else -%}
        current_setting('{{ setting }}')::{{ data_type }}
    {%- endif -%}
{%- endmacro %}

{% macro as_of_date_constant() -%}
    {{ run_constant('churn.as_of_date', 'date') }}
{%- endmacro %}

{% macro known_as_of_constant() -%}
    {{ run_constant('churn.known_as_of', 'timestamptz') }}
{%- endmacro %}

{# The first moment, UTC, of the day that lies `days` after the as-of date. #}
{% macro start_of_day(days) -%}
    (({{ as_of_date_constant() }} + {{ days }})::timestamp at time zone 'UTC')
{%- endmacro %}

{# `is_this_night` by constants, for models that read a night's rows of many relations. #}
{% macro is_night_of_run() -%}
    as_of_date = {{ as_of_date_constant() }}
        and known_as_of = {{ known_as_of_constant() }}
{%- endmacro %}
