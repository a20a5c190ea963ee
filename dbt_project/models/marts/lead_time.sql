with

outcomes as (

    select
        run_id,
        scoring_run_key,
        scored_run_id,
        scored_run_key,
        customer_id,
        as_of_date,
        as_of_date_key,
        known_as_of,
        scored_as_of_date,
        scored_as_of_date_key,
        model_key,
        model_version,
        outcome_status,
        churn_date,
        value_lost_amount,
        currency
    from {{ ref('fct_score_outcome') }}
    where
        run_id = {{ run_id() }}
        and outcome_status in ('churned', 'churned_in_gap')

),

bases as (

    select distinct base_run_number as shown_run_key
    from {{ ref('int_run_bases_numbered') }}
    where
        run_id = {{ run_id() }}
        and base_role in ('recent', 'matured')

),

scores as (

    select
        scoring_run_key,
        customer_id,
        as_of_date
    from {{ ref('fct_churn_score') }}
    where risk_tier in ('medium', 'high')

),

leavers as (

    select distinct on (customer_id) *
    from outcomes
    order by customer_id asc, scored_as_of_date asc

),

first_shown as (

    select
        leavers.customer_id,
        min(scores.as_of_date) as first_shown_date
    from leavers
    inner join scores
        on
            leavers.customer_id = scores.customer_id
            and leavers.churn_date > scores.as_of_date
    inner join bases
        on scores.scoring_run_key = bases.shown_run_key
    group by leavers.customer_id

),

timed as (

    select
        leavers.*,
        leavers.churn_date - first_shown.first_shown_date as lead_days,
        case
            when leavers.outcome_status = 'churned_in_gap' then 1
            when leavers.churn_date - first_shown.first_shown_date <= 7 then 2
            when leavers.churn_date - first_shown.first_shown_date <= 14 then 3
            when leavers.churn_date - first_shown.first_shown_date <= 30 then 4
            when leavers.churn_date - first_shown.first_shown_date > 30 then 5
            else 6
        end as lead_time_sort
    from leavers
    left join first_shown
        on leavers.customer_id = first_shown.customer_id

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
        model_key,
        model_version,
        case lead_time_sort
            when 1 then 'left_in_gap'
            when 2 then 'up_to_7_days'
            when 3 then '8_to_14_days'
            when 4 then '15_to_30_days'
            when 5 then 'over_30_days'
            when 6 then 'never_flagged'
        end as lead_time,
        lead_time_sort,
        count(*)::integer as customer_count,
        count(lead_days)::integer as flagged_count,
        round(avg(lead_days), 2)::double precision as mean_lead_days,
        count(value_lost_amount)::integer as valued_count,
        sum(value_lost_amount)::numeric(18, 2) as value_lost_amount,
        currency
    from timed
    group by
        run_id, scoring_run_key, scored_run_id, scored_run_key, as_of_date,
        as_of_date_key, known_as_of, scored_as_of_date, scored_as_of_date_key,
        model_key, model_version, lead_time_sort, currency

)

select * from final
