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

arms as (

    select
        campaign_id,
        is_held_out,
        count(*) as assigned_count,
        count(*) filter (where not is_known) as unknown_count,
        (count(*) filter (where is_known))::numeric as known_count,
        (count(*) filter (where has_left))::numeric as left_count,
        count(*) filter (where is_reached) as reached_count,
        count(lost_amount)::numeric as valued_count,
        avg(lost_amount) as mean_lost_amount,
        var_samp(lost_amount) as variance_of_loss,
        sum(cost_amount) as cost_amount,
        min(assigned_date) as first_assigned_date,
        max(assigned_date) as last_assigned_date
    from {{ ref('int_assignments_told') }}
    group by campaign_id, is_held_out

),

parameters as (

    select
        campaign_id,
        treatment,
        least_arm_count,
        least_left_count,
        currency,
        valid_from,
        coalesce({{ as_of_date() }} < valid_to, true) as has_not_ended
    from {{ ref('dated_campaign_parameters') }}
    where
        valid_from <= {{ as_of_date() }}
        and label_definition = {{ label_definition() }}

),

-- What the campaign's newest row asks for; tonight's is in it from its first night.
campaigns as (

    select distinct on (campaign_id)
        campaign_id,
        treatment,
        least_arm_count,
        least_left_count,
        currency
    from parameters
    where
        has_not_ended
        or campaign_id in (select arms.campaign_id from arms)
    order by campaign_id asc, valid_from desc

),

compared as (

    select
        campaigns.*,
        coalesce(treated.assigned_count, 0) as treated_count,
        coalesce(held_out.assigned_count, 0) as held_out_count,
        coalesce(treated.unknown_count, 0) as treated_unknown_count,
        coalesce(held_out.unknown_count, 0) as held_out_unknown_count,
        coalesce(treated.known_count, 0) as treated_known_count,
        coalesce(held_out.known_count, 0) as held_out_known_count,
        coalesce(treated.left_count, 0) as treated_left_count,
        coalesce(held_out.left_count, 0) as held_out_left_count,
        coalesce(treated.reached_count, 0) as treated_reached_count,
        coalesce(held_out.reached_count, 0) as held_out_reached_count,
        treated.left_count / nullif(treated.known_count, 0) as treated_left_share,
        held_out.left_count / nullif(held_out.known_count, 0) as held_out_left_share,
        held_out.mean_lost_amount - treated.mean_lost_amount as mean_saved_amount,
        sqrt(
            treated.variance_of_loss / nullif(treated.valued_count, 0)
            + held_out.variance_of_loss / nullif(held_out.valued_count, 0)
        ) as error_of_mean_saved,
        treated.valued_count as treated_valued_count,
        coalesce(treated.cost_amount, 0) as cost_amount,
        least(treated.first_assigned_date, held_out.first_assigned_date)
            as first_assigned_date,
        greatest(treated.last_assigned_date, held_out.last_assigned_date)
            as last_assigned_date
    from campaigns
    left join arms as treated
        on
            campaigns.campaign_id = treated.campaign_id
            and not treated.is_held_out
    left join arms as held_out
        on
            campaigns.campaign_id = held_out.campaign_id
            and held_out.is_held_out

),

limited as (

    select
        *,
        {{ wilson_limit(
            'treated_left_count', 'nullif(treated_known_count, 0)', 'low'
        ) }} as treated_low,
        {{ wilson_limit(
            'treated_left_count', 'nullif(treated_known_count, 0)', 'high'
        ) }} as treated_high,
        {{ wilson_limit(
            'held_out_left_count', 'nullif(held_out_known_count, 0)', 'low'
        ) }} as held_out_low,
        {{ wilson_limit(
            'held_out_left_count', 'nullif(held_out_known_count, 0)', 'high'
        ) }} as held_out_high,
        least(treated_known_count, held_out_known_count) < least_arm_count
        or treated_left_count + held_out_left_count < least_left_count as is_too_small
    from compared

),

measured as (

    select
        *,
        held_out_left_share - treated_left_share as uplift,
        {{ newcombe_limit(
            'held_out_left_share', 'held_out_low',
            'treated_left_share', 'treated_high', 'low'
        ) }} as uplift_low,
        {{ newcombe_limit(
            'held_out_left_share', 'held_out_high',
            'treated_left_share', 'treated_low', 'high'
        ) }} as uplift_high,
        case when not is_too_small then treated_known_count end as told_count,
        case when not is_too_small then treated_valued_count end as told_valued_count
    from limited

),

final as (

    select
        runs.run_id,
        runs.scoring_run_key,
        measured.campaign_id,
        measured.treatment,
        runs.as_of_date,
        runs.as_of_date_key,
        runs.known_as_of,
        measured.first_assigned_date,
        measured.last_assigned_date,
        measured.treated_count::integer as treated_count,
        measured.held_out_count::integer as held_out_count,
        measured.treated_unknown_count::integer as treated_unknown_count,
        measured.held_out_unknown_count::integer as held_out_unknown_count,
        measured.treated_reached_count::integer as treated_reached_count,
        measured.held_out_reached_count::integer as held_out_reached_count,
        measured.treated_left_count::integer as treated_left_count,
        measured.held_out_left_count::integer as held_out_left_count,
        round(measured.treated_left_share, 6)::double precision as treated_left_share,
        round(measured.held_out_left_share, 6)::double precision as held_out_left_share,
        round(100 * measured.uplift, 4)::double precision as uplift_pts,
        round(100 * measured.uplift_low, 4)::double precision as uplift_pts_low,
        round(100 * measured.uplift_high, 4)::double precision as uplift_pts_high,
        round(measured.told_count * measured.uplift, 2)::numeric(18, 2)
            as saved_customer_count,
        round(measured.told_count * measured.uplift_low, 2)::numeric(18, 2)
            as saved_customer_count_low,
        round(measured.told_count * measured.uplift_high, 2)::numeric(18, 2)
            as saved_customer_count_high,
        round(
            measured.told_valued_count * measured.mean_saved_amount, 2
        )::numeric(18, 2) as saved_revenue_amount,
        round(
            measured.told_valued_count * (
                measured.mean_saved_amount
                - {{ normal_quantile() }} * measured.error_of_mean_saved
            ),
            2
        )::numeric(18, 2) as saved_revenue_amount_low,
        round(
            measured.told_valued_count * (
                measured.mean_saved_amount
                + {{ normal_quantile() }} * measured.error_of_mean_saved
            ),
            2
        )::numeric(18, 2) as saved_revenue_amount_high,
        measured.cost_amount::numeric(18, 2) as cost_amount,
        measured.currency,
        case
            when measured.is_too_small then 'too_small'
            when measured.uplift_high < 0 then 'harms'
            when measured.uplift_low > 0 then 'works'
            else 'no_effect_seen'
        end as verdict,
        case
            when measured.is_too_small then 0
            when measured.uplift_high < 0 then 1
            when measured.uplift_low > 0 then 3
            else 2
        end as verdict_sort
    from measured
    cross join runs

)

select * from final
