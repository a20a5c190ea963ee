{#
    The targets that hold on the night's day. A target is a wish, not a need: none may hold.
#}
{% macro is_valid_target() -%}
    dataset = '{{ var('dataset') }}'
        and valid_from <= {{ as_of_date() }}
        and ({{ as_of_date() }} < valid_to or valid_to is null)
{%- endmacro %}
