{{
    config(indexes=[
        {'columns': ['as_of_date', 'run_id'], 'type': 'brin'},
        {'columns': ['customer_id', 'as_of_date']},
    ])
}}

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
        currency,
        value_status
    from {{ dataset_ref('customer_values') }}
    where {{ is_this_night() }}

),

attributes as (

    select
        customer_id,
        segment,
        region,
        plan,
        contract,
        tenure_group,
        tenure_group_sort
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
        customer_values.monthly_value_amount,
        round(
            customer_values.monthly_value_amount
            * case
                when
                    runs.value_definition in (
                        'mrr_horizon', 'balance_margin', 'fixed_amount'
                    )
                    then runs.value_horizon_months
                when runs.value_definition = 'truncated_clv'
                    then scores.expected_months_retained::numeric
            end,
            2
        ) as value_at_risk_amount,
        customer_values.currency,
        customer_values.value_status,
        attributes.segment,
        attributes.region,
        attributes.plan,
        attributes.contract,
        attributes.tenure_group,
        attributes.tenure_group_sort,
        case when scores.customer_id is not null then runs.model_key end as model_key,
        scores.model_version,
        scores.scored_at,
        scores.scored_date
    from population
    cross join runs
    inner join customers
        on population.customer_id = customers.customer_id
    left join customer_values
        on population.customer_id = customer_values.customer_id
    left join attributes
        on population.customer_id = attributes.customer_id
    left join scores
        on population.customer_id = scores.customer_id

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
        monthly_value_amount,
        value_at_risk_amount::numeric(18, 2) as value_at_risk_amount,
        round(churn_probability::numeric * value_at_risk_amount, 2)::numeric(18, 2)
            as expected_revenue_loss_amount,
        currency,
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
        model_key,
        model_version,
        scored_at,
        scored_date
    from valued

)

select * from final
