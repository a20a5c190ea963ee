{# The one row of decision parameters that holds on the night's day. #}
{% macro is_valid_parameter() -%}
    dataset = '{{ var('dataset') }}'
        and label_definition = {{ label_definition() }}
        and valid_from <= {{ as_of_date() }}
        and ({{ as_of_date() }} < valid_to or valid_to is null)
{%- endmacro %}

{# Stop the build unless exactly one row holds: a tier limit or a horizon is never guessed. #}
{% macro require_valid_parameters(parameters) -%}
    {%- if execute and flags.WHICH in ['build', 'run'] -%}
        {%- set query -%}
            select count(*) from {{ parameters }} where {{ is_valid_parameter() }}
        {%- endset -%}
        {%- set found = run_query(query).columns[0][0] -%}
        {%- if found != 1 -%}
            {%- set run = run_query(
                'select ' ~ label_definition() ~ ', ' ~ as_of_date() ~ '::text'
            ).rows[0] -%}
            {{ exceptions.raise_compiler_error(
                "Expected one row of decision parameters for dataset " ~ var('dataset')
                ~ " and label definition " ~ run[0] ~ " valid on "
                ~ run[1] ~ ", found " ~ found
                ~ ". Mend valid_from and valid_to in dbt_project/seeds/decision_parameters.csv."
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
