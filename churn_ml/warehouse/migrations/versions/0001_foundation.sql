-- Schemas. What dbt builds belongs to churn_transformer, everything else to churn_owner.
create schema raw;
create schema raw_restricted;
create schema scores;
create schema ml;
create schema ops;
create schema staging authorization churn_transformer;
create schema intermediate authorization churn_transformer;
create schema features authorization churn_transformer;
create schema marts authorization churn_transformer;

grant usage on schema raw to churn_loader, churn_transformer, churn_auditor;
grant usage on schema raw_restricted to churn_loader;
grant usage on schema staging, intermediate to churn_auditor;
grant usage on schema features to churn_auditor, churn_trainer, churn_scorer, churn_publisher;
grant usage on schema scores to churn_auditor, churn_transformer, churn_scorer;
grant usage on schema ml to churn_auditor, churn_transformer, churn_trainer, churn_scorer, churn_publisher;
grant usage on schema ops to
churn_loader, churn_transformer, churn_auditor, churn_trainer, churn_scorer, churn_publisher;
grant usage on schema marts to churn_auditor, churn_publisher, bi_reader;

alter default privileges for role churn_transformer in schema staging
grant select on tables to churn_auditor;
alter default privileges for role churn_transformer in schema intermediate
grant select on tables to churn_auditor;
alter default privileges for role churn_transformer in schema features
grant select on tables to churn_auditor, churn_trainer, churn_scorer, churn_publisher;
alter default privileges for role churn_transformer in schema marts
grant select on tables to churn_auditor;
alter default privileges in schema raw grant select on tables to churn_transformer, churn_auditor;
alter default privileges in schema raw grant select, insert on tables to churn_loader;
alter default privileges in schema raw_restricted grant select, insert on tables to churn_loader;

-- Defaults of the columns that landing fills -------------------------------------------
-- A COPY plans the defaults of its table once, and the planner replaces a call of an immutable
-- function by its value. Declared stable, as they honestly are, these functions would run once
-- per row and cost a third of the speed of landing. A prepared INSERT would keep the values of
-- its first plan: rows enter raw by COPY, or with every one of these columns stated.
create function raw.landing_batch_id() returns bigint language sql immutable parallel restricted
return nullif(current_setting('churn.landing_batch_id'), '')::bigint;
create function raw.landing_row_sequence() returns regclass language sql immutable parallel restricted
return nullif(current_setting('churn.landing_row_sequence'), '')::oid::regclass;
create function raw.landing_as_of_date() returns date language sql immutable parallel restricted
return nullif(current_setting('churn.landing_as_of_date'), '')::date;
create function raw.landing_known_at() returns timestamptz language sql immutable parallel restricted
return nullif(current_setting('churn.landing_known_at'), '')::timestamptz;
create function raw.landing_landed_at() returns timestamptz language sql immutable parallel restricted
return nullif(current_setting('churn.landing_landed_at'), '')::timestamptz;

-- Runs ---------------------------------------------------------------------------------
create table ops.pipeline_runs (
    run_id text primary key,
    run_kind text not null check (run_kind in ('night', 'training', 'reproduce', 'restate', 'challenger')),
    dataset text not null,
    as_of_date date not null,
    known_as_of timestamptz not null,
    status text not null default 'running'
    check (status in ('running', 'unchanged', 'succeeded', 'failed', 'discarded')),
    dag_id text,
    dag_run_id text,
    model_version text,
    code_version text not null,
    configuration_sha256 text not null,
    started_at timestamptz not null default clock_timestamp(),
    marts_begun_at timestamptz,
    finished_at timestamptz,
    failure text
);
comment on column ops.pipeline_runs.marts_begun_at
is 'When the last build of the run''s marts began; null where its scores changed since: a gate must be newer.';
comment on table ops.pipeline_runs is 'One row per attempt at a night or a training; run_id is minted by its first task.';
create index on ops.pipeline_runs (as_of_date, run_kind);
create index on ops.pipeline_runs (dag_id, dag_run_id);

