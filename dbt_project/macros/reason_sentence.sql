{# A reason as people read it: the reviewed sentence with the customer's value in it. #}
{% macro reason_sentence(number) -%}
    {%- set value = 'scores.reason_' ~ number ~ '_value' -%}
    {%- set template = 'templates_' ~ number -%}
    case
            when {{ value }} is null then {{ template }}.sentence_without_value
            when {{ template }}.value_format = 'yes_no'
                then case {{ value }}
                    when 'yes' then {{ template }}.sentence_if_true
                    when 'no' then {{ template }}.sentence_if_false
                end
            else replace(
                replace(
                    {{ template }}.sentence_if_true,
                    '{percentile}',
                    {{ percentile_words('scores.reason_' ~ number ~ '_percentile') }}
                ),
                '{value}',
                {{ value_words(number) }}
            )
        end
{%- endmacro %}

{# The value in words: rounded to two digits, in percent, or as the table of words has it. #}
{% macro value_words(number) -%}
    {%- set value = 'scores.reason_' ~ number ~ '_value' -%}
    case templates_{{ number }}.value_format
                    when 'number' then trim_scale(round({{ value }}::numeric, 2))::text
                    when 'percent'
                        then round({{ value }}::numeric * 100)::text || ' %'
                    else coalesce(
                        words_{{ number }}.words, replace({{ value }}, '_', ' ')
                    )
                end
{%- endmacro %}

{#
    The value's place among the training customers: the outer quarters are high and low. A value
    that many share has the middle of their places, so it is never told how many are below.
#}
{% macro percentile_words(percentile) -%}
    coalesce(
                        case
                            when {{ percentile }} >= 75 then 'high'
                            when {{ percentile }} <= 25 then 'low'
                            else 'usual'
                        end
                        || ' among customers (percentile ' || {{ percentile }} || ')',
                        '{percentile}'
                    )
{%- endmacro %}
