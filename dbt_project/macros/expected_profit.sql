{#
    What treating one customer is expected to cost and to earn, by the night's decision parameters.

    With p the churn probability, v = monthly value x value_horizon_months x margin_share,
    acceptance g, offer cost d and contact cost f (Neslin et al. 2006, equation 1, without a
    campaign's fixed cost; Verbraken et al. 2013, equation 4, where v is one constant):

        p (g (v - d) - f) + (1 - p) (-d - f)  =  p g v - (f + d (1 - p + p g))

    since the offer goes to the share g of the leavers whom it keeps, and to all who would have
    stayed. churn_ml/training/profit.py chooses models by the same formula. Null where the value
    is not known.
#}
{% macro expected_profit(probability, monthly_value, parameters) -%}
    round(
        {{ probability }}::numeric
        * {{ parameters }}.acceptance_share
        * {{ monthly_value }}
        * {{ parameters }}.value_horizon_months
        * {{ parameters }}.margin_share
        - {{ exact_treatment_cost(probability, parameters) }},
        2
    )::numeric(18, 2)
{%- endmacro %}

{# Contact and expected offer of one treated customer; it knows no value. #}
{% macro expected_treatment_cost(probability, parameters) -%}
    round({{ exact_treatment_cost(probability, parameters) }}, 2)::numeric(18, 2)
{%- endmacro %}

{% macro exact_treatment_cost(probability, parameters) -%}
    (
            {{ parameters }}.contact_cost_amount
            + {{ parameters }}.offer_cost_amount * (
                1 - {{ probability }}::numeric * (1 - {{ parameters }}.acceptance_share)
            )
        )
{%- endmacro %}
