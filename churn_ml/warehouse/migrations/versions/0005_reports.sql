-- What BI may see of the making of a published run -------------------------------------------
-- Functions of the owner tell it: the reader has no right on schema ops.
create function ops.published_checks()
returns table (
    check_number bigint, run_id text, gate text, tool text, suite text, check_name text, table_name text,
    column_name text, severity text, verdict text, observed text, threshold text, expected text,
    failing_count bigint, owner text, reason text, recorded_at timestamptz
)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select
        results.validation_result_id, results.run_id, results.gate, results.tool, results.suite,
        results.check_name, results.table_name, results.column_name, results.severity, results.verdict,
        case when results.gate is distinct from 'raw' then results.observed end,
        results.threshold, results.expected, results.failing_count, results.owner, results.reason,
        results.recorded_at
    from ops.validation_results as results
    inner join ops.published_runs as published on results.run_id = published.run_id;
end;
comment on function ops.published_checks
is 'Every check of the published runs, one row per attempt. Values found in raw are left out: raw may hold what '
'BI must not see. So are keys of customers.';

create function ops.published_costs()
returns table (
    cost_number bigint, run_id text, task_id text, map_index integer, try_number integer, verdict text,
    started_at timestamptz, finished_at timestamptz, seconds double precision, cpu_seconds double precision,
    peak_memory_mb double precision, rows_in bigint, rows_out bigint, customer_count bigint
)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select
        costs.task_measurement_id, costs.run_id, costs.task_id, costs.map_index, costs.try_number,
        costs.verdict, costs.started_at, costs.finished_at, costs.seconds, costs.cpu_seconds,
        costs.peak_memory_mb, costs.rows_in, costs.rows_out, costs.customer_count
    from ops.task_costs as costs
    inner join ops.published_runs as published on costs.run_id = published.run_id;
end;
comment on function ops.published_costs is 'What each task of the published runs took, one row per try.';

revoke execute on function ops.published_checks, ops.published_costs from public;
grant execute on function ops.published_checks, ops.published_costs
to bi_reader, churn_auditor, churn_transformer;

-- Reports: one page per run -------------------------------------------------------------------
create table ops.run_reports (
    run_id text primary key references ops.pipeline_runs,
    html text not null,
    written_at timestamptz not null default clock_timestamp()
);
comment on table ops.run_reports
is 'The report of a run as one HTML page without foreign parts; written again where the run is reported again.';
comment on column ops.run_reports.run_id is 'The run that is reported.';
comment on column ops.run_reports.html is 'The page.';
comment on column ops.run_reports.written_at is 'When it was written (UTC).';
grant select, insert, update on ops.run_reports to churn_auditor;

-- A page holds keys of customers: it goes with the rows of its run.
create or replace function ops.remove_mart_rows(run_ids text [], is_dry_run boolean)
returns table (relation text, row_count bigint) language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    run_keys integer[] := array(select run_number from ops.pipeline_runs where run_id = any(run_ids));
    mart record;
begin
    -- dim_scoring_run is not among them: facts of other runs may refer to its rows.
    for mart in
        select
            format('marts.%I', tables.table_name) as name,
            bool_or(columns.column_name = 'scoring_run_key') as has_key
        from information_schema.tables as tables
        join information_schema.columns as columns using (table_schema, table_name)
        where tables.table_schema = 'marts' and tables.table_type = 'BASE TABLE'
            and tables.table_name <> 'dim_scoring_run' and columns.column_name in ('run_id', 'scoring_run_key')
        group by tables.table_name
        having bool_or(columns.column_name = 'run_id')
        order by tables.table_name
    loop
        relation := mart.name;
        row_count := ops.count_or_delete(mart.name, case when mart.has_key
            then format('scoring_run_key = any(%L::integer[])', run_keys)
            else format('run_id = any(%L::text[])', run_ids) end, is_dry_run);
        return next;
    end loop;
    relation := 'ops.run_reports';
    row_count := ops.count_or_delete(relation, format('run_id = any(%L::text[])', run_ids), is_dry_run);
    return next;
end
$$;
