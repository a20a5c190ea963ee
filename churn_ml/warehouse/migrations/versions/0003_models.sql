-- Search: Optuna keeps its studies in a schema of its own; MLflow mirrors into another --------
create schema optuna authorization churn_trainer;
create schema mlflow authorization churn_trainer;
grant usage on schema optuna, mlflow to churn_auditor;
alter default privileges for role churn_trainer in schema optuna
grant select on tables to churn_auditor;

-- Optuna makes its tables when the first search begins: until then there are no trials.
create function ml.read_trials()
returns table (
    study_name text, trial_number integer, state text, log_loss double precision, parameters jsonb,
    attributes jsonb, started_at timestamptz, finished_at timestamptz
) language plpgsql stable security definer set search_path = ''
as $$
begin
    if to_regclass('optuna.trials') is null then
        return;
    end if;
    return query
    select
        studies.study_name::text,
        trials.number,
        lower(trials.state::text),
        (
            select trial_values.value from optuna.trial_values
            where trial_values.trial_id = trials.trial_id and trial_values.objective = 0
        ),
        coalesce((
            select jsonb_object_agg(user_attributes.key, user_attributes.value_json::jsonb)
            from optuna.trial_user_attributes as user_attributes
            where user_attributes.trial_id = trials.trial_id and user_attributes.key = 'parameters'
        ) -> 'parameters', '{}'),
        coalesce((
            select jsonb_object_agg(user_attributes.key, user_attributes.value_json::jsonb)
            from optuna.trial_user_attributes as user_attributes
            where user_attributes.trial_id = trials.trial_id and user_attributes.key <> 'parameters'
        ), '{}'),
        trials.datetime_start at time zone 'UTC',
        trials.datetime_complete at time zone 'UTC'
    from optuna.trials
    inner join optuna.studies on trials.study_id = studies.study_id;
end
$$;
create view ml.trials as select * from ml.read_trials();
comment on view ml.trials
is 'Every trial of every search, from Optuna''s own storage; a study is named after its training and family.';
revoke execute on function ml.read_trials from public;
grant execute on function ml.read_trials to churn_trainer, churn_auditor, churn_transformer;
grant select on ml.trials to churn_trainer, churn_auditor, churn_transformer;

create table ml.candidates (
    training_sha256 text not null check (training_sha256 ~ '^[0-9a-f]{64}$'),
    family text not null,
    run_id text not null references ops.pipeline_runs,
    parameters jsonb not null,
    calibration text not null,
    metrics jsonb not null,
    raw_probabilities bytea not null,
    trial_count integer not null,
    seconds double precision not null,
    peak_memory_mb double precision not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (training_sha256, family)
);
comment on table ml.candidates
is 'Each family at its best: parameters, metrics and the raw probabilities of rows it had not seen. A training '
'of the same rows and configuration finds its finished candidates here and does not repeat them.';
comment on column ml.candidates.training_sha256
is 'Hash of the rows, the contract, the configuration, the seed and the library versions.';
comment on column ml.candidates.raw_probabilities
is 'Little-endian doubles of shape (validation repeats, rows); NaN where a row was not validated on.';
grant select, insert on ml.candidates to churn_trainer;
grant select on ml.candidates to churn_auditor;

-- Model versions -------------------------------------------------------------------------
alter table ml.model_versions
add column training_sha256 text,
add column parameters jsonb not null default '{}',
add column calibration text not null default 'none',
add column value_family text,
add column golden_rows jsonb,
add column card text;
comment on column ml.model_versions.training_sha256
is 'Hash of the rows, contract, configuration, seed and libraries: an equal one is the same model.';
comment on column ml.model_versions.value_family
is 'Family of the regression of expected months retained; null where the dataset has none.';
comment on column ml.model_versions.golden_rows
is 'A few training rows without keys and what the model answered for them; checked before each scoring.';
comment on column ml.model_versions.card is 'The model card: one self-contained HTML page.';
create index on ml.model_versions (training_sha256);

