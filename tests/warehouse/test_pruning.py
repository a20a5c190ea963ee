"""Retention: declared rules remove what nobody needs, and never what is published or was built on."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from clones import clone_warehouse, drop_warehouse
from copied_runs import copy_run
from telco_nights import CUT_OFF, DAY, customer, deliver, publish, rows, scored_night

from churn_ml.errors import PublishingError
from churn_ml.publishing.fingerprints import fingerprint_mart, marts_with_run_id
from churn_ml.publishing.pruning import prune
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=200)


@pytest.fixture(scope="module")
def template(server: Settings) -> Iterator[Settings]:
    """One published night, and beside it runs of each kind, all copies of it."""
    settings = clone_warehouse(server)
    deliver(settings, customer("a"), customer("b"))
    run = scored_night(settings, {"a": 0.5, "b": 0.75})
    for name in ("superseded", "base"):
        publish(settings, copy_run(settings, run, name))
    copy_run(settings, run, "failed", status="failed")
    copy_run(settings, run, "challenger", run_kind="challenger")
    publish(settings, run)
    with connect(settings, Role.OWNER) as owner:
        owner.execute("update staging.retention_rules set keep_runs = null")
        owner.execute(
            "insert into ops.run_bases values (%s, 'recent', %s, 'base')",
            [run.run_id, DAY - timedelta(days=1)],
        )
    yield settings
    drop_warehouse(settings)


@pytest.fixture
def warehouse(template: Settings) -> Iterator[Settings]:
    settings = clone_warehouse(template)
    yield settings
    drop_warehouse(settings)


def execute(settings: Settings, statement: str, *parameters: object) -> None:
    with connect(settings, Role.OWNER) as owner:
        owner.execute(statement, list(parameters))  # type: ignore[arg-type]


def runs_in(settings: Settings, relation: str) -> set[str]:
    known = {"superseded", "base", "failed", "challenger"}
    found = {str(run_id) for (run_id,) in rows(settings, f"select distinct run_id from {relation}")}
    return {name if name in known else "published" for name in found}


def hashes(settings: Settings) -> dict[str, tuple[int, str]]:
    """What BI sees of every mart."""
    with connect(settings, Role.READER) as reader:
        [(run_id,)] = reader.execute("select run_id from marts.dim_scoring_run").fetchall()
        told = [fingerprint_mart(reader, mart, run_id) for mart in marts_with_run_id(reader)]
    return {item.mart: (item.row_count, item.rows_md5) for item in told}


def test_what_is_published_or_was_built_on_stays(warehouse: Settings) -> None:
    before = hashes(warehouse)
    prune(warehouse, LATER + timedelta(days=9999))
    assert hashes(warehouse) == before
    assert runs_in(warehouse, "marts.fct_churn_score") == {"published", "base"}
    assert runs_in(warehouse, "scores.customer_scores") == {"published", "base"}
    assert runs_in(warehouse, "marts.dim_scoring_run") == {"published", "base", "superseded", "failed"}


def test_each_rule_takes_its_own_runs_after_its_own_days(warehouse: Settings) -> None:
    marts, scores = "marts.fct_churn_score", "scores.customer_scores"
    prune(warehouse, NOW + timedelta(days=13))
    assert runs_in(warehouse, marts) == {"published", "base", "superseded", "failed"}
    prune(warehouse, NOW + timedelta(days=15))
    assert runs_in(warehouse, marts) == {"published", "base", "superseded"}
    assert runs_in(warehouse, scores) == {"published", "base", "superseded", "challenger"}
    prune(warehouse, NOW + timedelta(days=91))
    assert runs_in(warehouse, marts) == {"published", "base"}
    assert runs_in(warehouse, scores) == {"published", "base", "challenger"}
    prune(warehouse, NOW + timedelta(days=401))
    assert runs_in(warehouse, scores) == {"published", "base"}


def test_dry_run_counts_the_same_rows_and_removes_none(warehouse: Settings) -> None:
    counted = prune(warehouse, LATER, is_dry_run=True)
    assert runs_in(warehouse, "marts.fct_churn_score") == {"published", "base", "superseded", "failed"}
    assert rows(warehouse, "select from ops.prunings") == []
    assert prune(warehouse, LATER) == counted
    assert sum(part.row_count for part in counted) > 10
    assert sum(part.row_count for part in prune(warehouse, LATER)) == 0


def test_every_removal_is_recorded(warehouse: Settings) -> None:
    pruned = {
        (part.what, part.relation): part.row_count for part in prune(warehouse, LATER) if part.row_count
    }
    recorded = rows(warehouse, "select what, relation, row_count, keep_days, pruned_by from ops.prunings")
    assert {(what, relation): count for what, relation, count, *_ in recorded} == pruned
    assert {days for what, _, _, days, _ in recorded if what == "superseded_runs"} == {90}
    assert {by for *_, by in recorded} == {"churn_publisher"}


def test_newest_runs_stay_whatever_their_age(warehouse: Settings) -> None:
    execute(warehouse, "update staging.retention_rules set keep_runs = 1 where what = 'unpublished_runs'")
    prune(warehouse, LATER)
    assert "failed" in runs_in(warehouse, "marts.fct_churn_score")


def test_pruned_run_is_never_published_again(warehouse: Settings) -> None:
    prune(warehouse, LATER)
    for name in ("superseded", "failed"):
        with (
            connect(warehouse, Role.PUBLISHER) as publisher,
            pytest.raises(psycopg.Error, match="audit it before"),
        ):
            publisher.execute("select ops.publish_run(%s, 'again')", [name])
    [(pruned,)] = rows(
        warehouse,
        "select count(*) from ops.pipeline_runs where marts_pruned_at is not null and marts_begun_at is null",
    )
    assert pruned == 2


def test_run_that_a_running_repetition_reads_stays(warehouse: Settings) -> None:
    execute(warehouse, "update ops.pipeline_runs set status = 'running', repeats_run_id = 'superseded'"
                       " where run_id = 'failed'")  # fmt: skip
    prune(warehouse, NOW + timedelta(days=400))
    assert "superseded" in runs_in(warehouse, "marts.fct_churn_score")


def add_features(settings: Settings, name: str, age_days: int) -> None:
    """Let a run of an older night have features, copies of those of the published one."""
    run = rows(settings, "select max(run_id) from ops.published_runs where as_of_date = %s", [DAY])[0][0]
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.pipeline_runs (run_id, run_kind, dataset, as_of_date, known_as_of, status,"
            " code_version, configuration_sha256)"
            " select %s, run_kind, dataset, as_of_date - %s, known_as_of - make_interval(days => %s),"
            " 'succeeded', '', '' from ops.pipeline_runs where run_id = %s",
            [name, age_days, age_days, run],
        )
        for relation in ("customer_population", "customer_features", "customer_values", "customer_labels"):
            owner.execute(
                f"create temporary table copied as select * from features.{relation} where as_of_date = %s"  # type: ignore[arg-type]
                " and known_as_of = %s",
                [DAY, CUT_OFF],
            )
            owner.execute(
                "update copied set as_of_date = as_of_date - %s, known_as_of = known_as_of"
                " - make_interval(days => %s)",
                [age_days, age_days],
            )
            owner.execute(f"insert into features.{relation} select * from copied")  # type: ignore[arg-type]
            owner.execute("drop table copied")


def nights_in(settings: Settings, relation: str) -> set[int]:
    """Ages in days of the nights whose rows `relation` holds."""
    found = rows(settings, f"select distinct %s - as_of_date from features.{relation}", [DAY])
    return {int(str(age)) for (age,) in found}


def test_old_features_go_save_for_those_that_a_published_night_needs(warehouse: Settings) -> None:
    [(published,)] = rows(warehouse, "select run_id from ops.published_runs")
    for age in (799, 801, 900, 950):
        add_features(warehouse, f"night of {age}", age)
    execute(
        warehouse, "insert into ops.run_bases values (%s, 'previous', %s, 'night of 900')", published, DAY
    )
    execute(warehouse, "insert into ops.published_runs (as_of_date, run_id, known_as_of)"
                       " select as_of_date, run_id, known_as_of from ops.pipeline_runs"
                       " where run_id = 'night of 950'")  # fmt: skip
    execute(warehouse, "update staging.retention_rules set keep_days = 940 where what = 'published_nights'")
    prune(warehouse, NOW, is_dry_run=True)
    assert nights_in(warehouse, "customer_features") == {0, 799, 801, 900, 950}
    pruned = {(part.what, part.relation) for part in prune(warehouse, NOW) if part.row_count}
    assert {
        ("unpublished_nights", "features.customer_features"),
        ("published_nights", "features.customer_labels"),
    } <= pruned
    for relation in ("customer_features", "customer_population", "customer_labels"):
        assert nights_in(warehouse, relation) == {0, 799, 900}


def test_labels_of_a_young_night_about_an_old_day_stay(warehouse: Settings) -> None:
    """A run labels matured nights under its own cut-off."""
    add_features(warehouse, "old", 900)
    execute(warehouse, "update features.customer_labels set known_as_of = %s where as_of_date = %s",
            CUT_OFF, DAY - timedelta(days=900))  # fmt: skip
    prune(warehouse, NOW)
    assert nights_in(warehouse, "customer_features") == {0}
    assert nights_in(warehouse, "customer_labels") == {0, 900}


def test_results_of_published_runs_stay_as_proof(warehouse: Settings) -> None:
    execute(
        warehouse,
        "insert into ops.dbt_results (run_id, layer, try_number, node_id, node_name, resource_type, status,"
        " elapsed_seconds) values ('failed', 'marts', 1, 'n', 'n', 'model', 'error', 1)",
    )
    prune(warehouse, NOW + timedelta(days=401))
    assert runs_in(warehouse, "ops.validation_results") == {"published"}
    assert rows(warehouse, "select from ops.dbt_results where run_id = 'failed'", role=Role.OWNER) == []
    assert rows(warehouse, "select from ops.dbt_results", role=Role.OWNER) != []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "update staging.retention_rules set valid_to = valid_from",
            "retention rules of telco valid on .* found none",
        ),
        (
            "insert into staging.retention_rules select * from staging.retention_rules",
            "Expected one retention rule",
        ),
        (
            "update staging.retention_rules set what = 'everything' where what = 'unpublished_nights'",
            "found everything of",
        ),
        ("drop table staging.retention_rules", "Build layer staging"),
    ],
)
def test_rules_that_cannot_be_followed_are_refused(warehouse: Settings, change: str, message: str) -> None:
    execute(warehouse, change)
    with pytest.raises(PublishingError, match=message):
        prune(warehouse, LATER)
    assert runs_in(warehouse, "marts.fct_churn_score") == {"published", "base", "superseded", "failed"}


def test_nobody_but_the_publisher_prunes(warehouse: Settings) -> None:
    for role in Role:
        if role in {Role.PUBLISHER, Role.OWNER, Role.AIRFLOW}:
            continue
        with connect(warehouse, role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select ops.prune('telco', 'marts', 'superseded_runs', now(), false)")


def test_current_mart_that_dropped_a_run_keeps_it_from_being_published(warehouse: Settings) -> None:
    """drop_old_runs asks this function first: what BI would then see of the run is not its rows."""
    [(published,)] = rows(warehouse, "select run_id from ops.published_runs")
    with connect(warehouse, Role.TRANSFORMER) as transformer:
        retired = transformer.execute("select ops.retire_marts(%s)", [[published, "superseded"]]).fetchone()
    assert retired == ([published, "superseded"],)
    begun = rows(
        warehouse,
        "select run_id, marts_begun_at is null from ops.pipeline_runs where run_id = any(%s)",
        [[published, "superseded"]],
    )
    assert dict(begun) == {published: False, "superseded": True}
