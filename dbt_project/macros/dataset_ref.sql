{# The relation of the feature interface that this deployment's dataset fills. #}
{% macro dataset_ref(relation) -%}
    {{ return(ref(var('dataset') ~ '__' ~ relation)) }}
{%- endmacro %}
