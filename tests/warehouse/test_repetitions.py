"""Repeating a night: what may be opened, who scores it, and what its rows are compared with."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clones import clone_warehouse, drop_warehouse
from nightly import cut_off_of, read
from untested import build_layer

from churn_ml.errors import PublishingError, RepetitionError, ReproductionError, SettingsError
from churn_ml.landing.delivery import land_file
from churn_ml.publishing.comparison import compare_run, read_comparison
from churn_ml.publishing.publish import discard_run, publish_run
from churn_ml.quality.gates import run_gate
from churn_ml.scoring.night import score_night
from churn_ml.services.airflow import mint_repetition
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, close_run, open_repetition, open_run, read_run, resume_repetition

DAY = date(2026, 10, 31)
DAG_RUN: dict[str, Any] = {"dag_id": "churn_backfill", "dag_run_id": "one"}
LATER = cut_off_of(DAY + timedelta(days=9))


def land_late(settings: Settings, snapshots: dict[date, Path], known_at: datetime = LATER) -> None:
    """Land a correction of the published snapshot: every monthly contract becomes one of two years."""
    corrected = settings.inbox.parent / "corrected.csv"
    corrected.write_text(snapshots[DAY].read_text().replace("Month-to-month", "Two year"))
    land_file(settings, corrected, "customers", as_of_date=DAY, known_at=known_at)


def build(settings: Settings, run: Run) -> Run:
    """Build a repetition up to its last gate; what the gates before it say has tests of its own."""
    for layer in ("staging", "intermediate", "features"):
        build_layer(settings, run.run_id, layer)
    score_night(settings, run.run_id)
    build_layer(settings, run.run_id, "marts")
    run_gate(settings, run.run_id, "marts")
    return run


@pytest.fixture(scope="module")
def reproduced_template(
    published_template: Settings, snapshots: dict[date, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Run]]:
    """The published night, a correction that landed later, and a reproduction that was not compared yet."""
    template = clone_warehouse(published_template)
    template = template.model_copy(update={"inbox_dir": tmp_path_factory.mktemp("repeated")})
    land_late(template, snapshots)
    yield template, build(template, open_repetition(template, "reproduce", DAY))
    drop_warehouse(template)


@pytest.fixture
def reproduced(reproduced_template: tuple[Settings, Run]) -> Iterator[tuple[Settings, Run]]:
    """The same in a warehouse of the test's own."""
    settings = clone_warehouse(reproduced_template[0])
    yield settings, reproduced_template[1]
    drop_warehouse(settings)


def published_run(settings: Settings) -> str:
    [(run_id,)] = read(settings, "select distinct run_id from marts.dim_scoring_run")
    return str(run_id)


def test_reproduction_knows_what_the_published_night_knew(published: Settings) -> None:
    run = open_repetition(published, "reproduce", DAY)
    assert (run.run_kind, run.as_of_date, run.known_as_of) == ("reproduce", DAY, cut_off_of(DAY))
    assert run.repeats_run_id == published_run(published)


def test_night_that_is_not_published_is_not_reproduced(published: Settings) -> None:
    with pytest.raises(
        RepetitionError, match=r"found none. Published: 1 nights .* 2026-10-31.*churn-ml night"
    ):
        open_repetition(published, "reproduce", DAY + timedelta(days=1))
    with pytest.raises(RepetitionError, match="churn-ml restate"):
        open_repetition(published, "reproduce", DAY, LATER)


@pytest.mark.parametrize("other", [{"publish": True}, {"known_as_of": LATER.isoformat()}])
def test_params_that_only_a_restatement_takes_are_refused(
    published: Settings, other: dict[str, object]
) -> None:
    class DagRun:
        dag_id, run_id, run_type, data_interval_end = "churn_backfill", "one", "manual", cut_off_of(DAY)

    with pytest.raises(SettingsError, match="with run_kind restate only"):
        mint_repetition(published, DagRun(), {"run_kind": "reproduce"} | other)


def test_restatement_knows_all_that_has_landed(published: Settings, snapshots: dict[date, Path]) -> None:
    with pytest.raises(RepetitionError, match="Nothing became known since"):
        open_repetition(published, "restate", DAY)
    land_late(published, snapshots)
    run = open_repetition(published, "restate", DAY)
    assert (run.as_of_date, run.known_as_of) == (DAY, LATER)
    assert (run.repeats_run_id, run.champion_cut_off) == (published_run(published), cut_off_of(DAY))


def test_restatement_of_a_night_that_never_was_is_scored_by_its_nominal_champion(published: Settings) -> None:
    earlier = DAY - timedelta(days=7)
    run = open_repetition(published, "restate", earlier)
    assert (run.repeats_run_id, run.champion_cut_off) == (None, cut_off_of(earlier))
    assert run.known_as_of == cut_off_of(DAY)


