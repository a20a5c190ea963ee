-- Integer keys, since BI relates tables on one column ------------------------------------
alter table ops.pipeline_runs
add column run_number integer generated always as identity unique;
comment on column ops.pipeline_runs.run_number is 'The run''s integer key in the marts (scoring_run_key).';
alter table ml.model_versions
add column model_number integer generated always as identity unique;
comment on column ml.model_versions.model_number is 'The model''s integer key in the marts (model_key).';

-- What a night is built on -----------------------------------------------------------------
create table ops.run_bases (
    run_id text not null references ops.pipeline_runs,
    base_role text not null check (base_role in ('previous', 'days_7', 'days_28', 'recent', 'matured')),
    base_as_of_date date not null,
    base_run_id text not null references ops.pipeline_runs,
    primary key (run_id, base_role, base_as_of_date)
);
comment on table ops.run_bases
is 'The earlier published nights that a night''s marts read, as they were when it was scored: a reproduction '
'reads the same ones.';
comment on column ops.run_bases.base_role
is 'previous: the newest earlier night; days_7 and days_28: the newest at least so many days before; recent: all of '
'the 120 days before; matured: the nights whose label windows have closed and whose outcomes this run states.';
create index on ops.run_bases (base_run_id);

create function ops.choose_bases(run_id text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    run ops.pipeline_runs;
begin
    select * into run from ops.pipeline_runs as runs where runs.run_id = $1 for no key update;
    if run.run_kind not in ('night', 'reproduce', 'restate') or ops.was_published($1) then
        return;
    end if;
    delete from ops.run_bases as bases where bases.run_id = $1;
    if run.run_kind = 'reproduce' then
        insert into ops.run_bases (run_id, base_role, base_as_of_date, base_run_id)
        select $1, bases.base_role, bases.base_as_of_date, bases.base_run_id
        from ops.run_bases as bases
        where bases.run_id = run.repeats_run_id;
        return;
    end if;
    insert into ops.run_bases (run_id, base_role, base_as_of_date, base_run_id)
    -- Where a day was published anew with a later cut-off: the newest run of it that this one may know.
    with earlier as (
        select distinct on (known.as_of_date) known.as_of_date, known.run_id, known.known_as_of
        from ops.publications as publications
        inner join ops.pipeline_runs as known on publications.run_id = known.run_id
        inner join ops.published_runs as standing on known.as_of_date = standing.as_of_date
        where publications.action = 'publish' and known.as_of_date < run.as_of_date
            and known.known_as_of <= run.known_as_of and known.marts_pruned_at is null
        order by known.as_of_date, (known.run_id = standing.run_id) desc, publications.publication_id desc
    ),

    newest as (
        select distinct on (roles.base_role) roles.base_role, earlier.as_of_date, earlier.run_id
        from (values ('previous', 1), ('days_7', 7), ('days_28', 28)) as roles (base_role, least_days)
        inner join earlier on earlier.as_of_date <= run.as_of_date - roles.least_days
        order by roles.base_role, earlier.as_of_date desc
    )

    select $1, newest.base_role, newest.as_of_date, newest.run_id from newest
    union all
    select $1, 'recent', earlier.as_of_date, earlier.run_id
    from earlier where earlier.as_of_date >= run.as_of_date - 120
    union all
    select $1, 'matured', earlier.as_of_date, earlier.run_id
    from earlier
    inner join ops.label_nights as nights
        on earlier.as_of_date = nights.as_of_date and earlier.known_as_of = nights.known_as_of
    inner join ops.pipeline_runs as scored on earlier.run_id = scored.run_id
    where
        nights.run_id = $1
        and scored.label_definition = run.label_definition
        -- What a night published anew came to is stated by the next night, not by a restatement too.
        and (
            run.run_kind = 'night'
            or exists (
                select from ops.run_bases as repeated
                where
                    repeated.run_id = run.repeats_run_id and repeated.base_role = 'matured'
                    and repeated.base_run_id = earlier.run_id
            )
        );
end
$$;
comment on function ops.choose_bases
is 'State which published nights a night is built on; called when it is scored. None knows more than the night.';
revoke execute on function ops.choose_bases from public;
grant execute on function ops.choose_bases to churn_scorer;
grant select on ops.run_bases to churn_loader, churn_transformer, churn_auditor, churn_scorer, churn_publisher;

-- The first night of a new champion: its scores of the night before ------------------------
create table scores.model_change_scores (
    run_id text not null references ops.pipeline_runs,
    customer_id text not null,
    base_run_id text not null references ops.pipeline_runs,
    model_version text not null,
    churn_probability double precision not null check (churn_probability between 0 and 1),
    scored_at timestamptz not null,
    primary key (run_id, customer_id)
);
comment on table scores.model_change_scores
is 'Where the champion changed since the previous night: what the new one says of that night''s features.';
grant select, insert, delete on scores.model_change_scores to churn_scorer;
grant select on scores.model_change_scores to churn_transformer, churn_auditor;

-- Publishing: what was built on a night that was replaced -----------------------------------
-- The marts have other columns since this version, and hashes add up in any order.
delete from ops.publication_fingerprints;

create view ops.outdated_runs as
select
    published.run_id,
    published.as_of_date,
    published.known_as_of,
    bases.base_as_of_date,
    bases.base_run_id,
    string_agg(bases.base_role, ', ' order by bases.base_role) as base_roles,
    standing.run_id as standing_run_id,
    standing.known_as_of as standing_known_as_of,
    coalesce((
        select bool_or(fingerprints.rows_md5 <> former.rows_md5)
        from ops.publication_fingerprints as fingerprints
        inner join ops.publication_fingerprints as former on fingerprints.mart = former.mart
        where fingerprints.run_id = standing.run_id and former.run_id = bases.base_run_id
    ), true) as is_different,
    (
        select max(publications.recorded_at)
        from ops.publications
        where publications.run_id = bases.base_run_id and publications.action <> 'publish'
    ) as outdated_since
from ops.published_runs as published
inner join ops.run_bases as bases on published.run_id = bases.run_id
left join ops.published_runs as standing on bases.base_as_of_date = standing.as_of_date
where standing.run_id is distinct from bases.base_run_id
group by
    published.run_id, published.as_of_date, published.known_as_of, bases.base_as_of_date, bases.base_run_id,
    standing.run_id, standing.known_as_of;
comment on view ops.outdated_runs
is 'Published runs and the nights they were built on that BI sees no more, or as another run.';
comment on column ops.outdated_runs.standing_run_id is 'What BI sees of that night instead; null if nothing.';
comment on column ops.outdated_runs.is_different
is 'Whether its rows differ by hash from those of the base; true where that is not known.';
grant select on ops.outdated_runs to churn_loader, churn_auditor, churn_publisher;

-- Every query of BI asks these: unsafe, as functions are by default, none would run in parallel.
alter function ops.published_run_ids() parallel safe;
alter function ops.current_run_id() parallel safe;

create function ops.last_attempt()
returns table (attempted_at timestamptz, as_of_date date, status text, failed_since_count integer)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select
        newest.started_at,
        newest.as_of_date,
        newest.status,
        (
            select count(*)::integer from ops.pipeline_runs as failed
            where
                failed.run_kind = 'night' and failed.status = 'failed'
                and failed.started_at > coalesce((
                    select published.published_at from ops.published_runs as published
                    order by published.as_of_date desc limit 1
                ), '-infinity')
        )
    from (values (true)) as always (is_there)
    left join lateral (
        select runs.started_at, runs.as_of_date, runs.status
        from ops.pipeline_runs as runs
        where runs.run_kind = 'night'
        order by runs.started_at desc
        limit 1
    ) as newest on true;
end;
comment on function ops.last_attempt
is 'The newest attempt at a night, and how many have failed since the newest published one was published.';
revoke execute on function ops.last_attempt from public;
grant execute on function ops.last_attempt to bi_reader, churn_auditor, churn_transformer;

-- Validation: the results of dbt's tests beside those of the gates ---------------------------
alter table ops.validation_results
alter column gate drop not null,
add column threshold text,
add column sample_keys text,
add constraint known_tool check (tool in ('great_expectations', 'dbt')),
add constraint gate_of_a_gate check ((gate is null) = (tool = 'dbt'));
comment on table ops.validation_results
is 'One row per check and attempt: expectations of the three gates, and dbt''s tests. A marts gate decides '
'whether a run may be published; a failed dbt test stops the build.';
comment on column ops.validation_results.gate is 'raw, features or marts; null for dbt''s tests.';
comment on column ops.validation_results.suite is 'The suite of expectations; of a dbt test the layer it was run with.';
comment on column ops.validation_results.threshold is 'The limits in figures, as far as there are any.';
comment on column ops.validation_results.sample_keys
is 'Keys of the first rows that do not hold, as far as the check names them: of customers and runs, nothing else.';
grant insert on ops.validation_results to churn_transformer;

-- Costs: one row for every task that ran -------------------------------------------------
create table ops.task_measurements (
    task_measurement_id bigint generated always as identity primary key,
    run_id text references ops.pipeline_runs,
    dag_id text,
    dag_run_id text,
    task_id text not null,
    map_index integer not null default -1,
    try_number integer not null default 1,
    verdict text not null check (verdict in ('succeeded', 'failed')),
    failure text,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    seconds double precision not null check (seconds >= 0),
    cpu_seconds double precision not null check (cpu_seconds >= 0),
    peak_memory_mb double precision not null check (peak_memory_mb > 0),
    is_peak_of_process boolean not null,
    rows_in bigint,
    rows_out bigint,
    bytes_read bigint,
    bytes_written bigint
);
comment on table ops.task_measurements is 'One row per task and try, written when it ended. Read ops.task_costs.';
create index on ops.task_measurements (run_id);
create view ops.task_costs as
select
    measurements.*,
    scored.customer_count,
    1000 * measurements.seconds / nullif(scored.customer_count, 0) as seconds_per_1000_customers
from ops.task_measurements as measurements
left join lateral (
    select scores.rows_out as customer_count
    from ops.task_measurements as scores
    where scores.run_id = measurements.run_id and scores.task_id = 'score' and scores.verdict = 'succeeded'
    order by scores.finished_at desc
    limit 1
) as scored on true;
comment on view ops.task_costs
is 'What each task of a run took. CPU and memory are those of the task''s process and of the processes it started; '
'what Postgres does for it is in the seconds only.';
comment on column ops.task_costs.run_id is 'The run; null where the task failed before it had one, or needs none.';
comment on column ops.task_costs.failure is 'The kind of error that ended it; ops.pipeline_runs has the message.';
comment on column ops.task_costs.is_peak_of_process
is 'True where the counter could not be set back: the peak then is that of the process since it began.';
comment on column ops.task_costs.bytes_read
is 'Bytes of files, pipes and COPY that came in; null where the system does not count them.';
comment on column ops.task_costs.bytes_written is 'Bytes of files, pipes and COPY that went out.';
comment on column ops.task_costs.customer_count is 'Customers that the run''s task `score` scored.';
grant select, insert on ops.task_measurements to churn_loader;
grant select on ops.task_measurements, ops.task_costs to churn_loader, churn_auditor, churn_publisher;

-- Retention: what declared rules remove ---------------------------------------------------
alter table ops.pipeline_runs
add column marts_pruned_at timestamptz,
add column features_pruned_at timestamptz;
comment on column ops.pipeline_runs.marts_pruned_at
is 'When a retention rule removed the run''s rows of marts; it is never published again.';
comment on column ops.pipeline_runs.features_pruned_at
is 'When a retention rule removed the features of the run''s night; a repetition builds them again from raw.';

create table ops.prunings (
    pruning_id bigint generated always as identity primary key,
    what text not null,
    relation text not null,
    row_count bigint not null,
    keep_days integer not null,
    keep_runs integer,
    pruned_at timestamptz not null default clock_timestamp(),
    pruned_by text not null default session_user
);
comment on table ops.prunings is 'Every removal of rows by a rule of dbt_project/seeds/retention_rules.csv.';
grant select on ops.prunings to churn_auditor, churn_publisher;

create function ops.count_or_delete(relation text, condition text, is_dry_run boolean)
returns bigint language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    found_rows bigint;
begin
    if is_dry_run then
        execute format('select count(*) from %s where %s', relation, condition) into found_rows;
    else
        execute format('delete from %s where %s', relation, condition);
        get diagnostics found_rows = row_count;
    end if;
    return found_rows;
end
$$;

create function ops.remove_mart_rows(run_ids text [], is_dry_run boolean)
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
end
$$;

create function ops.remove_score_rows(run_ids text [], is_dry_run boolean)
returns table (relation text, row_count bigint) language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- The date lets Postgres leave the other months alone.
    relation := 'scores.customer_scores';
    row_count := ops.count_or_delete(relation, format(
        'run_id = any(%L::text[]) and as_of_date = any(%L::date[])', run_ids,
        array(select distinct as_of_date from ops.pipeline_runs where run_id = any(run_ids))
    ), is_dry_run);
    return next;
    relation := 'scores.model_change_scores';
    row_count := ops.count_or_delete(relation, format('run_id = any(%L::text[])', run_ids), is_dry_run);
    return next;
end
$$;

create or replace function ops.discard_run(run_id text)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    discarded bigint;
begin
    perform from ops.pipeline_runs as runs where runs.run_id = $1 for no key update;
    if ops.was_published($1) then
        raise exception 'run % was published once: it is superseded or un-published, never discarded', $1;
    end if;
    update ops.pipeline_runs as runs set marts_begun_at = null where runs.run_id = $1;
    select sum(removed.row_count) into discarded from (
        select row_count from ops.remove_score_rows(array[$1], false)
        union all
        select row_count from ops.remove_mart_rows(array[$1], false)
    ) as removed;
    if to_regclass('marts.dim_scoring_run') is not null then
        discarded := discarded
            + ops.count_or_delete('marts.dim_scoring_run', format('run_id = %L', $1), false);
    end if;
    delete from ops.run_bases as bases where bases.run_id = $1;
    return discarded;
end
$$;

create function ops.retire_marts(run_ids text [])
returns text [] language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from ops.pipeline_runs as runs where runs.run_id = any($1) order by runs.run_id for no key update;
    update ops.pipeline_runs as runs
    set marts_begun_at = null
    where runs.run_id = any($1) and runs.marts_begun_at is not null
        and not exists (select from ops.published_runs as published where published.run_id = runs.run_id);
    return $1;
end
$$;
comment on function ops.retire_marts
is 'Called before a mart drops the rows of old runs: one that is not published could be shown without them.';

create function ops.retention_rules(dataset text, valid_on date)
returns table (relation text, what text, keep_days integer, keep_runs integer)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('staging.retention_rules') is null then
        raise exception 'Expected the rules of dbt_project/seeds/retention_rules.csv in staging.retention_rules, '
            'found no such table. Build layer staging: a night does.';
    end if;
    return query execute
        'select relation, what, keep_days, keep_runs from staging.retention_rules'
        ' where dataset = $1 and valid_from <= $2 and ($2 < valid_to or valid_to is null)'
        ' order by relation, what' using $1, $2;
    if not found then
        raise exception 'Expected retention rules of % valid on %, found none. Mend valid_from and valid_to in '
            'dbt_project/seeds/retention_rules.csv.', $1, $2;
    end if;
end
$$;
comment on function ops.retention_rules is 'The declared rules of a dataset on a day.';

create function ops.prunable_runs(what text, ended_before timestamptz, keep_runs integer)
returns text [] language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    -- What BI sees, what is at work, and the nights before either, as far back as campaigns are followed.
    with recursive built as (
        select published.run_id from ops.published_runs as published
        union
        select runs.run_id from ops.pipeline_runs as runs where runs.status = 'running'
        union
        select bases.base_run_id
        from built
        inner join ops.run_bases as bases on built.run_id = bases.run_id
        where bases.base_role = 'previous'
    ),

    ended as (
        select
            runs.run_id,
            runs.run_kind,
            ops.was_published(runs.run_id) as was_published,
            coalesce((
                select max(publications.recorded_at) from ops.publications
                where publications.run_id = runs.run_id and publications.action <> 'publish'
            ), runs.finished_at, runs.started_at) as ended_at
        from ops.pipeline_runs as runs
        where
            not exists (select from ops.published_runs as published where published.run_id = runs.run_id)
            and not exists (
                select from ops.run_bases as bases
                inner join built on bases.run_id = built.run_id
                where bases.base_run_id = runs.run_id
            )
            and not exists (
                select from ops.pipeline_runs as repetitions
                left join ops.published_runs as published on repetitions.run_id = published.run_id
                where
                    repetitions.repeats_run_id = runs.run_id
                    and (published.run_id is not null or repetitions.status = 'running')
            )
    ),

    numbered as (
        select ended.run_id, ended.ended_at, row_number() over (order by ended.ended_at desc, ended.run_id) as place
        from ended
        where
            case $1
                when 'superseded_runs' then ended.was_published
                when 'unpublished_runs'
                    then not ended.was_published and ended.run_kind in ('night', 'reproduce', 'restate')
                when 'beside_runs' then ended.run_kind in ('challenger', 'shadow')
                else false
            end
    )

    select coalesce(array_agg(numbered.run_id order by numbered.run_id), '{}')
    from numbered
    where numbered.place > coalesce($3, 0) and numbered.ended_at < $2;
end;
comment on function ops.prunable_runs
is 'Runs of a kind that ended before a moment, save for the newest: none that is published, none that a published '
'or running night was built on or repeats.';

create function ops.prunable_nights(what text, keep_days integer)
returns table (as_of_date date, known_as_of timestamptz) language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    with last_day as (select max(published.as_of_date) - $2 as as_of_date from ops.published_runs as published),

    nights as (
        select runs.as_of_date, runs.known_as_of
        from ops.pipeline_runs as runs where runs.features_pruned_at is null
        union
        select built.as_of_date, built.known_as_of from ops.built_nights as built
    ),

    -- A published night, the one before it (a change of champion is split on that one's features) and
    -- those whose outcomes it states.
    needed as (
        select runs.as_of_date, runs.known_as_of, published.as_of_date as needed_on
        from ops.published_runs as published
        left join ops.run_bases as bases
            on published.run_id = bases.run_id and bases.base_role in ('previous', 'matured')
        inner join ops.pipeline_runs as runs on runs.run_id in (published.run_id, bases.base_run_id)
        union all
        select runs.as_of_date, runs.known_as_of, 'infinity'
        from ops.pipeline_runs as runs where runs.status = 'running'
    )

    select nights.as_of_date, nights.known_as_of
    from nights
    cross join last_day
    left join needed on nights.as_of_date = needed.as_of_date and nights.known_as_of = needed.known_as_of
    where nights.as_of_date < last_day.as_of_date
    group by nights.as_of_date, nights.known_as_of, last_day.as_of_date
    having
        case $1
            when 'unpublished_nights' then max(needed.needed_on) is null
            when 'published_nights' then max(needed.needed_on) < last_day.as_of_date
        end;
end;
comment on function ops.prunable_nights
is 'Nights so many days before the newest published one: those that no published night needs, or those that only '
'nights as old as themselves do.';

create function ops.remove_feature_rows(what text, keep_days integer, is_dry_run boolean)
returns table (relation text, row_count bigint) language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    days date[];
    cut_offs timestamptz[];
    rows_of_nights text;
    features record;
begin
    select array_agg(nights.as_of_date), array_agg(nights.known_as_of) into days, cut_offs
    from ops.prunable_nights(what, keep_days) as nights;
    if days is null then
        return;
    end if;
    rows_of_nights := format(
        '(as_of_date, known_as_of) in (select * from unnest(%L::date[], %L::timestamptz[]))', days, cut_offs
    );
    -- The labels of a night are those of its cut-off, of whatever day.
    select array_agg(distinct pruned.known_as_of) into cut_offs
    from unnest(cut_offs) as pruned (known_as_of)
    where not exists (
        select from ops.pipeline_runs as runs
        where runs.known_as_of = pruned.known_as_of and not runs.as_of_date = any(days)
    );
    for features in
        select
            format('features.%I', tables.table_name) as name,
            bool_or(columns.column_name = 'label_definition') as has_labels
        from information_schema.tables as tables
        join information_schema.columns as columns using (table_schema, table_name)
        where tables.table_schema = 'features' and tables.table_type = 'BASE TABLE'
        group by tables.table_name
        having count(*) filter (where columns.column_name in ('as_of_date', 'known_as_of')) = 2
        order by tables.table_name
    loop
        relation := features.name;
        row_count := ops.count_or_delete(features.name, case when features.has_labels
            then format('known_as_of = any(%L::timestamptz[])', cut_offs) else rows_of_nights end, is_dry_run);
        return next;
    end loop;
    if not is_dry_run then
        execute 'delete from ops.built_nights where ' || rows_of_nights;
        execute 'update ops.pipeline_runs set features_pruned_at = clock_timestamp() where ' || rows_of_nights;
    end if;
end
$$;

create function ops.remove_result_rows(relation text, recorded_before timestamptz, is_dry_run boolean)
returns table (relation_name text, row_count bigint) language sql set search_path = pg_catalog, pg_temp
as $$
    select $1, ops.count_or_delete($1, format(
        case $1
            when 'ops.task_measurements' then 'finished_at < %L'
            -- What BI sees keeps the proof of its audit, and a night that stands what says how it was staged.
            else
                'recorded_at < %L and run_id not in (select run_id from ops.published_runs'
                || ' union all select run_id from ops.built_nights)'
        end, $2
    ), $3)
$$;

create function ops.remove_rows(
    relation text, what text, run_ids text [], keep_days integer, ended_before timestamptz, is_dry_run boolean
) returns table (pruned_relation text, row_count bigint) language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if $1 = 'marts' and $2 in ('superseded_runs', 'unpublished_runs') then
        return query select * from ops.remove_mart_rows(array(
            select runs.run_id from ops.pipeline_runs as runs
            where runs.run_id = any($3) and runs.marts_pruned_at is null
        ), $6);
    elsif $1 = 'scores' and $2 in ('superseded_runs', 'unpublished_runs', 'beside_runs') then
        return query select * from ops.remove_score_rows($3, $6);
    elsif $1 = 'features' and $2 in ('unpublished_nights', 'published_nights') then
        return query select * from ops.remove_feature_rows($2, $4, $6);
    elsif $1 in ('ops.dbt_results', 'ops.validation_results', 'ops.task_measurements') and $2 = 'results' then
        return query select * from ops.remove_result_rows($1, $5, $6);
    else
        raise exception 'Expected a retention rule that there is, found % of %. The description of '
            'dbt_project/seeds/retention_rules.csv lists them.', $2, $1;
    end if;
end
$$;

create function ops.prune(dataset text, relation text, what text, moment timestamptz, is_dry_run boolean)
returns table (pruned_relation text, row_count bigint) language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    rule record;
    run_ids text[];
    removed record;
    ended_before timestamptz;
begin
    select count(*) as found, max(rules.keep_days) as keep_days, max(rules.keep_runs) as keep_runs into rule
    from ops.retention_rules($1, ($4 at time zone 'UTC')::date) as rules
    where rules.relation = $2 and rules.what = $3;
    if rule.found <> 1 then
        raise exception 'Expected one retention rule for % of % on %, found %. Mend '
            'dbt_project/seeds/retention_rules.csv.', $3, $2, $4::date, rule.found;
    end if;
    ended_before := $4 - make_interval(days => rule.keep_days);
    run_ids := ops.prunable_runs($3, ended_before, rule.keep_runs);
    if not $5 and $2 in ('marts', 'scores') then
        -- Who publishes one of them meanwhile either comes first, or finds it pruned.
        perform from ops.pipeline_runs as runs
        where runs.run_id = any(run_ids) order by runs.run_id for no key update;
        run_ids := ops.prunable_runs($3, ended_before, rule.keep_runs);
    end if;
    for removed in
        select * from ops.remove_rows($2, $3, run_ids, rule.keep_days, ended_before, $5)
    loop
        pruned_relation := removed.pruned_relation;
        row_count := removed.row_count;
        if not $5 and row_count > 0 then
            insert into ops.prunings (what, relation, row_count, keep_days, keep_runs)
            values ($3, pruned_relation, row_count, rule.keep_days, rule.keep_runs);
        end if;
        return next;
    end loop;
    if $2 = 'marts' and not $5 then
        update ops.pipeline_runs as runs
        set marts_begun_at = null, marts_pruned_at = clock_timestamp()
        where runs.run_id = any(run_ids) and runs.marts_pruned_at is null;
    end if;
end
$$;
comment on function ops.prune
is 'Remove what one declared rule names, or count it; what is published is never among it.';

revoke execute on function
ops.count_or_delete, ops.remove_mart_rows, ops.remove_score_rows, ops.remove_feature_rows,
ops.remove_result_rows, ops.remove_rows, ops.retire_marts, ops.retention_rules, ops.prunable_runs,
ops.prunable_nights, ops.prune
from public;
grant execute on function ops.retire_marts to churn_transformer;
grant execute on function ops.retention_rules, ops.prune to churn_publisher;

-- An empty search_path still looks for names of types in pg_temp first, where callers may write: a domain
-- of theirs would run their code with the rights of the owner. Functions made before this version had that.
do $$
declare
    guarded record;
begin
    for guarded in
        select procedures.oid::regprocedure as name
        from pg_proc as procedures
        where procedures.pronamespace in ('ops'::regnamespace, 'ml'::regnamespace)
            and exists (
                select from unnest(procedures.proconfig) as options (setting)
                where options.setting like 'search_path=%'
            )
    loop
        execute format('alter function %s set search_path = pg_catalog, pg_temp', guarded.name);
    end loop;
end
$$;
