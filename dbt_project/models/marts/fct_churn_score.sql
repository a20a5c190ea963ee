{{
    config(indexes=[
        {'columns': ['as_of_date', 'run_id'], 'type': 'brin'},
        {'columns': ['customer_id']},
        {'columns': ['customer_key']},
    ])
}}

{{- require_exchange_rates(
    dataset_ref('customer_values'),
    ref('dated_decision_parameters'),
    ref('dated_exchange_rates')
) }}

with

runs as (

    select
        run_id,
        scoring_run_key,
        as_of_date_key,
        model_key,
        tier_medium_from,
        tier_high_from,
        value_definition,
        value_horizon_months
    from {{ ref('dim_scoring_run') }}
    where run_id = {{ run_id() }}

),

customers as (

    select
        customer_key,
        customer_id
    from {{ ref('dim_customer') }}

),

population as (

    select
        customer_id,
        as_of_date,
        known_as_of,
        is_active,
        is_eligible,
        exclusion_reason
    from {{ dataset_ref('customer_population') }}
    where {{ is_this_night() }}

),

customer_values as (

    select
        customer_id,
        monthly_value_amount,
        remaining_contract_months,
        currency,
        value_status
    from {{ dataset_ref('customer_values') }}
    where {{ is_this_night() }}

),

