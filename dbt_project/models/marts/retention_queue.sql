{{
    config(
        meta={'visible_runs': 'current'},
        post_hook=["{{ drop_old_runs() }}"],
        indexes=[{'columns': ['run_id', 'queue_position']}],
    )
}}

-- depends_on: {{ ref('int_run_bases_numbered') }}
-- depends_on: {{ dataset_ref('customer_features') }}
with

customers as (

    select
        run_id,
        scoring_run_key,
        customer_id,
        customer_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        priority_rank,
        priority_score,
        expected_profit_amount,
        churn_probability,
        risk_tier_key,
        risk_tier,
        risk_tier_sort,
        days_in_tier,
        risk_change_pts,
        risk_change_7d_pts,
        monthly_value_amount,
        value_at_risk_amount,
        expected_revenue_loss_amount,
        currency,
        value_status,
        segment,
        region,
        plan,
        contract,
        tenure_group,
        tenure_group_sort,
        model_key,
        model_version,
        reason_1_sentence,
        reason_2_sentence,
        reason_3_sentence,
        recommended_action_code,
        recommended_action
    from {{ ref('customer_churn_current') }}
    where
        run_id = {{ run_id() }}
        and priority_rank is not null

),

campaigns as (

    select
        campaign_id,
        treatment,
        holdout_share,
        assignment_seed
    from {{ ref('dated_campaign_parameters') }}
    where {{ is_valid_parameter() }}

),

parameters as (

    select
        contact_cost_amount,
        offer_cost_amount,
        acceptance_share
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

assigned as (

    select
        customer_id,
        campaign_id,
        treatment,
        is_held_out
    from {{ ref('fct_treatment_assignment') }}
    where run_id = {{ run_id() }}

),

resting as (

    {{ resting_customers(ref('fct_treatment_assignment')) }}

),

listed as (

    select
        customers.*,
        assigned.customer_id is not null as is_within_budget,
        assigned.campaign_id,
        assigned.treatment,
        {{ expected_treatment_cost('customers.churn_probability', 'parameters') }}
            as expected_cost_amount,
        case
            when assigned.customer_id is not null then 1
            when customers.expected_profit_amount is null then 4
            when campaigns.campaign_id is null then 3
            else 2
        end as queue_status_sort
    from customers
    cross join parameters
    left join campaigns
        on true
    left join assigned
        on customers.customer_id = assigned.customer_id
    left join resting
        on customers.customer_id = resting.customer_id
    where
        not assigned.is_held_out
        -- Nobody whom the campaign would hold out is shown before it comes to them.
        or (
            assigned.customer_id is null
            and resting.customer_id is null
            and ({{ is_held_out('customers.customer_id', 'campaigns') }}) is not true
            and (
                customers.expected_profit_amount > 0
                or (
                    customers.expected_profit_amount is null
                    and customers.risk_tier_sort = 3
                )
            )
        )

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
        row_number() over (order by queue_status_sort = 1 desc, priority_rank)::integer
            as queue_position,
        is_within_budget,
        case queue_status_sort
            when 1 then 'to_treat'
            when 2 then 'beyond_budget'
            when 3 then 'no_campaign'
            when 4 then 'profit_not_known'
        end as queue_status,
        queue_status_sort,
        campaign_id,
        treatment,
        priority_rank,
        priority_score,
        expected_profit_amount,
        expected_cost_amount,
        churn_probability,
        risk_tier_key,
        risk_tier,
        risk_tier_sort,
        days_in_tier,
        risk_change_pts,
        risk_change_7d_pts,
        monthly_value_amount,
        value_at_risk_amount,
        expected_revenue_loss_amount,
        currency,
        value_status,
        segment,
        region,
        plan,
        contract,
        tenure_group,
        tenure_group_sort,
        model_key,
        model_version,
        reason_1_sentence,
        reason_2_sentence,
        reason_3_sentence,
        recommended_action_code,
        recommended_action
    from listed

)

select * from final
