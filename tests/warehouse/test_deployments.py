"""Deployments: which model an alias names at which cut-off, and what may change about it."""

import json
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from clones import clone_warehouse, drop_warehouse
from psycopg.errors import CheckViolation, ExclusionViolation, InsufficientPrivilege, RaiseException

from churn_ml.errors import ArtifactError, ModelError, NoChampion
from churn_ml.models.artifacts import running_versions, sha256_of
from churn_ml.models.deployments import (
    champion_at,
    deployed_at,
    list_deployments,
    promote,
    promote_automatically,
    retire,
    rollback,
)
from churn_ml.models.registration import GateResult
from churn_ml.models.registry import list_versions, load_model, show_version
from churn_ml.settings import Settings
from churn_ml.warehouse import provision
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import open_run

FIRST = datetime(2026, 11, 1, 2, tzinfo=UTC)
ONE_NIGHT = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
PASSED = GateResult("calibration_overall", 1.0, 0.9, 1.1)
FAILED = GateResult("calibration_by_segment", 1.4, 0.9, 1.1, "contract=two_year")


def add_version(
    settings: Settings, name: str, known_as_of: datetime = FIRST, gates: Sequence[GateResult] = (PASSED,)
) -> str:
    """Register a version without an artifact that could be loaded: here nothing is scored."""
    run = open_run(settings, "training", known_as_of)
    with connect(settings, Role.TRAINER) as trainer:
        trainer.execute(
            "insert into ml.model_versions (model_version, run_id, dataset, label_definition, family,"
            " validation, as_of_date, known_as_of, seed, fold_count, row_count, churned_count,"
            " feature_contract, metrics, library_versions, artifact, artifact_sha256)"
            " values (%s, %s, 'telco', 'telco_30d', 'base_rate', 'cross_sectional', %s, %s, 1, 1, 1, 1, '[]',"
            " '{}', '{}', '', repeat('0', 64))",
            [name, run.run_id, run.as_of_date, known_as_of],
        )
        for gate in gates:
            trainer.execute(
                "insert into ml.gate_results (model_version, gate, subject, severity, observed,"
                " threshold_low, threshold_high, verdict) values (%s, %s, %s, %s, %s, %s, %s, %s)",
                [name, gate.gate, gate.subject, gate.severity, gate.observed, gate.threshold_low,
                 gate.threshold_high, gate.verdict],
            )  # fmt: skip
    return name


@pytest.fixture(scope="module")
def template(server: Settings) -> Iterator[Settings]:
    cloned = clone_warehouse(server)
    for name in ("a", "b", "c"):
        add_version(cloned, name)
    add_version(cloned, "later", FIRST + 30 * ONE_NIGHT)
    add_version(cloned, "failed", gates=[PASSED, FAILED])
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def registry(template: Settings) -> Iterator[Settings]:
    """A warehouse with models a, b and c, which passed their gates, and none deployed."""
    yield template
    with connect(template, Role.OWNER) as owner:
        owner.execute("truncate ml.model_deployments, ops.publications")
        for table in ("gate_results", "model_versions"):
            owner.execute(f"delete from ml.{table} where model_version in ('untried', 'warned')")


def publish(settings: Settings, known_as_of: datetime, restated: str | None = None) -> str:
    run = open_run(settings, "night", known_as_of)
    with connect(settings, Role.OWNER) as owner:
        if restated is not None:
            owner.execute(
                "update ops.pipeline_runs as runs set run_kind = 'restate', as_of_date = former.as_of_date,"
                " repeats_run_id = former.run_id from ops.pipeline_runs as former"
                " where runs.run_id = %s and former.run_id = %s",
                [run.run_id, restated],
            )
        owner.execute(
            "insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)"
            " values ('publish', %s, %s, 'test', 'test')",
            [run.as_of_date, run.run_id],
        )
    return run.run_id


def make(settings: Settings, model_version: str, valid_from: datetime | None = None, alias: str = "champion"):
    return promote(settings, model_version, valid_from, "a reason", "tests", alias=alias)


def spans(settings: Settings) -> list[tuple[str, datetime, datetime | None]]:
    return [(item.model_version, item.valid_from, item.valid_to) for item in list_deployments(settings)]


def statuses(settings: Settings) -> dict[str, str]:
    return {version.model_version: version.status for version in list_versions(settings)}