def test_one_repetition_of_a_date_at_a_time(published: Settings) -> None:
    first = open_repetition(published, "reproduce", DAY, **DAG_RUN)
    with pytest.raises(RepetitionError, match=rf"found {first.run_id} \(one\).*churn-ml run discard"):
        open_repetition(published, "restate", DAY, LATER, dag_run_id="two", dag_id="churn_backfill")
    discard_run(published, first.run_id)
    assert read_run(published, first.run_id).status == "discarded"
    open_repetition(published, "restate", DAY, LATER)


def test_first_task_that_runs_again_does_not_block_itself(published: Settings) -> None:
    first = open_repetition(published, "reproduce", DAY, **DAG_RUN)
    second = open_repetition(published, "reproduce", DAY, **DAG_RUN)
    assert (read_run(published, first.run_id).status, second.status) == ("failed", "running")


def test_cleared_tasks_go_on_with_the_same_run_unless_another_took_its_place(published: Settings) -> None:
    run = open_repetition(published, "reproduce", DAY, **DAG_RUN)
    close_run(published, run.run_id, "failed", "score: a full disk")
    resume_repetition(published, **DAG_RUN)
    assert read_run(published, run.run_id).status == "running"
    close_run(published, run.run_id, "failed", "score: a full disk")
    other = open_repetition(published, "reproduce", DAY)
    with pytest.raises(RepetitionError, match=other.run_id):
        resume_repetition(published, **DAG_RUN)


def test_reproduction_is_equal_by_hash_whatever_arrived_late(reproduced: tuple[Settings, Run]) -> None:
    settings, run = reproduced
    before = published_run(settings)
    comparison = compare_run(settings, run.run_id)
    assert comparison.is_equal
    assert {"fct_churn_score", "dim_scoring_run", "customer_churn_current"} <= {
        m.mart for m in comparison.marts
    }
    assert read_run(settings, comparison.run_id).status == "succeeded"
    assert published_run(settings) == before, "a reproduction is not shown to BI"
    assert read_comparison(settings, comparison.run_id) == comparison


def test_reproduction_that_differs_fails_and_says_where_and_why(reproduced: tuple[Settings, Run]) -> None:
    settings, run = reproduced
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "update marts.fct_churn_score set segment = 'other' where run_id = %(run)s"
            " and customer_id = (select min(customer_id) from marts.fct_churn_score where run_id = %(run)s)",
            {"run": run.run_id},
        )
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "update ops.pipeline_runs set code_version = 'another commit' where run_id = %s", [run.run_id]
        )
    with pytest.raises(
        ReproductionError,
        match=r"other rows in fct_churn_score .*segment was .*, is other.*code_version was .*another commit",
    ):
        compare_run(settings, run.run_id)
    assert read_run(settings, run.run_id).status == "failed"
    assert read_comparison(settings, run.run_id).differing_marts == ("fct_churn_score",)


def test_reproduction_is_held_against_what_was_published_not_against_rows_altered_since(
    reproduced: tuple[Settings, Run],
) -> None:
    settings, run = reproduced
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "update marts.fct_churn_score set region = 'elsewhere' where run_id <> %s", [run.run_id]
        )
    assert compare_run(settings, run.run_id).is_equal


def test_restatement_lists_what_differs_is_published_when_asked_and_is_itself_reproduced(
    published: Settings, snapshots: dict[date, Path]
) -> None:
    before = published_run(published)
    land_late(published, snapshots)
    run = build(published, open_repetition(published, "restate", DAY))
    comparison = compare_run(published, run.run_id)
    assert not comparison.is_equal
    assert comparison.customers is not None
    assert comparison.customers.probability > 100
    assert (comparison.customers.appeared, comparison.customers.vanished) == (0, 0)
    listed = read_comparison(published, run.run_id).rows
    assert ("fct_churn_score", "contract") in {(row.mart, row.column) for row in listed}
    assert "known_as_of" not in {row.column for row in listed}
    assert (published_run(published), read_run(published, run.run_id).status) == (before, "succeeded")
    assert publish_run(published, run.run_id, "late contracts").superseded_run_id == before
    again = build(published, open_repetition(published, "reproduce", DAY))
    comparison = compare_run(published, again.run_id)
    assert (comparison.repeats_run_id, comparison.is_equal) == (run.run_id, True)
    assert read_run(published, again.run_id).champion_cut_off == cut_off_of(DAY)


def test_restatement_with_knowledge_of_the_future_is_not_published(published: Settings) -> None:
    run = open_repetition(published, "restate", DAY, LATER)
    with connect(published, Role.SCORER) as scorer:
        scorer.execute("select ops.record_run_model(%s, ml.champion_at(%s))", [run.run_id, cut_off_of(DAY)])
    with pytest.raises(PublishingError, match="without --known-as-of"):
        publish_run(published, run.run_id, "test")


def test_only_a_built_repetition_is_compared(published: Settings) -> None:
    with pytest.raises(PublishingError, match="repeats a night"):
        compare_run(published, open_run(published, "night", LATER).run_id)
    run = open_repetition(published, "reproduce", DAY)
    with pytest.raises(PublishingError, match="Build layer marts"):
        compare_run(published, run.run_id)
    with pytest.raises(PublishingError, match="found none"):
        read_comparison(published, run.run_id)
