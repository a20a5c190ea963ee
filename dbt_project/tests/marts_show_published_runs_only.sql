-- Every table of marts that carries a run is under row-level security, every view asks
-- with the rights of its reader, and BI may read both.
-- depends_on: {{ ref('dim_scoring_run') }}
-- depends_on: {{ ref('fct_churn_score') }}
-- depends_on: {{ ref('customer_churn_current') }}
-- depends_on: {{ ref('revenue_at_risk_daily') }}
-- depends_on: {{ ref('warehouse_freshness') }}
with

relations as (

    select
        oid,
        relname,
        relkind,
        relrowsecurity,
        coalesce('security_invoker=true' = any(reloptions), false) as is_invoker,
        exists (
            select from pg_attribute
            where attrelid = pg_class.oid and attname = 'run_id' and not attisdropped
        ) as has_run,
        exists (
            select from pg_policy
            where
                polrelid = pg_class.oid
                and polname = 'published_runs'
                and pg_get_expr(polqual, polrelid) ~ '(published_run_ids|current_run_id)'
        ) as has_policy
    from pg_class
    where
        relnamespace = 'marts'::regnamespace
        and relkind in ('r', 'p', 'v', 'm')

),

final as (

    select relname
    from relations
    where
        relkind = 'm'
        or (relkind = 'v' and not is_invoker)
        or (relkind in ('r', 'p') and has_run and not (relrowsecurity and has_policy))
        or not has_table_privilege('bi_reader', oid, 'select')
        or has_table_privilege('bi_reader', oid, 'insert, update, delete, truncate')

)

select * from final
