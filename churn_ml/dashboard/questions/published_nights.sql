-- The nights that BI may see, newest first.
select
    runs.run_id,
    runs.scoring_run_key,
    runs.as_of_date,
    runs.known_as_of,
    runs.model_version,
    runs.max_age_days,
    kpis.currency
from marts.dim_scoring_run as runs
left join marts.churn_kpis_daily as kpis
    on runs.scoring_run_key = kpis.scoring_run_key
order by runs.as_of_date desc
