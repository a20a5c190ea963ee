{#
    What the metrics of realised outcomes are measured over: customers whose outcome is known and
    who were not treated, since the score is of what happens by itself. Held out customers count.
#}
{% macro is_measured() -%}
    churned is not null
        and treatment_status in ('none', 'held_out')
{%- endmacro %}

{#
    One row per scored run and distinct probability: its customers and leavers, the customers and
    stayers below it and the totals of the run. It reads the CTE `measured` of the model that
    calls it; ties are one row, so nothing depends on the order of equal scores.
#}
{% macro ranked_outcomes() -%}
    select
        scored_run_key,
        churn_probability,
        customer_count,
        churned_count,
        sum(customer_count) over lower_scores - customer_count as lower_customer_count,
        sum(customer_count - churned_count) over lower_scores
        - (customer_count - churned_count) as lower_stayed_count,
        sum(customer_count) over scored_run as run_customer_count,
        sum(churned_count) over scored_run as run_churned_count
    from (
        select
            scored_run_key,
            churn_probability,
            count(*) as customer_count,
            count(*) filter (where churned) as churned_count
        from measured
        group by scored_run_key, churn_probability
    ) as by_score
    window
        lower_scores as (partition by scored_run_key order by churn_probability),
        scored_run as (partition by scored_run_key)
{%- endmacro %}

{#
    One end of Wilson's 90 % interval of a share of `found` among `counted` (Wilson 1927). At 0
    and 1 the end is the share itself, but for the last digit.
#}
{% macro wilson_limit(found, counted, end) -%}
    {%- set z = '1.6448536269514722' -%}
    {%- set share = '(' ~ found ~ '::double precision / ' ~ counted ~ ')' -%}
    {%- set sign, bound = ('-', 'least') if end == 'low' else ('+', 'greatest') -%}
    {{ bound }}(
            (
                {{ share }} + {{ z }} ^ 2 / (2 * {{ counted }})
                {{ sign }} {{ z }} * sqrt(
                    {{ share }} * (1 - {{ share }}) / {{ counted }}
                    + {{ z }} ^ 2 / (4 * {{ counted }}::double precision ^ 2)
                )
            ) / (1 + {{ z }} ^ 2 / {{ counted }}),
            {{ share }}
        )
{%- endmacro %}
