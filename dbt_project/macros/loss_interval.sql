{#
    The 90 % interval of the money that leaves a group of customers, whatever the grouping: customer
    i leaves with probability p and takes the value v along, independently, save that all p of the
    group are too high or too low together by what calibration does not know (sd of each, a 90 %
    interval being 2 x 1.6449 of it). Mean, variance and third cumulant by the laws of total
    variance and cumulance (Brillinger 1969):

        mean      sum p v
        variance  sum (p (1 - p) - sd^2) v^2  +  (sum sd v)^2
        third     sum (1 - 2 p) (p (1 - p) - 3 sd^2) v^3  +  3 (sum sd v) (sum (1 - 2 p) sd v^2)

    The ends are mean + deviation x (z + (z^2 - 1) skewness / 6) with z = -1.6449 and 1.6449
    (Cornish and Fisher 1938), between 0 and the group's value at risk. Skewness is capped at 3 / z,
    beyond which the formula would no longer rise with z.

    `loss_moments` are the sums of a group, `loss_limit` and `is_loss_interval_approximate` read
    them. Terms are worked out in double precision and summed as numeric, so that the order of rows
    does not matter.
#}

{% macro loss_moments(probability, low, high, value) -%}
    {%- set p = probability -%}
    {%- set v = value ~ '::double precision' -%}
    {%- set sd = '((' ~ high ~ ' - ' ~ low ~ ') / (2 * 1.6448536269514722))' -%}
    bool_and({{ low }} is not null and {{ high }} is not null)
        filter (where {{ value }} is not null) as loss_has_interval,
        sum({{ value }}) as loss_most,
        sum(({{ p }} * {{ v }})::numeric) as loss_mean,
        sum(
            (({{ p }} * (1 - {{ p }}) - {{ sd }} ^ 2) * {{ v }} ^ 2)::numeric
        ) as loss_outcome_variance,
        sum(({{ sd }} * {{ v }})::numeric) as loss_calibration_deviation,
        sum(
            (
                (1 - 2 * {{ p }}) * ({{ p }} * (1 - {{ p }}) - 3 * {{ sd }} ^ 2) * {{ v }} ^ 3
            )::numeric
        ) as loss_outcome_third,
        sum(
            ((1 - 2 * {{ p }}) * {{ sd }} * {{ v }} ^ 2)::numeric
        ) as loss_calibration_third
{%- endmacro %}

{% macro loss_limit(end) -%}
    {%- set z = {'low': '-1.6448536269514722', 'high': '1.6448536269514722'}[end] -%}
    case
            when loss_has_interval
                then round(
                    least(
                        greatest(
                            (
                                loss_mean + {{ loss_deviation() }}
                                * (
                                    {{ z }} + ({{ z }} ^ 2 - 1) / 6
                                    * least(
                                        greatest({{ loss_skewness() }}, -1.8238),
                                        1.8238
                                    )
                                )
                            )::numeric,
                            0
                        ),
                        loss_most
                    ),
                    2
                )
        end
{%- endmacro %}

{% macro loss_deviation() -%}
    sqrt(greatest(
        loss_outcome_variance::double precision
        + loss_calibration_deviation::double precision ^ 2, 0
    ))
{%- endmacro %}

{# 0 where nothing is uncertain. #}
{% macro loss_skewness() -%}
    coalesce(
        (
            loss_outcome_third::double precision
            + 3 * loss_calibration_deviation::double precision
            * loss_calibration_third::double precision
        ) / nullif({{ loss_deviation() }}, 0) ^ 3,
        0
    )
{%- endmacro %}

{# So few leavers are expected, or so few of great value, that the interval covers more than it says. #}
{% macro is_loss_interval_approximate() -%}
    case when loss_has_interval then abs({{ loss_skewness() }}) > 0.75 end
{%- endmacro %}
