with

outcomes as (

    select
        run_id,
        scoring_run_key,
        scored_run_id,
        scored_run_key,
        customer_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        scored_as_of_date,
        scored_as_of_date_key,
        churn_probability,
        expected_revenue_loss_amount,
        churned,
        value_lost_amount,
        currency
    from {{ ref('fct_score_outcome') }}
    where
        run_id = {{ run_id() }}
        and {{ is_measured() }}

),

groups as (

    select
        scoring_run_key,
        customer_key,
        segment,
        region,
        contract,
        tenure_group,
        tenure_group_sort
    from {{ ref('fct_churn_score') }}

),

measured as (

    select
        outcomes.*,
        groups.segment,
        groups.region,
        groups.contract,
        groups.tenure_group,
        groups.tenure_group_sort
    from outcomes
    inner join groups
        on
            outcomes.scored_run_key = groups.scoring_run_key
            and outcomes.customer_key = groups.customer_key

),

final as (

    select
        run_id,
        scoring_run_key,
        scored_run_id,
        scored_run_key,
        as_of_date,
        as_of_date_key,
        known_as_of,
        scored_as_of_date,
        scored_as_of_date_key,
        segment,
        region,
        contract,
        tenure_group,
        tenure_group_sort,
        count(*)::integer as measured_count,
        (count(*) filter (where churned))::integer as churned_count,
        round(sum(churn_probability::numeric), 6)::double precision
            as expected_churned_count,
        sum(value_lost_amount) filter (where expected_revenue_loss_amount is not null)
        ::numeric(18, 2) as value_lost_amount,
        sum(expected_revenue_loss_amount)::numeric(18, 2)
            as expected_revenue_loss_amount,
        currency
    from measured
    group by
        run_id, scoring_run_key, scored_run_id, scored_run_key, as_of_date,
        as_of_date_key, known_as_of, scored_as_of_date, scored_as_of_date_key,
        segment, region, contract, tenure_group, tenure_group_sort, currency

)

select * from final
