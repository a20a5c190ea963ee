{{ config(indexes=[{'columns': ['as_of_date', 'run_id'], 'type': 'brin'}]) }}

with

runs as (

    select
        run_id,
        scoring_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of
    from {{ ref('dim_scoring_run') }}

),

nights as (

    select base_run_number as scored_run_key
    from {{ ref('int_run_bases_numbered') }}
    where
        run_id = {{ run_id() }}
        and base_role = 'matured'

),

scores as (

    select
        run_id,
        scoring_run_key,
        customer_id,
        customer_key,
        as_of_date,
        as_of_date_key,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        risk_tier_key,
        risk_tier,
        risk_tier_sort,
        segment,
        model_key,
        model_version,
        value_at_risk_amount,
        expected_revenue_loss_amount,
        currency
    from {{ ref('fct_churn_score') }}
    where churn_probability is not null

),

labels as (

    select
        customer_id,
        as_of_date,
        churned,
        label_status,
        churn_date,
        treatment_status
    from {{ dataset_ref('customer_labels') }}
    where
        known_as_of = {{ known_as_of() }}
        and label_definition = {{ label_definition() }}

),

outcomes as (

    select
        stating.run_id,
        stating.scoring_run_key,
        scores.run_id as scored_run_id,
        scores.scoring_run_key as scored_run_key,
        scores.customer_id,
        scores.customer_key,
        stating.as_of_date,
        stating.as_of_date_key,
        stating.known_as_of,
        scores.as_of_date as scored_as_of_date,
        scores.as_of_date_key as scored_as_of_date_key,
        scores.churn_probability,
        scores.churn_probability_low,
        scores.churn_probability_high,
        scores.risk_tier_key,
        scores.risk_tier,
        scores.risk_tier_sort,
        scores.segment,
        scores.model_key,
        scores.model_version,
        scores.value_at_risk_amount,
        scores.expected_revenue_loss_amount,
        labels.churned,
        coalesce(labels.label_status, 'not_labelled') as outcome_status,
        labels.churn_date,
        case
            when labels.label_status in ('churned', 'churned_in_gap')
                then scores.value_at_risk_amount
            when labels.label_status = 'retained' then 0
        end::numeric(18, 2) as value_lost_amount,
        labels.treatment_status,
        scores.currency
    from nights
    inner join scores
        on nights.scored_run_key = scores.scoring_run_key
    inner join runs as stating
        on stating.run_id = {{ run_id() }}
    left join labels
        on
            scores.customer_id = labels.customer_id
            and scores.as_of_date = labels.as_of_date

),

final as (

    select
        run_id,
        scoring_run_key,
        scored_run_id,
        scored_run_key,
        customer_id,
        customer_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        scored_as_of_date,
        scored_as_of_date_key,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        risk_tier_key,
        risk_tier,
        risk_tier_sort,
        segment,
        model_key,
        model_version,
        value_at_risk_amount,
        expected_revenue_loss_amount,
        churned,
        outcome_status,
        case outcome_status
            when 'retained' then 1
            when 'churned' then 2
            when 'churned_in_gap' then 3
            when 'censored' then 4
            else 5
        end as outcome_status_sort,
        churn_date,
        value_lost_amount,
        treatment_status,
        case treatment_status
            when 'none' then 1
            when 'held_out' then 2
            when 'treated' then 3
        end as treatment_status_sort,
        currency
    from outcomes

)

select * from final