parameters as (

    select currency
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

exchange_rates as (

    select
        rates.currency,
        rates.rate
    from {{ ref('dated_exchange_rates') }} as rates
    inner join parameters
        on rates.reporting_currency = parameters.currency
    where {{ is_valid_rate(as_of_date()) }}
    union all
    select
        currency,
        1 as rate
    from parameters

),

converted as (

    select
        customer_values.customer_id,
        customer_values.monthly_value_amount as source_monthly_value_amount,
        customer_values.currency as source_currency,
        exchange_rates.rate::numeric(18, 8) as exchange_rate,
        round(customer_values.monthly_value_amount * exchange_rates.rate, 2)
        ::numeric(18, 2) as monthly_value_amount,
        parameters.currency,
        customer_values.remaining_contract_months,
        customer_values.value_status
    from customer_values
    cross join parameters
    left join exchange_rates
        on customer_values.currency = exchange_rates.currency

),

attributes as (

    select
        customer_id,
        segment,
        region,
        plan,
        contract,
        tenure_group,
        tenure_group_sort,
        signup_date
    from {{ dataset_ref('customer_attributes') }}
    where {{ is_this_night() }}

),

scores as (

    select
        customer_id,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        expected_months_retained,
        model_version,
        scored_at,
        scored_date
    from {{ ref('int_scores_dated') }}
    where
        run_id = {{ run_id() }}
        and as_of_date = {{ as_of_date() }}

),

model_changes as (

    select
        customer_id,
        churn_probability
    from {{ ref('int_model_changes_scored') }}
    where run_id = {{ run_id() }}

),

bases as (

    select
        base_role,
        base_run_number
    from {{ ref('int_run_bases_numbered') }}
    where run_id = {{ run_id() }}

),

previous as (

    {{ scores_of_base('previous') }}

),

days_7 as (

    {{ scores_of_base('days_7') }}

),

days_28 as (

    {{ scores_of_base('days_28') }}

),

valued as (

    select
        runs.run_id,
        runs.scoring_run_key,
        customers.customer_key,
        population.customer_id,
        population.as_of_date,
        runs.as_of_date_key,
        population.known_as_of,
        population.is_active,
        population.is_eligible,
        population.exclusion_reason,
        scores.churn_probability,
        scores.churn_probability_low,
        scores.churn_probability_high,
        {{ risk_tier_sort(
            'scores.churn_probability', 'runs.tier_medium_from', 'runs.tier_high_from'
        ) }} as risk_tier_sort,
        converted.monthly_value_amount,
        round(
            converted.monthly_value_amount
            * case
                when
                    runs.value_definition in (
                        'mrr_horizon', 'balance_margin', 'fixed_amount'
                    )
                    then runs.value_horizon_months
                when runs.value_definition = 'truncated_clv'
                    then scores.expected_months_retained::numeric
                when
                    runs.value_definition = 'remaining_contract'
                    and converted.remaining_contract_months is not null
                    then least(
                        converted.remaining_contract_months, runs.value_horizon_months
                    )
            end,
            2
        ) as value_at_risk_amount,
        converted.currency,
        converted.source_currency,
        converted.source_monthly_value_amount,
        converted.exchange_rate,
        case
            when
                runs.value_definition = 'remaining_contract'
                and converted.value_status = 'known'
                and converted.remaining_contract_months is null
                then 'no_remaining_months'
            else converted.value_status
        end as value_status,
        attributes.segment,
        attributes.region,
        attributes.plan,
        attributes.contract,
        attributes.tenure_group,
        attributes.tenure_group_sort,
        attributes.signup_date,
        case when scores.customer_id is not null then runs.model_key end as model_key,
        scores.model_version,
        scores.scored_at,
        scores.scored_date
    from population
    cross join runs
    inner join customers
        on population.customer_id = customers.customer_id
    left join converted
        on population.customer_id = converted.customer_id
    left join attributes
        on population.customer_id = attributes.customer_id
    left join scores
        on population.customer_id = scores.customer_id

),

compared as (

    select
        valued.*,
        previous.as_of_date as previous_as_of_date,
        previous.churn_probability as previous_churn_probability,
        previous.risk_tier as previous_risk_tier,
        previous.risk_tier_sort as previous_risk_tier_sort,
        {{ change_in_points(
            'previous.churn_probability', 'valued.churn_probability'
        ) }} as risk_change_pts,
        {{ change_in_points(
            'days_7.churn_probability', 'valued.churn_probability'
        ) }} as risk_change_7d_pts,
        {{ change_in_points(
            'days_28.churn_probability', 'valued.churn_probability'
        ) }} as risk_change_28d_pts,
        case
            when
                valued.churn_probability is null
                or previous.churn_probability is null
                then null
            when valued.model_version = previous.model_version then 0
            else {{ change_in_points(
                'previous.churn_probability', 'model_changes.churn_probability'
            ) }}
        end as risk_change_model_pts,
        case
            when
                previous.risk_tier_key = coalesce(valued.risk_tier_sort, 0)
                and coalesce(previous.exclusion_reason, '')
                = coalesce(valued.exclusion_reason, '')
                then previous.tier_since_date
            else valued.as_of_date
        end as tier_since_date
    from valued
    left join previous
        on valued.customer_key = previous.customer_key
    left join days_7
        on valued.customer_key = days_7.customer_key
    left join days_28
        on valued.customer_key = days_28.customer_key
    left join model_changes
        on valued.customer_id = model_changes.customer_id

),

final as (

    select
        run_id,
        scoring_run_key,
        customer_id,
        customer_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        is_active,
        is_eligible,
        exclusion_reason,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        coalesce(risk_tier_sort, 0) as risk_tier_key,
        case risk_tier_sort
            when 1 then 'low'
            when 2 then 'medium'
            when 3 then 'high'
        end as risk_tier,
        risk_tier_sort,
        previous_as_of_date,
        previous_churn_probability,
        previous_risk_tier,
        previous_risk_tier_sort,
        risk_change_pts::numeric(9, 6) as risk_change_pts,
        risk_change_7d_pts::numeric(9, 6) as risk_change_7d_pts,
        risk_change_28d_pts::numeric(9, 6) as risk_change_28d_pts,
        risk_change_model_pts::numeric(9, 6) as risk_change_model_pts,
        (risk_change_pts - risk_change_model_pts)::numeric(9, 6)
            as risk_change_customer_pts,
        tier_since_date,
        as_of_date - tier_since_date as days_in_tier,
        monthly_value_amount,
        value_at_risk_amount::numeric(18, 2) as value_at_risk_amount,
        round(churn_probability::numeric * value_at_risk_amount, 2)::numeric(18, 2)
            as expected_revenue_loss_amount,
        currency,
        source_currency,
        source_monthly_value_amount,
        exchange_rate,
        case
            when value_status = 'known' and value_at_risk_amount is null
                then 'no_expected_months'
            else value_status
        end as value_status,
        segment,
        region,
        plan,
        contract,
        tenure_group,
        tenure_group_sort,
        signup_date,
        model_key,
        model_version,
        scored_at,
        scored_date
    from compared

)

select * from final
