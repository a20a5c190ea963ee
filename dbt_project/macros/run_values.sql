{#
    What the run gives: every model reads its day and its cut-off from here. The values are
    settings of the session, so that the parsed project is the same for every run and dbt
    parses it once.
#}

{% macro run_id() -%}
    current_setting('churn.run_id')
{%- endmacro %}

{% macro as_of_date() -%}
    current_setting('churn.as_of_date')::date
{%- endmacro %}

{% macro known_as_of() -%}
    current_setting('churn.known_as_of')::timestamptz
{%- endmacro %}

{% macro label_definition() -%}
    current_setting('churn.label_definition')
{%- endmacro %}

{% macro value_definition() -%}
    current_setting('churn.value_definition')
{%- endmacro %}

{# The first moment after the as-of date, UTC. #}
{% macro end_of_as_of_date() -%}
    ({{ as_of_date() }} + 1)::timestamp at time zone 'UTC'
{%- endmacro %}

{# Rows of a keyed relation that belong to this run's day and cut-off. #}
{% macro is_this_night(relation_alias=none) -%}
    {%- set prefix = relation_alias ~ '.' if relation_alias else '' -%}
    {{ prefix }}as_of_date = {{ as_of_date() }}
        and {{ prefix }}known_as_of = {{ known_as_of() }}
{%- endmacro %}

{# on-run-start: refuse to build or test without a run. #}
{% macro require_run() -%}
    {%- if execute and flags.WHICH in ['build', 'run', 'test'] -%}
        {%- set query -%}
            select coalesce(current_setting('churn.run_id', true), '') = ''
        {%- endset -%}
        {%- if run_query(query).columns[0][0] -%}
            {{ exceptions.raise_compiler_error(
                "Expected the session setting churn.run_id, found none. Call dbt through"
                ~ " `churn-ml dbt`, which gives the values of a run."
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
