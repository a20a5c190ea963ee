-- Scores of two models do not rank against each other.
select run_id
from {{ ref('int_runs_scored') }}
where
    run_id = {{ run_id() }}
    and as_of_date = {{ as_of_date() }}
    and model_version_count > 1
-- depends_on: {{ ref('dim_scoring_run') }}
