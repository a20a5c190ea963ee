{%- set has_both = 'amount_then is not null and amount_now is not null' -%}

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
        base_role,
        base_as_of_date,
        base_run_number
    from {{ ref('int_run_bases_comparable') }}

),

parameters as (

    select currency
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

targets as (

    select
        metric,
        target_share
    from {{ ref('targets') }}
    where {{ is_valid_target() }}

),

scores as (

    select
        customer_id,
        customer_key,
        is_active,
        churn_probability,
        churn_probability_low,
        churn_probability_high,
        monthly_value_amount,
        source_currency,
        source_monthly_value_amount,
        case when churn_probability is not null then value_at_risk_amount end
            as value_at_risk_amount,
        expected_revenue_loss_amount
    from {{ ref('fct_churn_score') }}
    where run_id = {{ run_id() }}

),

tonight as (

    select
        count(*) filter (where is_active) as closing_count,
        count(*) filter (where is_active and monthly_value_amount is null)
            as unvalued_count,
        sum(monthly_value_amount) filter (where is_active) as closing_amount,
        count(churn_probability) as scored_count,
        count(value_at_risk_amount) as valued_count,
        sum(value_at_risk_amount) as revenue_at_risk_amount,
        sum(expected_revenue_loss_amount) as expected_revenue_loss_amount,
        {{ loss_moments(
            'churn_probability', 'churn_probability_low', 'churn_probability_high',
            'value_at_risk_amount'
        ) }}
    from scores

),

published as (

    select
        bases.base_role,
        bases.base_as_of_date,
        former.customer_key,
        former.monthly_value_amount,
        former.source_currency,
        former.source_monthly_value_amount,
        former.exchange_rate
    from bases
    inner join {{ ref('fct_churn_score') }} as former
        on bases.base_run_number = former.scoring_run_key
    where former.is_active

),

opening as (

    select
        bases.base_as_of_date as previous_as_of_date,
        count(published.customer_key) as opening_count,
        sum(published.monthly_value_amount) as opening_amount
    from bases
    left join published
        on bases.base_role = published.base_role
    where bases.base_role = 'previous'
    group by bases.base_as_of_date

),

movements as (

    select
        count(*) filter (where is_new) as new_count,
        count(*) filter (where is_reactivated) as reactivated_count,
        count(*) filter (where is_lost) as lost_count,
        coalesce(sum(customer_restatement_count), 0) as restatement_count,
        coalesce(sum(mrr_restatement_amount), 0) as restatement_amount,
        coalesce(sum(mrr_currency_amount), 0) as currency_amount,
        coalesce(sum(mrr_new_amount), 0) as new_amount,
        coalesce(sum(mrr_reactivation_amount), 0) as reactivation_amount,
        coalesce(sum(mrr_expansion_amount), 0) as expansion_amount,
        coalesce(sum(mrr_contraction_amount), 0) as contraction_amount,
        coalesce(sum(mrr_churn_amount), 0) as churn_amount
    from {{ ref('int_mrr_movements') }}

),

{# What each customer of then pays now, at the exchange rates of then. #}
cohorts as (

    select
        published.base_role,
        published.base_as_of_date,
        published.monthly_value_amount as amount_then,
        case
            when not coalesce(scores.is_active, false) then 0
            when scores.source_currency = published.source_currency
                then round(
                    scores.source_monthly_value_amount * published.exchange_rate, 2
                )
            else scores.monthly_value_amount
        end as amount_now,
        coalesce(scores.is_active, false) as is_still_active
    from published
    left join scores
        on published.customer_key = scores.customer_key

),

retention as (

    select
        base_role,
        base_as_of_date,
        count(*) filter (where is_still_active) / count(*)::numeric as stayed_share,
        round(
            sum(least(amount_then, amount_now)) filter (where {{ has_both }})
            / nullif(sum(amount_then) filter (where {{ has_both }}), 0),
            6
        )::double precision as gross_share,
        round(
            sum(amount_now) filter (where {{ has_both }})
            / nullif(sum(amount_then) filter (where {{ has_both }}), 0),
            6
        )::double precision as net_share
    from cohorts
    group by base_role, base_as_of_date

),

told as (

    select
        runs.*,
        tonight.*,
        opening.previous_as_of_date,
        opening.opening_count,
        opening.opening_amount,
        parameters.currency,
        coalesce(opening.opening_amount, tonight.closing_amount) is not null
            as has_money
    from runs
    cross join tonight
    cross join parameters
    left join opening
        on true

),

final as (

    select
        told.run_id,
        told.scoring_run_key,
        told.as_of_date,
        told.as_of_date_key,
        told.known_as_of,
        told.previous_as_of_date,
        told.opening_count::integer as customer_opening_count,
        moved.restatement_count::integer as customer_restatement_count,
        moved.new_count::integer as customer_new_count,
        moved.reactivated_count::integer as customer_reactivated_count,
        moved.lost_count::integer as customer_lost_count,
        told.closing_count::integer as customer_closing_count,
        told.unvalued_count::integer as unvalued_customer_count,
        round(
            moved.lost_count
            / nullif(told.opening_count + moved.restatement_count, 0)::numeric,
            6
        )::double precision as logo_churn_share,
        case
            when revenue.new_amount is not null then coalesce(told.opening_amount, 0)
        end::numeric(18, 2) as mrr_opening_amount,
        revenue.restatement_amount::numeric(18, 2) as mrr_restatement_amount,
        revenue.currency_amount::numeric(18, 2) as mrr_currency_amount,
        revenue.new_amount::numeric(18, 2) as mrr_new_amount,
        revenue.reactivation_amount::numeric(18, 2) as mrr_reactivation_amount,
        revenue.expansion_amount::numeric(18, 2) as mrr_expansion_amount,
        revenue.contraction_amount::numeric(18, 2) as mrr_contraction_amount,
        revenue.churn_amount::numeric(18, 2) as mrr_churn_amount,
        case
            when revenue.new_amount is not null then coalesce(told.closing_amount, 0)
            else told.closing_amount
        end::numeric(18, 2) as mrr_closing_amount,
        since_previous.gross_share as gross_revenue_retention_share,
        since_previous.net_share as net_revenue_retention_share,
        since_28_days.base_as_of_date as retention_28d_from_date,
        since_28_days.gross_share as gross_revenue_retention_28d_share,
        since_28_days.net_share as net_revenue_retention_28d_share,
        round(
            1 - since_28_days.stayed_share
            ^ (28::numeric / (told.as_of_date - since_28_days.base_as_of_date)),
            6
        )::double precision as logo_churn_28d_share,
        targets.target_share as logo_churn_28d_target_share,
        told.scored_count::integer as scored_customer_count,
        told.valued_count::integer as valued_customer_count,
        told.revenue_at_risk_amount::numeric(18, 2) as revenue_at_risk_amount,
        told.expected_revenue_loss_amount::numeric(18, 2)
            as expected_revenue_loss_amount,
        {{ loss_limit('low') }}::numeric(18, 2) as expected_revenue_loss_low_amount,
        {{ loss_limit('high') }}::numeric(18, 2) as expected_revenue_loss_high_amount,
        {{ is_loss_interval_approximate() }} as is_interval_approximate,
        told.currency
    from told
    left join movements as moved
        on told.previous_as_of_date is not null
    left join movements as revenue
        on
            told.previous_as_of_date is not null
            and told.has_money
    left join retention as since_previous
        on since_previous.base_role = 'previous'
    left join retention as since_28_days
        on since_28_days.base_role = 'days_28'
    left join targets
        on targets.metric = 'logo_churn_28d'

)

select * from final
