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
returns void language plpgsql security definer set search_path = ''
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
    with earlier as (
        select published.as_of_date, published.run_id, published.known_as_of
        from ops.published_runs as published
        where published.as_of_date < run.as_of_date and published.known_as_of <= run.known_as_of
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
    where nights.run_id = $1;
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
