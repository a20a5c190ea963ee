-- Every table of marts that carries a run is under row-level security, every view asks
-- with the rights of its reader, and BI may read both and write neither.
-- depends_on: {{ ref('dim_scoring_run') }}
-- depends_on: {{ ref('fct_churn_score') }}
-- depends_on: {{ ref('customer_churn_current') }}
-- depends_on: {{ ref('revenue_at_risk_daily') }}
-- depends_on: {{ ref('risk_by_group_daily') }}
-- depends_on: {{ ref('fct_score_outcome') }}
-- depends_on: {{ ref('model_performance') }}
-- depends_on: {{ ref('calibration') }}
-- depends_on: {{ ref('outcome_by_group') }}
-- depends_on: {{ ref('lead_time') }}
-- depends_on: {{ ref('fct_churn_reason') }}
-- depends_on: {{ ref('fct_tier_change') }}
-- depends_on: {{ ref('tier_transition_daily') }}
-- depends_on: {{ ref('risk_distribution_daily') }}
-- depends_on: {{ ref('customer_tier_history') }}
-- depends_on: {{ ref('churn_kpis_daily') }}
-- depends_on: {{ ref('fct_treatment_assignment') }}
-- depends_on: {{ ref('retention_queue') }}
-- depends_on: {{ ref('campaign_uplift') }}
-- depends_on: {{ ref('cohort_retention') }}
-- depends_on: {{ ref('customer_survival') }}
-- depends_on: {{ ref('warehouse_freshness') }}
-- depends_on: {{ ref('run_checks') }}
-- depends_on: {{ ref('run_costs') }}
with

policies as (

    select polrelid as oid
    from pg_policy
    where
        polname = 'published_runs'
        and pg_get_expr(polqual, polrelid) ~ '(published_run_ids|current_run_id)'

),

run_columns as (

    select attrelid as oid
    from pg_attribute
    where
        attname = 'run_id'
        and not attisdropped

),

relations as (

    select
        relations.relname,
        relations.relkind,
        relations.relrowsecurity and policies.oid is not null as is_protected,
        run_columns.oid is not null as has_run,
        coalesce('security_invoker=true' = any(relations.reloptions), false)
            as is_invoker,
        has_table_privilege('bi_reader', relations.oid, 'select') as is_readable,
        has_table_privilege(
            'bi_reader', relations.oid, 'insert, update, delete, truncate'
        ) as is_writable
    from pg_class as relations
    left join policies
        on relations.oid = policies.oid
    left join run_columns
        on relations.oid = run_columns.oid
    where
        relations.relnamespace = 'marts'::regnamespace
        and relations.relkind in ('r', 'p', 'v', 'm')

),

final as (

    select relname
    from relations
    where
        relkind = 'm'
        or (relkind = 'v' and not is_invoker)
        or (relkind in ('r', 'p') and has_run and not is_protected)
        or not is_readable
        or is_writable

)

select * from final