-- Landing ------------------------------------------------------------------------------
create table ops.landing_batches (
    batch_id bigint generated always as identity primary key,
    entity text not null,
    file_name text not null,
    file_format text not null,
    file_sha256 text not null check (file_sha256 ~ '^[0-9a-f]{64}$'),
    file_byte_count bigint not null,
    as_of_date date,
    known_at timestamptz not null,
    landed_at timestamptz not null default clock_timestamp(),
    run_id text references ops.pipeline_runs,
    is_first_load boolean not null,
    row_count_in_file bigint not null,
    row_count_landed bigint not null,
    row_count_quarantined bigint not null,
    constraint no_row_lost check (row_count_in_file = row_count_landed + row_count_quarantined),
    constraint same_file_once unique nulls not distinct (file_sha256, entity, as_of_date)
);
comment on table ops.landing_batches
is 'One row per landed file: its rows in raw carry the batch_id, and so its sha256, known only at its end.';
comment on column ops.landing_batches.row_count_in_file
is 'Records counted by a scan of the blocks that COPY was given; for a torn file by the record scan, which '
'gives every byte of it to one record.';

create table ops.quarantine (
    quarantine_id bigint generated always as identity primary key,
    batch_id bigint not null references ops.landing_batches,
    entity text not null,
    file_name text not null,
    line_number bigint not null,
    line_count bigint not null,
    reason text not null
    check (reason in ('wrong_field_count', 'bad_quoting', 'invalid_utf8', 'nul_byte', 'record_too_long')),
    detail text not null,
    raw_bytes bytea not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
comment on table ops.quarantine is 'Records that could not be read as rows, with their bytes as delivered.';
create index on ops.quarantine (batch_id);

-- Transformation and validation --------------------------------------------------------
create table ops.dbt_results (
    dbt_result_id bigint generated always as identity primary key,
    run_id text not null references ops.pipeline_runs,
    layer text not null,
    try_number integer not null,
    node_id text not null,
    node_name text not null,
    resource_type text not null,
    status text not null,
    elapsed_seconds double precision not null,
    row_count bigint,
    message text,
    recorded_at timestamptz not null default clock_timestamp()
);
create index on ops.dbt_results (run_id, layer);

create table ops.validation_results (
    validation_result_id bigint generated always as identity primary key,
    run_id text not null references ops.pipeline_runs,
    tool text not null default 'great_expectations',
    gate text not null check (gate in ('raw', 'features', 'marts')),
    suite text not null,
    check_name text not null,
    table_name text not null,
    column_name text,
    severity text not null check (severity in ('block', 'warn')),
    verdict text not null check (verdict in ('pass', 'fail', 'error')),
    observed text,
    expected text not null,
    failing_count bigint,
    owner text not null,
    reason text not null,
    recorded_at timestamptz not null default clock_timestamp()
);
create index on ops.validation_results (run_id, gate);

-- Scores -------------------------------------------------------------------------------
create table scores.customer_scores (
    as_of_date date not null,
    run_id text not null,
    customer_id text not null,
    churn_probability_raw double precision not null check (churn_probability_raw between 0 and 1),
    churn_probability double precision not null check (churn_probability between 0 and 1),
    model_version text not null,
    is_out_of_fold boolean not null,
    feature_row_sha256 text not null,
    scored_at timestamptz not null,
    primary key (as_of_date, run_id, customer_id)
) partition by range (as_of_date);
comment on table scores.customer_scores is 'One row per eligible customer, as-of date and run; append-only, one partition per month.';
comment on column scores.customer_scores.is_out_of_fold
is 'True where the customer was in the training set and a pipeline that had not seen them gave the score.';

-- Models -------------------------------------------------------------------------------
create table ml.model_versions (
    model_version text primary key,
    run_id text not null references ops.pipeline_runs,
    dataset text not null,
    label_definition text not null,
    family text not null,
    validation text not null check (validation in ('cross_sectional', 'out_of_time')),
    as_of_date date not null,
    known_as_of timestamptz not null,
    seed integer not null,
    fold_count integer not null,
    row_count bigint not null,
    churned_count bigint not null,
    feature_contract jsonb not null,
    metrics jsonb not null,
    library_versions jsonb not null,
    artifact bytea not null,
    artifact_sha256 text not null check (artifact_sha256 ~ '^[0-9a-f]{64}$'),
    recorded_at timestamptz not null default clock_timestamp()
);
comment on table ml.model_versions is 'Every registered model; the artifact holds the fold pipelines as skops bytes.';

create table ml.training_customers (
    model_version text not null references ml.model_versions,
    customer_id text not null,
    fold smallint not null,
    churned boolean not null,
    churn_probability double precision not null,
    primary key (model_version, customer_id)
);
comment on table ml.training_customers is 'Who trained a model, in which fold, and their out-of-fold probability.';

create table ml.gate_results (
    model_version text not null references ml.model_versions,
    gate text not null,
    observed double precision not null,
    threshold_low double precision,
    threshold_high double precision,
    verdict text not null check (verdict in ('pass', 'fail')),
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (model_version, gate)
);

create table ml.model_deployments (
    deployment_id bigint generated always as identity primary key,
    alias text not null check (alias in ('champion', 'challenger', 'shadow')),
    model_version text not null references ml.model_versions,
    valid_from timestamptz not null,
    recorded_at timestamptz not null default clock_timestamp(),
    recorded_by text not null,
    reason text not null check (length(trim(reason)) > 0),
    unique (alias, valid_from)
);
comment on column ml.model_deployments.valid_from
is 'First cut-off (data time) at which this deployment holds; it ends where the next one of its alias begins.';

create function ml.customer_fold(customer_id text, seed integer, fold_count integer)
returns smallint
language sql immutable strict parallel safe
return (('x' || substr(md5(seed::text || ':' || customer_id), 1, 7))::bit(28)::integer % fold_count)::smallint;
comment on function ml.customer_fold is 'The cross-fitting fold of a customer: a seeded hash, the same on every snapshot.';

create function ml.champion_at(known_as_of timestamptz)
returns text language sql stable
return (
    select deployments.model_version
    from ml.model_deployments as deployments
    where deployments.alias = 'champion' and deployments.valid_from <= $1
    order by deployments.valid_from desc
    limit 1
);
comment on function ml.champion_at is 'The model version that is champion at a cut-off, or null.';

-- Publishing ---------------------------------------------------------------------------
create table ops.published_runs (
    as_of_date date primary key,
    run_id text not null unique references ops.pipeline_runs,
    known_as_of timestamptz not null,
    published_at timestamptz not null default clock_timestamp()
);
comment on table ops.published_runs is 'What BI sees: at most one run per as-of date.';

create table ops.publications (
    publication_id bigint generated always as identity primary key,
    action text not null check (action in ('publish', 'supersede', 'unpublish')),
    as_of_date date not null,
    run_id text not null references ops.pipeline_runs,
    reason text not null,
    recorded_by text not null,
    recorded_at timestamptz not null default clock_timestamp()
);
comment on table ops.publications is 'Every change of ops.published_runs, never edited.';
create index on ops.publications (run_id);

create table ops.publication_fingerprints (
    run_id text not null references ops.pipeline_runs,
    mart text not null,
    row_count bigint not null,
    rows_md5 text not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (run_id, mart)
);
comment on table ops.publication_fingerprints
is 'What bi_reader saw of a run when it was published, less the declared run-time columns.';

create function ops.published_run_ids()
returns text [] language sql stable security definer set search_path = ''
return (select coalesce(array_agg(run_id), '{}') from ops.published_runs);

create function ops.current_run_id()
returns text language sql stable security definer set search_path = ''
return (select run_id from ops.published_runs order by as_of_date desc limit 1);

create function ops.open_run(
    run_id text, run_kind text, dataset text, as_of_date date, known_as_of timestamptz,
    dag_id text, dag_run_id text, code_version text, configuration_sha256 text
) returns void language sql security definer set search_path = ''
begin atomic
    insert into ops.pipeline_runs (
        run_id, run_kind, dataset, as_of_date, known_as_of, dag_id, dag_run_id,
        code_version, configuration_sha256
    ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9);
end;

create function ops.was_published(run_id text)
returns boolean language sql stable security definer set search_path = ''
return exists (select from ops.publications as publications where publications.run_id = $1);

create function ops.last_published_cut_off()
returns timestamptz language sql stable security definer set search_path = ''
return (
    select max(runs.known_as_of)
    from ops.publications as publications
    inner join ops.pipeline_runs as runs using (run_id)
);
comment on function ops.last_published_cut_off
is 'The latest cut-off of any run that BI ever saw: nothing may become known at or before it.';

create function ops.close_run(run_id text, status text, failure text)
returns void language plpgsql security definer set search_path = ''
as $$
declare
    run ops.pipeline_runs;
begin
    select * into run from ops.pipeline_runs as runs where runs.run_id = $1 for no key update;
    if run.run_id is null then
        raise exception 'no run % in ops.pipeline_runs', $1;
    end if;
    if run.status = 'discarded' and $2 <> 'discarded' then
        raise exception 'run % was discarded: open a new one', $1;
    end if;
    if $2 <> 'succeeded' and ops.was_published($1) then
        raise exception 'run % was published: it stays succeeded', $1;
    end if;
    update ops.pipeline_runs as runs
    set status = $2, failure = $3, finished_at = clock_timestamp()
    where runs.run_id = $1;
end
$$;

create function ops.settle_run(run_id text, as_of_date date)
returns void language plpgsql security definer set search_path = ''
as $$
declare
    run ops.pipeline_runs;
begin
    select * into run from ops.pipeline_runs as runs where runs.run_id = $1 for no key update;
    if run.run_id is null or run.status = 'discarded' or ops.was_published($1) then
        raise exception 'run % is unknown, discarded or published: open a new one', $1;
    end if;
    if run.as_of_date <> $2 and exists (select from scores.customer_scores as s where s.run_id = $1) then
        raise exception 'run % has scores of %: open a new run for %', $1, run.as_of_date, $2;
    end if;
    update ops.pipeline_runs as runs
    set as_of_date = $2, status = 'running', failure = null, finished_at = null
    where runs.run_id = $1;
end
$$;
comment on function ops.settle_run
is 'Move a run to the date of the snapshot that it scores; one that failed before is at work again.';

create function ops.record_run_model(run_id text, model_version text)
returns void language plpgsql security definer set search_path = ''
as $$
begin
    if ops.was_published($1) then
        raise exception 'run % was published: its model stays', $1;
    end if;
    update ops.pipeline_runs as runs
    set model_version = $2, marts_begun_at = null
    where runs.run_id = $1;
end
$$;
comment on function ops.record_run_model is 'Name the model of a run; marts built before are no longer of its scores.';

create function ops.begin_marts(run_id text)
returns void language plpgsql security definer set search_path = ''
as $$
begin
    perform from ops.pipeline_runs as runs where runs.run_id = $1 for no key update;
    if ops.was_published($1) then
        raise exception 'run % was published: its marts stay as they were audited; open a new run', $1;
    end if;
    update ops.pipeline_runs as runs set marts_begun_at = clock_timestamp() where runs.run_id = $1;
end
$$;
comment on function ops.begin_marts
is 'Called in the transaction of each mart of a run: published rows are never rebuilt, and a gate must be newer.';

create function ops.ensure_score_partition(as_of_date date)
returns void language plpgsql security definer set search_path = ''
as $$
declare
    first_day date := date_trunc('month', as_of_date)::date;
    partition_name text := 'customer_scores_' || to_char(as_of_date, 'YYYY_MM');
begin
    perform pg_advisory_xact_lock(hashtext('scores.' || partition_name));
    if to_regclass('scores.' || partition_name) is null then
        execute format(
            'create table scores.%I partition of scores.customer_scores for values from (%L) to (%L)',
            partition_name, first_day, (first_day + interval '1 month')::date
        );
    end if;
end
$$;

create function ops.publish_run(run_id text, reason text)
returns void language plpgsql security definer set search_path = ''
as $$
declare
    run ops.pipeline_runs;
    former text;
    audited_at timestamptz;
    failed text;
begin
    -- One publication at a time, and none while a delivery becomes known (landing takes it shared).
    perform pg_advisory_xact_lock(7203449);
    select * into run from ops.pipeline_runs as runs where runs.run_id = $1 for no key update;
    if run.run_id is null then
        raise exception 'run % is not in ops.pipeline_runs', $1;
    end if;
    if run.run_kind not in ('night', 'reproduce', 'restate') or run.status in ('unchanged', 'discarded') then
        raise exception 'run % is a % run with status %: only a whole night is published',
            $1, run.run_kind, run.status;
    end if;
    select published.run_id into former
    from ops.published_runs as published where published.as_of_date = run.as_of_date;
    if former = $1 then
        return;
    end if;
    select max(results.recorded_at) into audited_at
    from ops.validation_results as results where results.run_id = $1 and results.gate = 'marts';
    if audited_at is null or run.marts_begun_at is null or audited_at < run.marts_begun_at then
        raise exception 'run % has no results of the marts gate for its marts as they are: audit it before '
            'it is published', $1;
    end if;
    select string_agg(results.check_name, ', ' order by results.check_name) into failed
    from ops.validation_results as results
    where results.run_id = $1 and results.gate = 'marts' and results.recorded_at = audited_at
        and results.severity = 'block' and results.verdict <> 'pass';
    if failed is not null then
        raise exception 'run % failed blocking checks of the marts gate: %', $1, failed;
    end if;
    if former is not null then
        insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)
        values ('supersede', run.as_of_date, former, 'superseded by ' || $1, session_user);
        delete from ops.published_runs as published where published.as_of_date = run.as_of_date;
    end if;
    insert into ops.published_runs (as_of_date, run_id, known_as_of)
    values (run.as_of_date, $1, run.known_as_of);
    insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)
    values ('publish', run.as_of_date, $1, $2, session_user);
