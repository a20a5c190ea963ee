{#
    Lifetimes are told in whole months, by the calendar: a month of a lifetime has passed on the day
    before it would begin anew.
#}

{# Whole months from one day to another; both may be dates or expressions of them. #}
{% macro whole_months(from_day, to_day) -%}
    (
        extract(year from age({{ to_day }}, {{ from_day }})) * 12
        + extract(month from age({{ to_day }}, {{ from_day }}))
    )::integer
{%- endmacro %}

{# The relation that tells this dataset's lifetimes, one row per customer. #}
{% macro lifetimes_ref() -%}
    {{ return(ref('int_' ~ var('dataset') ~ '__lifetimes_measured')) }}
{%- endmacro %}

{#
    One end of the 90 % interval of a survival share by Greenwood's variance (1926) on the scale of
    log(-log) (Kalbfleisch and Prentice 1980), which keeps it between 0 and 1. Null at 1 and at 0,
    where the sample says nothing of how sure it is. `variance` is that of log(share).
#}
{% macro survival_limit(share, variance, end) -%}
    {%- set sign = '' if end == 'low' else '-' -%}
    case
            when {{ share }} > 0 and {{ share }} < 1
                then exp(
                    ln({{ share }}) * exp(
                        {{ sign }}1.6448536269514722 * sqrt({{ variance }})
                        / abs(ln({{ share }}))
                    )
                )
        end
{%- endmacro %}