alter table ml.gate_results
add column subject text not null default '',
add column severity text not null default 'block' check (severity in ('block', 'warn')),
add column interval_low double precision,
add column interval_high double precision,
add column detail text,
alter column observed drop not null,
drop constraint gate_results_verdict_check,
add constraint gate_results_verdict_check check (verdict in ('pass', 'fail', 'not_applicable')),
add constraint observed_unless_not_applicable check (
    (observed is null) = (verdict = 'not_applicable')
),
drop constraint gate_results_pkey,
add primary key (model_version, gate, subject);
comment on column ml.gate_results.subject
is 'What the gate looked at, such as a segment or a column; empty for everyone.';
comment on column ml.gate_results.interval_low is 'Lower end of the 90 % interval of the observed value.';

-- Deployments: an alias holds from a cut-off until another --------------------------------
alter table ml.model_deployments
add column valid_to timestamptz not null default 'infinity',
add column override_reason text check (length(trim(override_reason)) > 0),
add column restored_valid_from timestamptz,
add column retired_by text check (length(trim(retired_by)) > 0),
add column retired_reason text check (length(trim(retired_reason)) > 0),
add constraint retired_with_a_reason check ((retired_by is null) = (retired_reason is null)),
drop constraint model_deployments_alias_valid_from_key;
comment on column ml.model_deployments.valid_to
is 'First cut-off at which it holds no longer; equal to valid_from where it was withdrawn before any night.';
comment on column ml.model_deployments.override_reason
is 'Why it was deployed although a gate had failed; null where all passed.';
comment on column ml.model_deployments.restored_valid_from
is 'Of a rollback: valid_from of the former deployment whose model it brought back; null of a promotion.';
comment on column ml.model_deployments.retired_reason
is 'Why it ended without another in its place; null where it holds or another took its place.';

update ml.model_deployments as deployments
set valid_to = following.valid_from
from (
    select
        deployment_id,
        lead(valid_from) over (partition by alias order by valid_from) as valid_from
    from ml.model_deployments
) as following
where following.deployment_id = deployments.deployment_id and following.valid_from is not null;

-- An alias as a range of one number: equality in a GiST index without an extension.
create function ml.alias_range(alias text)
returns int4range language sql immutable strict parallel safe
return int4range(
    array_position(array['champion', 'challenger', 'shadow'], alias),
    array_position(array['champion', 'challenger', 'shadow'], alias), '[]'
);
alter table ml.model_deployments
add constraint valid_for_a_time check (valid_from <= valid_to),
add constraint one_model_per_alias_at_a_time exclude using gist (
    ml.alias_range(alias) with &&, tstzrange(valid_from, valid_to) with &&
);

create function ml.deployed_at(alias text, known_as_of timestamptz)
returns text language sql stable
return (
    select deployments.model_version
    from ml.model_deployments as deployments
    where deployments.alias = $1 and deployments.valid_from <= $2 and $2 < deployments.valid_to
);
comment on function ml.deployed_at is 'The model version that an alias names at a cut-off, or null.';
create or replace function ml.champion_at(known_as_of timestamptz)
returns text language sql stable
return ml.deployed_at('champion', $1);

create function ops.last_champion_cut_off()
returns timestamptz language sql stable security definer set search_path = ''
return (
    select max(ops.champion_cut_off(published.run_id))
    from (select distinct publications.run_id from ops.publications) as published
);
comment on function ops.last_champion_cut_off
is 'The latest cut-off whose champion BI ever saw: a repetition shows that of the night which it repeats.';
revoke execute on function ops.last_champion_cut_off from public;
grant execute on function ops.last_champion_cut_off to churn_trainer;

create function ml.end_deployments(alias text, valid_to timestamptz)
returns setof bigint language plpgsql set search_path = ''
as $$
declare
    published timestamptz;
