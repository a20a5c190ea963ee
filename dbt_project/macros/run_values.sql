{# What the run gives: every model reads its day and its cut-off from here. #}

{% macro run_value(name) -%}
    {%- set value = var(name) -%}
    {%- if execute and value == 'not_set' and flags.WHICH in ['build', 'run', 'test'] -%}
        {{ exceptions.raise_compiler_error(
            "Expected the dbt variable " ~ name ~ ", found none. Call dbt through"
            ~ " `churn-ml dbt`, which gives the variables of a run."
        ) }}
    {%- endif -%}
    {{ value }}
{%- endmacro %}

{% macro run_id() -%}
    '{{ run_value('run_id') }}'::text
{%- endmacro %}

{% macro as_of_date() -%}
    '{{ run_value('as_of_date') }}'::date
{%- endmacro %}

{% macro known_as_of() -%}
    '{{ run_value('known_as_of') }}'::timestamptz
{%- endmacro %}

{% macro label_definition() -%}
    '{{ run_value('label_definition') }}'::text
{%- endmacro %}

{# Rows of a keyed relation that belong to this run's day and cut-off. #}
{% macro is_this_night(relation_alias=none) -%}
    {%- set prefix = relation_alias ~ '.' if relation_alias else '' -%}
    {{ prefix }}as_of_date = {{ as_of_date() }}
        and {{ prefix }}known_as_of = {{ known_as_of() }}
{%- endmacro %}
