-- Whether a night has ever built the marts.
select to_regclass('marts.dim_scoring_run') is not null as is_built