begin
    -- Deployments one at a time, and none while a night is published (a landing shares that lock).
    perform pg_advisory_xact_lock_shared(7203449);
    perform pg_advisory_xact_lock(7203450);
    published := ops.last_champion_cut_off();
    if published >= $2 then
        raise exception 'Expected a cut-off after every cut-off that was ever published, found % while a '
            'night was published with %: who was % on a published night never changes. Give a later '
            'cut-off, or none.', $2, published, $1;
    end if;
    -- Of what was to hold from here on or later nothing has been used: it is withdrawn.
    return query
    update ml.model_deployments as deployments
    set valid_to = greatest($2, deployments.valid_from)
    where deployments.alias = $1 and deployments.valid_to > $2
        and deployments.valid_to > deployments.valid_from
    returning deployments.deployment_id;
end
$$;
comment on function ml.end_deployments
is 'Let an alias name nobody from a cut-off on, and return the deployments that this ended or withdrew.';

create function ml.refuse_failed_gates(model_version text)
returns void language plpgsql set search_path = ''
as $$
declare
    failed text;
begin
    select string_agg(
        results.gate || coalesce(' of ' || nullif(results.subject, ''), '') || ' ' || results.observed::text
        || ' (limits ' || coalesce(results.threshold_low::text, 'none') || ' to '
        || coalesce(results.threshold_high::text, 'none') || ')', '; ' order by results.gate, results.subject
    ) into failed
    from ml.gate_results as results
    where results.model_version = $1 and results.severity = 'block' and results.verdict = 'fail';
    if failed is null and not exists (
        select from ml.gate_results as results
        where results.model_version = $1 and results.severity = 'block' and results.verdict = 'pass'
    ) then
        failed := 'not one that was tried';
    end if;
    if failed is not null then
        raise exception 'Expected % to have passed its blocking gates, found failed: %. Train a new model, or '
            'deploy it all the same with a reason that is kept: --override "<why>".', $1, failed;
    end if;
end
$$;

create function ml.deploy(
    alias text, model_version text, valid_from timestamptz, recorded_by text, reason text,
    override_reason text default null, restored_valid_from timestamptz default null
) returns bigint language plpgsql security definer set search_path = ''
as $$
declare
    deployed bigint;
begin
    perform ml.end_deployments($1, $3);
    if $7 is not null and not exists (
        select from ml.model_deployments as deployments
        where deployments.alias = $1 and deployments.model_version = $2 and deployments.valid_from = $7
    ) then
        raise exception 'Expected a former deployment of % as % from % to bring back, found none', $2, $1, $7;
    end if;
    if $6 is null and $7 is null then
        perform ml.refuse_failed_gates($2);
    end if;
    insert into ml.model_deployments (
        alias, model_version, valid_from, recorded_by, reason, override_reason, restored_valid_from
    ) values ($1, $2, $3, $4, $5, $6, $7)
    returning deployment_id into deployed;
    return deployed;
end
$$;
comment on function ml.deploy
is 'Let an alias name a model from a cut-off on; the former one ends there, later ones are withdrawn.';

create function ml.retire(alias text, valid_to timestamptz, retired_by text, retired_reason text)
returns bigint language plpgsql security definer set search_path = ''
as $$
declare
    ended bigint[];
begin
    if $1 = 'champion' then
        raise exception 'Expected challenger or shadow to retire, found champion: promote or roll back instead';
    end if;
    ended := array(select ml.end_deployments($1, $2));
    update ml.model_deployments as deployments
    set retired_by = $3, retired_reason = $4
    where deployments.deployment_id = any(ended);
    return cardinality(ended);
end
$$;
comment on function ml.retire is 'Let a challenger or shadow score no longer from a cut-off on.';
revoke insert on ml.model_deployments from churn_trainer;
revoke execute on function ml.end_deployments, ml.refuse_failed_gates, ml.deploy, ml.retire from public;
grant execute on function ml.deploy, ml.retire to churn_trainer;

create view ml.model_statuses as
select
    versions.model_version,
    case
        when bool_or(deployments.alias = 'champion' and deployments.valid_to = 'infinity') then 'production'
        when bool_or(deployments.valid_to = 'infinity') then 'staging'
        when bool_or(deployments.alias = 'champion' and deployments.valid_to > deployments.valid_from)
            then 'archived'
        when exists (
            select from ml.gate_results as results
            where results.model_version = versions.model_version
                and results.severity = 'block' and results.verdict = 'fail'
        ) then 'rejected'
        else 'development'
    end as status
