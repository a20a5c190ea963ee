with

measured as (

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
        churn_probability,
        model_key,
        model_version,
        expected_revenue_loss_amount,
        churned,
        value_lost_amount,
        currency
    from {{ ref('fct_score_outcome') }}
    where
        run_id = {{ run_id() }}
        and {{ is_measured() }}

),

ranked as (

    {{ ranked_outcomes() }}

),

-- A tenth holds the probabilities whose middle rank lies in it.
bins as (

    select
        scored_run_key,
        churn_probability,
        floor(
            10 * (lower_customer_count + customer_count / 2.0) / run_customer_count
        )::integer + 1 as bin_number
    from ranked

),

counted as (

    select
        measured.run_id,
        measured.scoring_run_key,
        measured.scored_run_id,
        measured.scored_run_key,
        measured.as_of_date,
        measured.as_of_date_key,
        measured.known_as_of,
        measured.scored_as_of_date,
        measured.scored_as_of_date_key,
        bins.bin_number,
        max(measured.model_key) as model_key,
        max(measured.model_version) as model_version,
        min(measured.churn_probability) as probability_from,
        max(measured.churn_probability) as probability_to,
        count(*) as customer_count,
        count(*) filter (where measured.churned) as churned_count,
        sum(measured.churn_probability::numeric) as expected_churned_count,
        count(measured.expected_revenue_loss_amount) as valued_count,
        sum(measured.expected_revenue_loss_amount) as expected_revenue_loss_amount,
        sum(measured.value_lost_amount) filter (
            where measured.expected_revenue_loss_amount is not null
        ) as value_lost_amount,
        max(measured.currency) as currency
    from measured
    inner join bins
        on
            measured.scored_run_key = bins.scored_run_key
            and measured.churn_probability = bins.churn_probability
    group by
        measured.run_id, measured.scoring_run_key, measured.scored_run_id,
        measured.scored_run_key, measured.as_of_date, measured.as_of_date_key,
        measured.known_as_of, measured.scored_as_of_date,
        measured.scored_as_of_date_key, bins.bin_number

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
        bin_number,
        model_key,
        model_version,
        probability_from,
        probability_to,
        customer_count::integer as customer_count,
        churned_count::integer as churned_count,
        round(expected_churned_count, 6)::double precision as expected_churned_count,
        round(expected_churned_count / customer_count, 6)::double precision
            as mean_churn_probability,
        round(churned_count::numeric / customer_count, 6)::double precision
            as churned_share,
        round(
            ({{ wilson_limit('churned_count', 'customer_count', 'low') }})::numeric, 6
        )::double precision as churned_share_low,
        round(
            ({{ wilson_limit('churned_count', 'customer_count', 'high') }})::numeric, 6
        )::double precision as churned_share_high,
        valued_count::integer as valued_count,
        expected_revenue_loss_amount::numeric(18, 2) as expected_revenue_loss_amount,
        value_lost_amount::numeric(18, 2) as value_lost_amount,
        currency
    from counted

)

select * from final
