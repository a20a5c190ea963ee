{#
    A customer's risk then and now. A state is a tier, or why there is none: not_scored, left
    (known to have left), and beside them new and absent, of customers who are in one of two
    nights only.
#}

{# From one probability to another in percentage points; both as decimals, so that parts add up. #}
{% macro change_in_points(before, after) -%}
    round(({{ after }}::numeric - {{ before }}::numeric) * 100, 6)
{%- endmacro %}

{% macro risk_state_sort(is_active, risk_tier_key) -%}
    case
            when not {{ is_active }} then 5
            when {{ risk_tier_key }} = 0 then 4
            else {{ risk_tier_key }}
        end
{%- endmacro %}

{% macro risk_state(state_sort) -%}
    case {{ state_sort }}
            when 0 then 'new'
            when 1 then 'low'
            when 2 then 'medium'
            when 3 then 'high'
            when 4 then 'not_scored'
            when 5 then 'left'
            when 6 then 'absent'
        end
{%- endmacro %}

{#
    What fct_churn_score said in this run's earlier night of a role: its rows, by `bases`, or
    none. An earlier night is never the published one of today: a reproduction reads the same.
#}
{% macro scores_of_base(base_role) -%}
    {%- if is_incremental() -%}
        select
            customer_key,
            as_of_date,
            exclusion_reason,
            churn_probability,
            risk_tier_key,
            risk_tier,
            risk_tier_sort,
            tier_since_date,
            model_version
        from {{ this }}
        where
            scoring_run_key = (
                select bases.base_run_number
                from bases
                where bases.base_role = '{{ base_role }}'
            )
    {%- else -%}
        select
            null::integer as customer_key,
            null::date as as_of_date,
            null::text as exclusion_reason,
            null::double precision as churn_probability,
            null::integer as risk_tier_key,
            null::text as risk_tier,
            null::integer as risk_tier_sort,
            null::date as tier_since_date,
            null::text as model_version
        where false
    {%- endif -%}
{%- endmacro %}