from ml.model_versions as versions
left join ml.model_deployments as deployments on versions.model_version = deployments.model_version
group by versions.model_version;
comment on view ml.model_statuses
is 'Derived, so that it cannot contradict the deployments: production is the champion without an end, staging a '
'challenger or shadow, archived a former champion, rejected failed a gate, development is everything else.';
grant select on ml.model_statuses to
churn_trainer, churn_scorer, churn_transformer, churn_auditor, churn_publisher;

-- Scores: intervals, reasons and the value model's answer ---------------------------------
alter table scores.customer_scores
add column churn_probability_low double precision check (churn_probability_low between 0 and 1),
add column churn_probability_high double precision check (churn_probability_high between 0 and 1),
add column expected_months_retained double precision check (expected_months_retained >= 0),
add column reason_1_code text,
add column reason_1_value text,
add column reason_1_percentile smallint check (reason_1_percentile between 0 and 100),
add column reason_1_log_odds double precision,
add column reason_1_points double precision,
add column reason_1_is_actionable boolean,
add column reason_2_code text,
add column reason_2_value text,
add column reason_2_percentile smallint check (reason_2_percentile between 0 and 100),
add column reason_2_log_odds double precision,
add column reason_2_points double precision,
add column reason_2_is_actionable boolean,
add column reason_3_code text,
add column reason_3_value text,
add column reason_3_percentile smallint check (reason_3_percentile between 0 and 100),
add column reason_3_log_odds double precision,
add column reason_3_points double precision,
add column reason_3_is_actionable boolean;
comment on column scores.customer_scores.churn_probability_low
is 'Lower end of the 90 % interval of the calibrated probability, from the calibrator.';
comment on column scores.customer_scores.reason_1_code
is 'The feature that moves this customer''s score most, and its direction: <feature>__raises or __lowers.';
comment on column scores.customer_scores.reason_1_log_odds
is 'What the feature adds to the log-odds of churn_probability_raw, against the average training customer.';
comment on column scores.customer_scores.reason_1_points
is 'What it adds to churn_probability, in percentage points: with the contribution against without.';

alter table ops.pipeline_runs
drop constraint pipeline_runs_run_kind_check,
add constraint pipeline_runs_run_kind_check check (
    run_kind in ('night', 'training', 'reproduce', 'restate', 'challenger', 'shadow')
);

-- Challengers and shadows: runs of their own beside a night --------------------------------
alter table ops.pipeline_runs
add column beside_run_id text references ops.pipeline_runs,
add constraint beside_a_night check (
    (beside_run_id is not null) = (run_kind in ('challenger', 'shadow'))
) not valid;
comment on column ops.pipeline_runs.beside_run_id
is 'Of a challenger or shadow run: the night whose features it scores, never to be published.';
create index on ops.pipeline_runs (beside_run_id) where beside_run_id is not null;

create function ops.open_beside(run_id text, run_kind text, night_run_id text)
returns void language plpgsql security definer set search_path = ''
as $$
begin
    insert into ops.pipeline_runs (
        run_id, run_kind, dataset, as_of_date, known_as_of, code_version, configuration_sha256,
        label_definition, library_versions, beside_run_id
    )
    select
        $1, $2, nights.dataset, nights.as_of_date, nights.known_as_of, nights.code_version,
        nights.configuration_sha256, nights.label_definition, nights.library_versions, nights.run_id
    from ops.pipeline_runs as nights
    where nights.run_id = $3 and nights.run_kind = 'night';
    if not found then
        raise exception 'run % is no night to score beside', $3;
    end if;
end
$$;
comment on function ops.open_beside
is 'Open a challenger or shadow run with the date, cut-off, code and configuration of a night.';
revoke execute on function ops.open_beside from public;
grant execute on function ops.open_beside to churn_scorer;
