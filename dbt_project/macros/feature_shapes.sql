{# Shapes that features of the subscription business share. #}

{# What a customer pays now against then; 1 where the subscription is younger than that. #}
{% macro net_price_ratio(former) -%}
    coalesce(
            subscriptions.net_price_amount / nullif(subscriptions.{{ former }}, 0), 1
        )::double precision
{%- endmacro %}

{#
    The last 28 days against the 28 before, (a - b) / (a + b), from -1 to 1; 0 where neither
    has any, and for whoever was no customer for both.
#}
{% macro bounded_trend(metric, age_days) -%}
    case
            when subscriptions.{{ age_days }} < 56 then 0
            else coalesce(
                (usage.{{ metric }}_28d - usage.{{ metric }}_28d_before)::double precision
                / nullif(usage.{{ metric }}_28d + usage.{{ metric }}_28d_before, 0),
                0
            )
        end
{%- endmacro %}

{#
    The weekly mean of the last 28 days against that of the last 84 (twelve whole weeks, or
    those since the subscription was opened); 0 where nothing was used.
#}
{% macro own_level(metric, age_days) -%}
    coalesce(
            usage.{{ metric }}_28d::double precision
            * least(greatest(subscriptions.{{ age_days }}, 28), 84)
            / nullif(28 * usage.{{ metric }}_84d, 0),
            0
        )
{%- endmacro %}

{# Counts of a relation that has no row where nothing happened. #}
{% macro zero_if_missing(relation, columns) -%}
    {%- for column in columns -%}
        coalesce({{ relation }}.{{ column }}, 0)::integer as {{ column }}
        {{- ",\n        " if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{# Days since an event, at most the window; the window where there was none. #}
{% macro capped_days_since(event_at, days) -%}
    least(coalesce({{ days_since(event_at) }}, {{ days }}), {{ days }})
{%- endmacro %}

{% macro is_missing_within_days(event_at, days) -%}
    not coalesce({{ is_within_days(event_at, days) }}, false)
{%- endmacro %}
