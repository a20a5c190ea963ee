{#
    What a month of a customer is worth, where the source names no revenue: the dataset's
    declared value definition, and the numbers that it needs.
#}

{# The one row of value parameters that holds on the night's day. #}
{% macro is_valid_value_parameter() -%}
    dataset = '{{ var('dataset') }}'
        and value_definition = {{ value_definition() }}
        and valid_from <= {{ as_of_date() }}
        and ({{ as_of_date() }} < valid_to or valid_to is null)
{%- endmacro %}

{# Stop the build where the dataset declares a value definition that its columns do not serve. #}
{% macro require_value_definition(accepted) -%}
    {%- if execute and flags.WHICH in ['build', 'run'] -%}
        {%- set declared = run_query('select ' ~ value_definition()).columns[0][0] -%}
        {%- if declared not in accepted -%}
            {{ exceptions.raise_compiler_error(
                "Expected value_definition of dataset " ~ var('dataset') ~ " to be one of "
                ~ accepted | join(', ') ~ ", found " ~ declared
                ~ ". Correct datasets/" ~ var('dataset') ~ ".yml."
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{# Stop the build unless exactly one row holds, where the definition needs one. #}
{% macro require_valid_value_parameters(parameters) -%}
    {%- if execute and flags.WHICH in ['build', 'run'] -%}
        {%- set found = run_query(
            'select ' ~ value_definition() ~ ', ' ~ as_of_date() ~ '::text, (select count(*) from '
            ~ parameters ~ ' where ' ~ is_valid_value_parameter() ~ ')'
        ).rows[0] -%}
        {%- if found[0] != 'none' and found[2] != 1 -%}
            {{ exceptions.raise_compiler_error(
                "Expected one row of value parameters for dataset " ~ var('dataset')
                ~ " and value definition " ~ found[0] ~ " valid on " ~ found[1]
                ~ ", found " ~ found[2]
                ~ ". Mend valid_from and valid_to in dbt_project/seeds/value_parameters.csv."
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
