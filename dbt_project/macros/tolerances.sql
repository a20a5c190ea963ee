{# The one row of tolerances that holds on the night's day. #}
{% macro is_valid_tolerance() -%}
    valid_from <= {{ as_of_date() }}
        and ({{ as_of_date() }} < valid_to or valid_to is null)
{%- endmacro %}

{# Stop the build unless exactly one row holds: a tolerance is never guessed. #}
{% macro require_valid_tolerances(tolerances) -%}
    {%- if execute and flags.WHICH in ['build', 'run', 'test'] -%}
        {%- set found = run_query(
            'select ' ~ as_of_date() ~ '::text, (select count(*) from ' ~ tolerances
            ~ ' where ' ~ is_valid_tolerance() ~ ')'
        ).rows[0] -%}
        {%- if found[1] != 1 -%}
            {{ exceptions.raise_compiler_error(
                "Expected one row of tolerances for dataset " ~ var('dataset') ~ " valid on "
                ~ found[0] ~ ", found " ~ found[1]
                ~ ". Mend valid_from and valid_to in dbt_project/seeds/tolerances.csv."
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