def test_a_champion_holds_until_the_next_one_begins(registry: Settings) -> None:
    make(registry, "a", FIRST)
    make(registry, "b", FIRST + 3 * ONE_NIGHT)
    assert spans(registry) == [("a", FIRST, FIRST + 3 * ONE_NIGHT), ("b", FIRST + 3 * ONE_NIGHT, None)]
    assert champion_at(registry, FIRST + 3 * ONE_NIGHT - INSTANT) == "a"
    assert (
        champion_at(registry, FIRST + 3 * ONE_NIGHT) == champion_at(registry, FIRST + 900 * ONE_NIGHT) == "b"
    )


def test_before_the_first_one_there_is_none_and_the_command_is_named(registry: Settings) -> None:
    make(registry, "a", FIRST)
    with pytest.raises(NoChampion, match=r"churn-ml model promote <version> --valid-from 2026-11-01T01:59"):
        champion_at(registry, FIRST - INSTANT)


@pytest.mark.parametrize(
    ("valid_from", "valid_to"),
    [
        (FIRST, FIRST + ONE_NIGHT),
        (FIRST - ONE_NIGHT, FIRST + INSTANT),
        (FIRST + 9 * ONE_NIGHT - INSTANT, FIRST + 12 * ONE_NIGHT),
        (FIRST - ONE_NIGHT, FIRST + 12 * ONE_NIGHT),
        (FIRST + ONE_NIGHT, FIRST + 2 * ONE_NIGHT),
    ],
)
def test_two_of_one_alias_can_never_hold_at_once_whoever_writes(
    registry: Settings, valid_from: datetime, valid_to: datetime
) -> None:
    statement = (
        "insert into ml.model_deployments (alias, model_version, valid_from, valid_to, recorded_by, reason)"
        " values (%s, %s, %s, %s, 'owner', 'by hand')"
    )
    with connect(registry, Role.OWNER) as owner:
        owner.execute(statement, ["champion", "a", FIRST, FIRST + 9 * ONE_NIGHT])
        with pytest.raises(ExclusionViolation), owner.transaction():
            owner.execute(statement, ["champion", "b", valid_from, valid_to])
        owner.execute(statement, ["challenger", "b", valid_from, valid_to])
        owner.execute(statement, ["champion", "b", FIRST - ONE_NIGHT, FIRST])
        owner.execute(statement, ["champion", "c", FIRST + 9 * ONE_NIGHT, FIRST + 10 * ONE_NIGHT])
        with pytest.raises(CheckViolation), owner.transaction():
            owner.execute(statement, ["shadow", "c", FIRST, FIRST - INSTANT])


@pytest.mark.parametrize("role", [Role.TRAINER, Role.SCORER, Role.PUBLISHER, Role.TRANSFORMER])
def test_no_role_writes_deployments_by_hand(registry: Settings, role: Role) -> None:
    make(registry, "a", FIRST)
    for statement in (
        "insert into ml.model_deployments (alias, model_version, valid_from, recorded_by, reason)"
        " values ('shadow', 'b', now(), 'x', 'x')",
        "update ml.model_deployments set model_version = 'b'",
        "delete from ml.model_deployments",
        "select ml.end_deployments('champion', now())",
    ):
        with pytest.raises(InsufficientPrivilege), connect(registry, role) as connection:
            connection.execute(statement)


def test_without_a_cut_off_it_begins_with_what_the_model_knew_or_after_every_published_one(
    registry: Settings,
) -> None:
    assert make(registry, "later").valid_from == FIRST + 30 * ONE_NIGHT
    assert make(registry, "a").valid_from == FIRST
    publish(registry, FIRST + 5 * ONE_NIGHT)
    publish(registry, FIRST + 2 * ONE_NIGHT)
    assert make(registry, "b").valid_from == FIRST + 5 * ONE_NIGHT + INSTANT
    assert champion_at(registry, FIRST + 5 * ONE_NIGHT) == "a"
    assert champion_at(registry, FIRST + 6 * ONE_NIGHT) == "b"
    assert make(registry, "later").valid_from == FIRST + 30 * ONE_NIGHT
    assert champion_at(registry, FIRST + 29 * ONE_NIGHT) == "b"


@pytest.mark.parametrize("alias", ["champion", "challenger"])
def test_at_or_before_a_published_cut_off_nothing_changes(registry: Settings, alias: str) -> None:
    make(registry, "a", FIRST, alias)
    publish(registry, FIRST + ONE_NIGHT)
    before = spans(registry)
    for valid_from in (FIRST + ONE_NIGHT, FIRST + ONE_NIGHT / 2):
        with pytest.raises(ModelError, match="after every cut-off that was ever published"):
            make(registry, "b", valid_from, alias)
    assert spans(registry) == before
    make(registry, "b", FIRST + ONE_NIGHT + INSTANT, alias)


