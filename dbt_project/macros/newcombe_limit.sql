{#
    One end of the 90 % interval of a difference of two independent shares, first less second:
    Newcombe's hybrid score interval (Newcombe 1998, Statistics in Medicine 17, 873-890, method
    10). It holds for small counts and for shares near 0, where the usual one fails. Of each share
    it takes Wilson's limit (see `wilson_limit`): for the low end the low one of the first and the
    high one of the second, for the high end the others.
#}
{% macro newcombe_limit(first, first_limit, second, second_limit, end) -%}
    (
            {{ first }} - {{ second }} {{ '-' if end == 'low' else '+' }} sqrt(
                ({{ first_limit }} - {{ first }}) ^ 2
                + ({{ second_limit }} - {{ second }}) ^ 2
            )
        )::numeric
{%- endmacro %}

{# The 95 % quantile of the standard normal distribution: the end of a two-sided 90 % interval. #}
{% macro normal_quantile() -%}
    1.6448536269514722
{%- endmacro %}
