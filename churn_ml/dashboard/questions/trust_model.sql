-- The model that gave the scores of one night.
select
    models.model_version,
    models.label_definition,
    models.family,
    models.validation,
    models.calibration,
    models.trained_as_of_date,
    models.registered_date,
    models.training_row_count,
    models.training_churned_count,
    runs.as_of_date - models.trained_as_of_date as age_days
from marts.dim_scoring_run as runs
inner join marts.dim_model as models
    on runs.model_key = models.model_key
where runs.scoring_run_key = %(scoring_run_key)s
