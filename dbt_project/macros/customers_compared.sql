{#
    One row per customer of the run's night or of its previous one: state, probability and money
    then and now, null on the side on which there is no such customer. Amounts of the previous
    night are null where that night was stated in another currency.
#}
{% macro customers_compared() -%}
    with

    runs as (

        select
            run_id,
            scoring_run_key,
            as_of_date,
            as_of_date_key,
            known_as_of
        from {{ ref('dim_scoring_run') }}
        where run_id = {{ run_id() }}

    ),

    bases as (

        select
            base_as_of_date,
            base_run_number
        from {{ ref('int_run_bases_numbered') }}
        where
            run_id = {{ run_id() }}
            and base_role = 'previous'

    ),

    scores as (

        select
            customer_key,
            customer_id,
            {{ risk_state_sort('is_active', 'risk_tier_key') }} as state_sort,
            risk_tier_key,
            exclusion_reason,
            churn_probability,
            value_at_risk_amount,
            expected_revenue_loss_amount,
            currency
        from {{ ref('fct_churn_score') }}
        where run_id = {{ run_id() }}

    ),

    previous as (

        select
            customer_key,
            customer_id,
            {{ risk_state_sort('is_active', 'risk_tier_key') }} as state_sort,
            risk_tier_key,
            exclusion_reason,
            churn_probability,
            value_at_risk_amount,
            expected_revenue_loss_amount,
            currency
        from {{ ref('fct_churn_score') }}
        where scoring_run_key = (select bases.base_run_number from bases)

    ),

    currencies as (

        select max(currency) as currency
        from scores

    ),

    matched as (

        select
            coalesce(scores.customer_key, previous.customer_key) as customer_key,
            coalesce(scores.customer_id, previous.customer_id) as customer_id,
            coalesce(previous.state_sort, 0) as from_state_sort,
            previous.risk_tier_key as from_risk_tier_key,
            previous.exclusion_reason as from_exclusion_reason,
            coalesce(scores.state_sort, 6) as to_state_sort,
            coalesce(scores.risk_tier_key, 0) as to_risk_tier_key,
            case
                when scores.customer_key is null then 'absent'
                else scores.exclusion_reason
            end as to_exclusion_reason,
            previous.churn_probability as previous_churn_probability,
            scores.churn_probability,
            previous.value_at_risk_amount as previous_value_at_risk_amount,
            scores.value_at_risk_amount,
            previous.expected_revenue_loss_amount as previous_expected_revenue_loss_amount,
            scores.expected_revenue_loss_amount,
            previous.currency as previous_currency
        from scores
        full join previous
            on scores.customer_key = previous.customer_key

    ),

    final as (

        select
            runs.run_id,
            runs.scoring_run_key,
            matched.customer_id,
            matched.customer_key,
            runs.as_of_date,
            runs.as_of_date_key,
            runs.known_as_of,
            bases.base_as_of_date as previous_as_of_date,
            {{ risk_state('matched.from_state_sort') }} as from_state,
            matched.from_state_sort,
            matched.from_risk_tier_key,
            matched.from_exclusion_reason,
            {{ risk_state('matched.to_state_sort') }} as to_state,
            matched.to_state_sort,
            matched.to_risk_tier_key,
            matched.to_exclusion_reason,
            matched.previous_churn_probability,
            matched.churn_probability,
            case
                when matched.previous_currency = currencies.currency
                    then matched.previous_value_at_risk_amount
            end as previous_value_at_risk_amount,
            matched.value_at_risk_amount,
            case
                when matched.previous_currency = currencies.currency
                    then matched.previous_expected_revenue_loss_amount
            end as previous_expected_revenue_loss_amount,
            matched.expected_revenue_loss_amount,
            currencies.currency
        from matched
        cross join runs
        cross join currencies
        left join bases
            on true

    )

    select * from final
{%- endmacro %}