end
$$;

create function ops.unpublish_run(run_id text, reason text)
returns void language plpgsql security definer set search_path = ''
as $$
declare
    published_date date;
begin
    delete from ops.published_runs as published where published.run_id = $1
    returning published.as_of_date into published_date;
    if published_date is null then
        raise exception 'run % is not published', $1;
    end if;
    insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)
    values ('unpublish', published_date, $1, $2, session_user);
end
$$;

create function ops.discard_run(run_id text)
returns bigint language plpgsql security definer set search_path = ''
as $$
declare
    discarded bigint := 0;
    deleted bigint;
    mart record;
begin
    perform from ops.pipeline_runs as runs where runs.run_id = $1 for no key update;
    if ops.was_published($1) then
        raise exception 'run % was published once: it is superseded or un-published, never discarded', $1;
    end if;
    update ops.pipeline_runs as runs set marts_begun_at = null where runs.run_id = $1;
    delete from scores.customer_scores as customer_scores where customer_scores.run_id = $1;
    get diagnostics discarded = row_count;
    for mart in
        select columns.table_name
        from information_schema.columns as columns
        join information_schema.tables as tables using (table_schema, table_name)
        where columns.table_schema = 'marts' and columns.column_name = 'run_id'
            and tables.table_type = 'BASE TABLE'
    loop
        execute format('delete from marts.%I where run_id = %L', mart.table_name, $1);
        get diagnostics deleted = row_count;
        discarded := discarded + deleted;
    end loop;
    return discarded;
