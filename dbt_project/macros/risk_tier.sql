{# low < tier_medium_from <= medium < tier_high_from <= high; null stays null. #}
{% macro risk_tier_sort(probability, medium_from, high_from) -%}
    case
            when {{ probability }} >= {{ high_from }} then 3
            when {{ probability }} >= {{ medium_from }} then 2
            when {{ probability }} < {{ medium_from }} then 1
        end
{%- endmacro %}
