"""Challenger and shadow models: scored beside the champion, never published, never in its way."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from clones import clone_warehouse, drop_warehouse
from feature_tables import create_feature_tables, load_customers, synthetic_customers
from registered_models import register_model, training_customers

from churn_ml.errors import ArtifactError, PublishingError
from churn_ml.models.deployments import promote, retire
from churn_ml.publishing.publish import publish_run
from churn_ml.scoring.challengers import score_challengers
from churn_ml.scoring.night import score_night
from churn_ml.services.doctor import examine
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_repetition, open_run, read_run

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
AS_OF_DATE = date(2026, 10, 31)
FAMILIES = {"champion": "spline_logistic", "challenger": "decision_tree", "shadow": "base_rate"}


@pytest.fixture(scope="module")
def template(server: Settings) -> Iterator[Settings]:
    """A night with features, and a champion, a challenger and a shadow of three families."""
    cloned = clone_warehouse(server)
    create_feature_tables(cloned)
    strangers = synthetic_customers(40, seed=3, prefix="n")
    load_customers(
        cloned, pd.concat([training_customers(), strangers], ignore_index=True), AS_OF_DATE, CUT_OFF
    )
    for alias, family in FAMILIES.items():
        version = register_model(cloned, CUT_OFF, family=family)
        promote(cloned, version, None, "a reason", "tests", alias=alias)
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def warehouse(template: Settings) -> Iterator[Settings]:
    cloned = clone_warehouse(template)
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def night(warehouse: Settings) -> str:
    """A night whose champion has scored."""
    run_id = open_run(warehouse, "night", CUT_OFF, dag_id="churn_nightly", dag_run_id="one").run_id
    score_night(warehouse, run_id)
    return run_id


def read(settings: Settings, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with connect(settings, Role.OWNER) as owner:
        return owner.execute(statement, values).fetchall()


def versions(settings: Settings) -> dict[str, str]:
    return dict(
        read(settings, "select alias, model_version from ml.model_deployments where valid_to = 'infinity'")
    )


def scores(settings: Settings, run_id: str) -> list[tuple[Any, ...]]:
    return read(
        settings,
        "select customer_id, churn_probability, model_version, as_of_date from scores.customer_scores"
        ' where run_id = %s order by customer_id collate "C"',
        run_id,
    )


def test_each_scores_the_night_in_a_run_of_its_own_kind(warehouse: Settings, night: str) -> None:
    before = scores(warehouse, night)
    done = {beside.alias: beside for beside in score_challengers(warehouse, night)}
    assert set(done) == {"challenger", "shadow"}
    assert scores(warehouse, night) == before
    for alias, beside in done.items():
        run = read_run(warehouse, beside.run_id)
        assert (run.run_kind, run.status, run.as_of_date, run.known_as_of) == (
            alias, "succeeded", AS_OF_DATE, CUT_OFF,
        )  # fmt: skip
        assert run.model_version == beside.model_version == versions(warehouse)[alias]
        own = scores(warehouse, beside.run_id)
        assert [row[0] for row in own] == [row[0] for row in before]
        assert {row[2] for row in own} == {beside.model_version}
        assert [row[1] for row in own] != [row[1] for row in before]
        assert beside.rows_scored == len(before)
    assert len({row[1] for row in scores(warehouse, done["challenger"].run_id)}) > 2


def test_what_they_scored_is_never_published(warehouse: Settings, night: str) -> None:
    for beside in score_challengers(warehouse, night):
        with pytest.raises(PublishingError, match="champion"):
            publish_run(warehouse, beside.run_id, "by mistake")
        # Its model champion from then on: still it is no night.
        with (
            pytest.raises(Exception, match=f"is a {beside.alias} run"),
            connect(warehouse, Role.PUBLISHER) as p,
        ):
            p.execute("select ops.publish_run(%s, 'by mistake')", [beside.run_id])
    assert read(warehouse, "select count(*) from ops.published_runs") == [(0,)]


def test_a_champion_that_was_changed_stops_the_night(warehouse: Settings) -> None:
    run_id = open_run(warehouse, "night", CUT_OFF).run_id
    champion = versions(warehouse)["champion"]
    with connect(warehouse, Role.OWNER) as owner:
        owner.execute(
            "update ml.model_versions set golden_rows = jsonb_set(golden_rows, '{raw, 3}', '0.5')"
            " where model_version = %s",
            [champion],
        )
    with pytest.raises(ArtifactError, match=f"{champion} is not used.*found raw .* for row 3, which was 0.5"):
        score_night(warehouse, run_id)
    assert scores(warehouse, run_id) == []


def test_one_that_fails_is_recorded_and_stops_nobody(
    warehouse: Settings, night: str, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(warehouse, Role.OWNER) as owner:
        owner.execute(
            "update ml.model_versions set artifact = set_byte(artifact, 500, get_byte(artifact, 500) # 1)"
            " where model_version = %s",
            [versions(warehouse)["challenger"]],
        )
    failed, shadow = score_challengers(warehouse, night)
    assert (failed.alias, failed.rows_scored) == ("challenger", None)
    assert "changed after it was registered" in str(failed.failure)
    assert f"the challenger of {night} has not scored, the night goes on" in caplog.text
    assert read(
        warehouse, "select status, failure from ops.pipeline_runs where run_id = %s", failed.run_id
    ) == [("failed", failed.failure)]
    assert (shadow.alias, shadow.failure) == ("shadow", None)
    assert read_run(warehouse, night).status == "running"
    findings = {finding.part: finding for finding in examine(warehouse)}
    assert not findings["last challenger"].is_healthy
    assert findings["challenger"].is_healthy
    assert "last run" not in findings


def test_an_error_that_nobody_foresaw_stops_nobody_either(warehouse: Settings, night: str) -> None:
    with connect(warehouse, Role.OWNER) as owner:
        owner.execute(
            "update ml.model_versions set feature_contract = '[{\"name\": 1}]' where model_version = %s",
            [versions(warehouse)["challenger"]],
        )
    failed, shadow = score_challengers(warehouse, night)
    assert "TypeError" in str(failed.failure)
    assert shadow.failure is None


def test_a_second_attempt_takes_the_place_of_the_first(warehouse: Settings, night: str) -> None:
    first = score_challengers(warehouse, night)
    second = score_challengers(warehouse, night)
    assert not {beside.run_id for beside in first} & {beside.run_id for beside in second}
    for earlier, later in zip(first, second, strict=True):
        assert read_run(warehouse, earlier.run_id).status == "discarded"
        assert scores(warehouse, earlier.run_id) == []
        assert len(scores(warehouse, later.run_id)) == later.rows_scored


def test_another_night_of_the_day_keeps_its_own(warehouse: Settings, night: str) -> None:
    first = score_challengers(warehouse, night)
    again = open_run(warehouse, "night", CUT_OFF).run_id
    score_challengers(warehouse, again)
    assert all(read_run(warehouse, beside.run_id).status == "succeeded" for beside in first)


def test_none_is_deployed_at_the_cut_off_and_none_is_scored(warehouse: Settings) -> None:
    before = open_run(warehouse, "night", CUT_OFF - timedelta(microseconds=1)).run_id
    assert score_challengers(warehouse, before) == []
    for alias in ("challenger", "shadow"):
        retire(warehouse, CUT_OFF, "seen enough", "tests", alias=alias)
    assert score_challengers(warehouse, open_run(warehouse, "night", CUT_OFF).run_id) == []


def test_a_challenger_that_became_champion_is_not_scored_twice(warehouse: Settings, night: str) -> None:
    promote(warehouse, versions(warehouse)["challenger"], CUT_OFF, "it won", "tests")
    assert [beside.alias for beside in score_challengers(warehouse, night)] == ["shadow"]


def test_a_repetition_has_no_challengers(warehouse: Settings, night: str) -> None:
    with connect(warehouse, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.published_runs (run_id, as_of_date, known_as_of)"
            " select run_id, as_of_date, known_as_of from ops.pipeline_runs where run_id = %s",
            [night],
        )
    repetition = open_repetition(warehouse, "reproduce", AS_OF_DATE)
    assert score_challengers(warehouse, repetition.run_id) == []
    with (
        pytest.raises(Exception, match="is no night to score beside"),
        connect(warehouse, Role.SCORER) as scorer,
    ):
        scorer.execute("select ops.open_beside('x', 'challenger', %s)", [repetition.run_id])


def test_a_run_beside_a_night_does_not_answer_for_its_dag_run(warehouse: Settings, night: str) -> None:
    """What closes the newest run of a DAG run as failed must find the night."""
    score_challengers(warehouse, night)
    assert read(
        warehouse, "select run_id from ops.pipeline_runs where dag_run_id = 'one' or dag_id = 'churn_nightly'"
    ) == [(night,)]