end
$$;

revoke execute on all functions in schema ops from public;
grant execute on function ops.published_run_ids(), ops.current_run_id() to public;
grant execute on function ops.open_run, ops.close_run to
churn_loader, churn_trainer, churn_scorer, churn_publisher;
grant execute on function ops.begin_marts to churn_transformer;
grant execute on function ops.last_published_cut_off to churn_loader, churn_trainer, churn_publisher;
grant execute on function ops.ensure_score_partition, ops.discard_run, ops.record_run_model to churn_scorer;
grant execute on function ops.record_run_model to churn_trainer;
grant execute on function ops.settle_run to churn_loader;
grant execute on function ops.publish_run, ops.unpublish_run, ops.discard_run to churn_publisher;

grant select on ops.pipeline_runs to
churn_loader, churn_transformer, churn_auditor, churn_trainer, churn_scorer, churn_publisher;
grant select on ops.published_runs, ops.publications to
churn_loader, churn_transformer, churn_auditor, churn_trainer, churn_scorer, churn_publisher;
grant select, insert on ops.landing_batches to churn_loader;
-- A batch's rows carry its id before its counts, and so its own row, are known.
grant usage on sequence ops.landing_batches_batch_id_seq to churn_loader;
grant insert on ops.quarantine to churn_loader;
grant select on ops.landing_batches to churn_transformer, churn_auditor, churn_publisher;
grant select on ops.quarantine to churn_auditor;
grant select, insert on ops.dbt_results to churn_transformer;
grant select, insert on ops.validation_results to churn_auditor;
grant select on ops.validation_results, ops.dbt_results to churn_publisher;
grant select, insert on ops.publication_fingerprints to churn_publisher;
grant select, insert on scores.customer_scores to churn_scorer;
grant select on scores.customer_scores to churn_transformer, churn_auditor;
grant select, insert on ml.model_versions, ml.training_customers, ml.gate_results to churn_trainer;
grant select on ml.model_versions, ml.training_customers, ml.model_deployments to churn_scorer;
grant select, insert on ml.model_deployments to churn_trainer;
grant select on ml.model_versions, ml.gate_results, ml.model_deployments to
churn_transformer, churn_auditor, churn_publisher;