def test_what_was_to_hold_later_is_withdrawn_by_an_earlier_promotion(registry: Settings) -> None:
    make(registry, "a", FIRST)
    make(registry, "b", FIRST + 9 * ONE_NIGHT)
    make(registry, "c", FIRST + 4 * ONE_NIGHT)
    withdrawn = FIRST + 9 * ONE_NIGHT
    assert spans(registry) == [
        ("a", FIRST, FIRST + 4 * ONE_NIGHT), ("b", withdrawn, withdrawn), ("c", FIRST + 4 * ONE_NIGHT, None),
    ]  # fmt: skip
    assert champion_at(registry, withdrawn) == "c"


@pytest.mark.parametrize(
    ("valid_from", "words", "message"),
    [
        (datetime(2027, 1, 1), ("a reason", "tests"), r"time zone.*2027-01-01T00:00:00\+00:00"),
        (None, ("  ", "tests"), "reason"),
        (None, ("a reason", ""), "name"),
    ],
)
def test_promotion_needs_a_zone_a_reason_and_a_name(
    registry: Settings, valid_from: datetime | None, words: tuple[str, str], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        promote(registry, "a", valid_from, *words)
    with pytest.raises(ModelError, match="reason"):
        promote(registry, "a", None, "a reason", "tests", override_reason=" ")


def test_who_is_champion_already_is_not_promoted_again(registry: Settings) -> None:
    make(registry, "a", FIRST)
    for valid_from in (None, FIRST, FIRST + ONE_NIGHT):
        with pytest.raises(
            ModelError, match="Expected a not to be champion yet, found it to be from 2026-11-01"
        ):
            make(registry, "a", valid_from)
    make(registry, "a", FIRST - ONE_NIGHT)
    assert champion_at(registry, FIRST - ONE_NIGHT) == "a"


@pytest.mark.parametrize("alias", ["champion", "challenger", "shadow"])
def test_a_failed_gate_keeps_a_model_from_being_deployed(registry: Settings, alias: str) -> None:
    with pytest.raises(
        ModelError,
        match=r"calibration_by_segment of contract=two_year 1\.4 \(limits 0\.9 to 1\.1\).*--override",
    ):
        make(registry, "failed", FIRST, alias)
    with pytest.raises(RaiseException), connect(registry, Role.TRAINER) as trainer:
        trainer.execute("select ml.deploy(%s, 'failed', %s, 'x', 'by hand')", [alias, FIRST])
    assert spans(registry) == []
    assert statuses(registry)["failed"] == "rejected"


def test_an_override_is_kept_with_the_deployment(registry: Settings) -> None:
    promote(registry, "failed", FIRST, "a reason", "tests", override_reason=" the segment is closing ")
    [deployment] = show_version(registry, "failed")["deployments"]
    assert deployment["override_reason"] == "the segment is closing"
    assert statuses(registry)["failed"] == "production"


@pytest.mark.parametrize(
    "gates",
    [[], [GateResult("profit_against_champion", None, 0.0, None)],
     [GateResult("fairness", 0.7, 0.8, 1.25, "gender", "warn")]],
)  # fmt: skip
def test_a_model_that_passed_no_blocking_gate_is_not_deployed(
    registry: Settings, gates: list[GateResult]
) -> None:
    add_version(registry, "untried", gates=gates)
    with pytest.raises(ModelError, match="found failed: not one that was tried"):
        make(registry, "untried")


def test_a_failed_warning_does_not_block(registry: Settings) -> None:
    add_version(registry, "warned", gates=[PASSED, GateResult("fairness", 0.7, 0.8, 1.25, "gender", "warn")])
    make(registry, "warned")
    assert statuses(registry)["warned"] == "production"


def test_an_unknown_version_is_refused_with_the_known_ones(registry: Settings) -> None:
    with pytest.raises(ModelError, match=r"'telco-none'.*a \(base_rate\)"):
        make(registry, "telco-none")


def test_a_rollback_brings_back_the_former_champion_and_keeps_the_past(registry: Settings) -> None:
    make(registry, "a", FIRST)
    publish(registry, FIRST)
    make(registry, "b")
    publish(registry, FIRST + ONE_NIGHT)
    deployed = rollback(registry, "b calls the wrong customers", "tests")
    assert (deployed.model_version, deployed.valid_from) == ("a", FIRST + ONE_NIGHT + INSTANT)
    assert deployed.restored_valid_from == FIRST
    assert [champion_at(registry, FIRST + night * ONE_NIGHT) for night in range(3)] == ["a", "b", "a"]
    assert list_deployments(registry)[-1].reason == "b calls the wrong customers"
    assert statuses(registry) | {"a": "production", "b": "archived", "c": "development"} == statuses(registry)


def test_a_rollback_after_a_restated_night_holds_tonight_already(registry: Settings) -> None:
    make(registry, "a", FIRST)
    publish(registry, FIRST)
    make(registry, "b")
    night = publish(registry, FIRST + ONE_NIGHT)
    tonight = FIRST + 2 * ONE_NIGHT
    publish(registry, tonight, restated=night)
    rollback(registry, "b calls the wrong customers", "tests")
    assert champion_at(registry, FIRST + ONE_NIGHT) == "b"
    assert champion_at(registry, tonight) == "a"


def test_a_promotion_that_no_night_has_seen_is_withdrawn_by_the_rollback(registry: Settings) -> None:
    make(registry, "a", FIRST)
    publish(registry, FIRST)
    for valid_from in (None, FIRST + 20 * ONE_NIGHT):
        make(registry, "b", valid_from)
        rollback(registry, "too early", "tests")
        b = next(item for item in reversed(list_deployments(registry)) if item.model_version == "b")
        assert b.valid_to == b.valid_from
        assert {champion_at(registry, FIRST + night * ONE_NIGHT) for night in range(40)} == {"a"}
    assert statuses(registry)["b"] == "development"


def test_a_rollback_before_any_published_night_leaves_no_trace_in_data_time(registry: Settings) -> None:
    make(registry, "a", FIRST)
    make(registry, "b", FIRST + ONE_NIGHT)
    assert rollback(registry, "too early", "tests").valid_from == FIRST
    assert champion_at(registry, FIRST) == champion_at(registry, FIRST + ONE_NIGHT) == "a"


def test_each_further_rollback_goes_one_promotion_further_back(registry: Settings) -> None:
    for number, name in enumerate("abc"):
        make(registry, name)
        publish(registry, FIRST + number * ONE_NIGHT)
    assert [rollback(registry, "not that one", "tests").model_version for _ in range(2)] == ["b", "a"]
    with pytest.raises(ModelError, match=r"found a as the first\. Registered: .*churn-ml model promote"):
        rollback(registry, "not that one", "tests")
    assert champion_at(registry, FIRST + 9 * ONE_NIGHT) == "a"


def test_a_model_promoted_twice_is_rolled_back_to_what_was_between(registry: Settings) -> None:
    for number, name in enumerate("aba"):
        make(registry, name)
        publish(registry, FIRST + number * ONE_NIGHT)
    assert [rollback(registry, "not that one", "tests").model_version for _ in range(2)] == ["b", "a"]
    with pytest.raises(ModelError, match="found a as the first"):
        rollback(registry, "not that one", "tests")


def test_a_rollback_needs_something_to_go_back_to(registry: Settings) -> None:
    with pytest.raises(ModelError, match=r"found no champion at all.*churn-ml model promote <version>"):
        rollback(registry, "a reason", "tests")
    make(registry, "a")
    with pytest.raises(ModelError, match="reason"):
        rollback(registry, " ", "tests")


def test_a_rollback_keeps_the_override_of_what_it_brings_back(registry: Settings) -> None:
    promote(registry, "failed", FIRST, "a reason", "tests", override_reason="there is no other")
    publish(registry, FIRST)
    make(registry, "a")
    assert rollback(registry, "a is worse", "tests").override_reason == "there is no other"


def test_only_what_was_deployed_can_be_restored_by_hand(registry: Settings) -> None:
    with pytest.raises(RaiseException, match="to bring back"), connect(registry, Role.TRAINER) as trainer:
        trainer.execute("select ml.deploy('champion', 'failed', %s, 'x', 'x', null, %s)", [FIRST, FIRST])


def test_aliases_do_not_touch_each_other_and_a_challenger_can_be_retired(registry: Settings) -> None:
    make(registry, "a", FIRST)
    make(registry, "b", FIRST, "challenger")
    make(registry, "c", FIRST, "shadow")
    assert [deployed_at(registry, alias, FIRST) for alias in ("champion", "challenger", "shadow")] == [
        "a",
        "b",
        "c",
    ]
    assert statuses(registry)["b"] == statuses(registry)["c"] == "staging"
    publish(registry, FIRST)
    retire(registry, None, "it lost", "tests", alias="challenger")
    assert deployed_at(registry, "challenger", FIRST) == "b"
    assert deployed_at(registry, "challenger", FIRST + INSTANT) is None
    assert statuses(registry)["b"] == "development"
    with connect(registry, Role.TRAINER) as trainer:
        assert trainer.execute(
            "select model_version, retired_by, retired_reason from ml.model_deployments"
            " where retired_by is not null"
        ).fetchall() == [("b", "tests", "it lost")]
    with pytest.raises(ModelError, match="found none that holds"):
        retire(registry, None, "again", "tests", alias="challenger")
    with pytest.raises(ModelError, match="promote or roll back instead"):
        retire(registry, None, "no one", "tests", alias="champion")
    assert champion_at(registry, FIRST + INSTANT) == "a"


def test_automatic_promotion_is_a_setting_that_is_off(registry: Settings) -> None:
    assert promote_automatically(registry, "a", FIRST) is None
    assert spans(registry) == []


def test_automatic_promotion_takes_what_passed_and_nothing_published(
    registry: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    automatic = registry.model_copy(update={"automatic_promotion": "on"})
    deployed = promote_automatically(automatic, "a", FIRST)
    assert deployed is not None
    assert (deployed.valid_from, deployed.recorded_by) == (FIRST, "automatic promotion")
    assert promote_automatically(automatic, "a", FIRST) is None
    assert promote_automatically(automatic, "failed", FIRST) is None
    assert "failed is not promoted: Expected failed to have passed its blocking gates" in caplog.text
    publish(registry, FIRST + ONE_NIGHT)
    following = promote_automatically(automatic, "b", FIRST)
    assert following is not None
    assert following.valid_from == FIRST + ONE_NIGHT + INSTANT


def test_a_deployment_waits_for_a_publication_at_work(registry: Settings) -> None:
    """Else it would read that nothing is published, and change the champion of the night that then is."""
    make(registry, "a", FIRST)
    with connect(registry, Role.OWNER) as publisher:
        publisher.execute("select pg_advisory_xact_lock(7203449)")
        worker = threading.Thread(target=make, args=(registry, "b", FIRST))
        worker.start()
        worker.join(0.5)
        assert worker.is_alive()
        publisher.rollback()
        worker.join(20)
    assert not worker.is_alive()
    assert champion_at(registry, FIRST) == "b"


def test_of_promotions_at_the_same_moment_one_stands(registry: Settings) -> None:
    workers = [threading.Thread(target=make, args=(registry, name, FIRST)) for name in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    standing = [item for item in list_deployments(registry) if item.valid_to is None]
    assert len(standing) == 1
    assert len(list_deployments(registry)) == 3


def test_deployments_of_before_hold_as_they_did(server: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warehouse of the migration before: there a deployment held until the next of its alias began."""
    former = server.model_copy(update={"database_prefix": "t_former"})
    upgrade = provision.command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(provision.command, "upgrade", lambda config, _: upgrade(config, "0002"))
        provision.provision(former)
    try:
        moments = [("champion", FIRST), ("champion", FIRST + ONE_NIGHT), ("challenger", FIRST - ONE_NIGHT)]
        with connect(former, Role.OWNER) as owner:
            _add_former_version(owner, open_run(former, "training", FIRST).run_id)
            for alias, valid_from in moments:
                owner.execute(
                    "insert into ml.model_deployments (alias, model_version, valid_from, recorded_by, reason)"
                    " values (%s, 'former', %s, 'tests', 'a reason')",
                    [alias, valid_from],
                )
        provision.migrate(former, former.warehouse_database)
        assert [(item.alias, item.valid_from, item.valid_to) for item in list_deployments(former)] == [
            ("champion", FIRST, FIRST + ONE_NIGHT),
            ("champion", FIRST + ONE_NIGHT, None),
            ("challenger", FIRST - ONE_NIGHT, None),
        ]
        assert statuses(former) == {"former": "production"}
        [gate] = show_version(former, "former")["gates"]
        assert (gate["subject"], gate["severity"], gate["verdict"]) == ("", "block", "pass")
        with pytest.raises(ArtifactError, match=r"former is not used\..*Promote another version, or train"):
            load_model(former, "former")
    finally:
        drop_warehouse(former)


def _add_former_version(owner: Connection, run_id: str) -> None:
    owner.execute(
        "insert into ml.model_versions (model_version, run_id, dataset, label_definition, family,"
        " validation, as_of_date, known_as_of, seed, fold_count, row_count, churned_count,"
        " feature_contract, metrics, library_versions, artifact, artifact_sha256)"
        " values ('former', %s, 'telco', 'telco_30d', 'spline_logistic', 'cross_sectional', %s, %s, 1, 1,"
        " 1, 1, '[]', '{}', %s, %s, %s)",
        [run_id, FIRST.date(), FIRST, json.dumps(running_versions()), b"[]", sha256_of(b"[]")],
    )
    owner.execute(
        "insert into ml.gate_results (model_version, gate, observed, threshold_low, threshold_high, verdict)"
        " values ('former', 'calibration_overall', 1.0, 0.9, 1.1, 'pass')"
    )
