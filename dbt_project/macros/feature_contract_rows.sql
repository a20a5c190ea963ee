{#
    The columns of customer_features that are no key, as rows: what the column metadata of
    the dbt graph says about each feature.
#}
{% macro feature_contract_rows() -%}
    {%- if not execute -%}
        select null
    {%- else -%}
        {%- set name = var('dataset') ~ '__customer_features' -%}
        {%- set columns = graph.nodes['model.churn_warehouse.' ~ name].columns -%}
        {%- set keys = ['customer_id', 'as_of_date', 'known_as_of'] -%}
        {%- for column in columns.values() if column.name not in keys -%}
            {%- set meta = column.config.meta -%}
            {%- for field in ['feature_window', 'unit', 'sensitivity', 'leakage_class']
                if field not in meta -%}
                {{ exceptions.raise_compiler_error(
                    "Expected meta." ~ field ~ " on column " ~ column.name ~ " of " ~ name
                    ~ ", found none. State it in the YAML file beside the model."
                ) }}
            {%- endfor -%}
    {{ "union all " if not loop.first -}}
    select
        '{{ column.name }}'::text as feature_name,
        '{{ column.data_type }}'::text as data_type,
        '{{ meta.feature_window }}'::text as feature_window,
        '{{ meta.unit }}'::text as unit,
        '{{ meta.sensitivity }}'::text as sensitivity,
        '{{ meta.leakage_class }}'::text as leakage_class,
        {{ (meta.is_nullable or false) | lower }} as is_nullable,
        {{ (meta.is_actionable or false) | lower }} as is_actionable,
        {{ loop.index }}::integer as position
        {% endfor -%}
    {%- endif -%}
{%- endmacro %}
