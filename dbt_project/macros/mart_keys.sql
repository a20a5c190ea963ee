{#
    Integer keys of the marts, for tools that relate tables on one column. A run's key stands in
    dim_scoring_run, a customer's in dim_customer: neither ever changes.
#}

{% macro date_key(day) -%}
    to_char({{ day }}, 'YYYYMMDD')::integer
{%- endmacro %}
