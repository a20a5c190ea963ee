-- What treating customers was worth against those held out, up to one night.
select
    campaign_id,
    treatment,
    first_assigned_date,
    last_assigned_date,
    treated_count,
    held_out_count,
    treated_left_share,
    held_out_left_share,
    uplift_pts,
    uplift_pts_low,
    uplift_pts_high,
    saved_customer_count::double precision as saved_customer_count,
    saved_revenue_amount::double precision as saved_revenue_amount,
    saved_revenue_amount_low::double precision as saved_revenue_amount_low,
    saved_revenue_amount_high::double precision as saved_revenue_amount_high,
    cost_amount::double precision as cost_amount,
    currency,
    verdict
from marts.campaign_uplift
where scoring_run_key = %(scoring_run_key)s
order by campaign_id, treatment
