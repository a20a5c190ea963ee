-- Landing: what tells an unchanged file without reading it, and tables as sources -------
alter table ops.landing_batches
add column file_path text,
add column file_modified_ns bigint,
add column high_water text;
comment on column ops.landing_batches.file_path
is 'Path below the inbox; with size and time of change it tells a file that landed before.';
comment on column ops.landing_batches.high_water
is 'Of a batch read from a table: the greatest value of the incremental column that it holds.';
create index on ops.landing_batches (entity, as_of_date);

-- Staging ------------------------------------------------------------------------------
create table ops.staged_batches (
    model text not null,
    batch_id bigint not null references ops.landing_batches,
    staged_at timestamptz not null default clock_timestamp(),
    primary key (model, batch_id)
);
comment on table ops.staged_batches is 'Which batches a model of typed versions has taken in, and when.';
grant select, insert, delete on ops.staged_batches to churn_transformer;
grant select on ops.staged_batches to churn_auditor;

-- Runs that repeat a night -------------------------------------------------------------
alter table ops.pipeline_runs
add column repeats_run_id text references ops.pipeline_runs;
comment on column ops.pipeline_runs.repeats_run_id
is 'The published run of the night that a reproduce or restate run repeats.';
create unique index one_repetition_at_a_time on ops.pipeline_runs (as_of_date)
where run_kind in ('reproduce', 'restate') and status = 'running';

-- The nights whose labels a run makes ---------------------------------------------------
create table ops.label_nights (
    run_id text not null references ops.pipeline_runs,
    as_of_date date not null,
    known_as_of timestamptz not null,
    primary key (run_id, as_of_date)
);
comment on table ops.label_nights
is 'The nights that a run labels with its own knowledge; known_as_of is the night''s own cut-off.';
grant select, insert, delete on ops.label_nights to churn_transformer;
grant select on ops.label_nights to churn_auditor, churn_trainer;

create table ops.built_nights (
    as_of_date date not null,
    known_as_of timestamptz not null,
    code_sha256 text not null,
    run_id text not null references ops.pipeline_runs,
    built_at timestamptz not null default clock_timestamp(),
    primary key (as_of_date, known_as_of)
);
comment on table ops.built_nights
is 'Nights whose features stand, and the dbt code and seeds that made them: a panel builds only what is missing.';
grant select, insert, update, delete on ops.built_nights to churn_transformer;
grant select on ops.built_nights to churn_auditor, churn_trainer;

-- Training on dated rows ---------------------------------------------------------------
create table ml.training_observations (
    model_version text not null references ml.model_versions,
    customer_id text not null,
    as_of_date date not null,
    known_as_of timestamptz not null,
    fold smallint,
    churned boolean not null,
    churn_probability double precision,
    primary key (model_version, as_of_date, customer_id)
);
comment on table ml.training_observations
is 'What trained a model of a dated dataset; fold and probability (out of time) where the row was validated on.';
grant select, insert on ml.training_observations to churn_trainer;
grant select on ml.training_observations to churn_transformer, churn_auditor, churn_publisher;

-- Repetitions: reproduce and restate ---------------------------------------------------
alter table ops.pipeline_runs
add column label_definition text,
add column library_versions jsonb;
comment on column ops.pipeline_runs.library_versions
is 'The installed libraries that decide a number; with code, configuration and label what a reproduction needs.';

drop function ops.open_run(text, text, text, date, timestamptz, text, text, text, text);
create function ops.open_run(
    run_id text, run_kind text, dataset text, as_of_date date, known_as_of timestamptz,
    dag_id text, dag_run_id text, code_version text, configuration_sha256 text,
    label_definition text, library_versions jsonb, repeats_run_id text
) returns void language sql security definer set search_path = ''
begin atomic
    insert into ops.pipeline_runs (
        run_id, run_kind, dataset, as_of_date, known_as_of, dag_id, dag_run_id,
        code_version, configuration_sha256, label_definition, library_versions, repeats_run_id
    ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);
end;

create function ops.resume_run(run_id text)
returns void language sql security definer set search_path = ''
begin atomic
    update ops.pipeline_runs as runs
    set status = 'running', failure = null, finished_at = null
    where runs.run_id = $1 and runs.status = 'failed';
end;
comment on function ops.resume_run
is 'A failed run whose tasks were cleared is at work again; refused while another repetition of its date runs.';

create function ops.champion_cut_off(run_id text)
returns timestamptz language sql stable security definer set search_path = ''
begin atomic
    with recursive chain as (
        select runs.* from ops.pipeline_runs as runs where runs.run_id = $1
        union all
        select repeated.*
        from chain
        inner join ops.pipeline_runs as repeated on chain.repeats_run_id = repeated.run_id
    )

    select
        case
            when chain.run_kind = 'restate'
                then (chain.as_of_date + 1 + time '02:00') at time zone 'UTC'
            else chain.known_as_of
        end
    from chain
    where chain.repeats_run_id is null;
end;
comment on function ops.champion_cut_off
is 'The cut-off whose champion scores a run: its own, or that of the night which it repeats in the end.';

create table ops.run_comparisons (
    run_id text not null references ops.pipeline_runs,
    repeats_run_id text not null references ops.pipeline_runs,
    mart text not null,
    row_count_then bigint not null,
    row_count_now bigint not null,
    rows_md5_then text not null,
    rows_md5_now text not null,
    is_equal boolean not null generated always as (
        row_count_then = row_count_now and rows_md5_then = rows_md5_now
    ) stored,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (run_id, mart)
);
comment on table ops.run_comparisons
is 'A repetition''s rows against those of the run it repeats, less the declared run-time columns.';

-- dim_scoring_run was hashed with run_kind, which is data about the run and no longer counts.
delete from ops.publication_fingerprints where mart = 'dim_scoring_run';

revoke execute on function ops.open_run, ops.resume_run, ops.champion_cut_off from public;
grant execute on function ops.open_run to
churn_loader, churn_trainer, churn_scorer, churn_publisher;
grant execute on function ops.resume_run to churn_loader;
grant execute on function ops.champion_cut_off to churn_loader, churn_scorer, churn_publisher;
grant select, insert, delete on ops.run_comparisons to churn_publisher;
grant select on ops.run_comparisons to churn_auditor;
grant select on ops.publication_fingerprints to churn_auditor;
