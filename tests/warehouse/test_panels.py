"""Training panels: which nights they hold, what is built anew, and whose labels a run makes."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from clones import clone_warehouse, drop_warehouse
from subscription_deliveries import WORLD_BEGINS, cut_off_after, deliver_world
from untested import build_layer

from churn_ml.errors import TransformationError
from churn_ml.landing.delivery import land_path
from churn_ml.services.dated_nights import Night, is_built, plan_labels
from churn_ml.services.panels import build_panel, plan_nights
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import Run, open_repetition, open_run, read_run

AUGUST, SEPTEMBER, LAST_DAY = date(2026, 8, 31), date(2026, 9, 30), date(2026, 11, 30)
OCTOBER = date(2026, 10, 31)
DELIVERIES = [WORLD_BEGINS, *(date(2026, month, 28) for month in range(4, 9)), AUGUST, SEPTEMBER, LAST_DAY]
FEATURES = "select * from features.customer_features where as_of_date = '2026-09-30' order by customer_id"
BUILT = "select as_of_date from ops.built_nights order by 1"


def rows(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with connect(settings, Role.AUDITOR) as auditor:
        return auditor.execute(statement).fetchall()


def change(settings: Settings, statement: str) -> None:
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute(statement)


def publish(settings: Settings, day: date, known_as_of: datetime, run: Run | None = None) -> None:
    """State that a night was published, without its marts; it takes the place of an earlier one."""
    run = run or open_run(settings, "night", known_as_of)
    change(settings, f"delete from ops.published_runs where as_of_date = '{day}'")
    change(
        settings,
        "insert into ops.published_runs (as_of_date, run_id, known_as_of)"
        f" values ('{day}', '{run.run_id}', '{known_as_of}')",
    )


@pytest.fixture(scope="module")
def panel_template(
    subscriptions_server: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, str]]:
    """The little world up to the end of November, with a training run whose panel is built."""
    template = clone_warehouse(subscriptions_server)
    for folder in deliver_world(tmp_path_factory.mktemp("world"), DELIVERIES):
        land_path(template, folder, first_load=True)
    run = open_run(template, "training", cut_off_after(LAST_DAY))
    for layer in ("staging", "intermediate", "features"):
        build_layer(template, run.run_id, layer)  # type: ignore[arg-type]
    summary = build_panel(template, run.run_id)
    assert summary.dates == summary.dates_built == (AUGUST, SEPTEMBER)
    yield template, run.run_id
    drop_warehouse(template)


@pytest.fixture
def panel(panel_template: tuple[Settings, str]) -> Iterator[tuple[Settings, Run]]:
    settings = clone_warehouse(panel_template[0])
    yield settings, read_run(settings, panel_template[1])
    drop_warehouse(settings)


def test_every_date_is_labelled_with_what_the_training_knows(panel: tuple[Settings, Run]) -> None:
    settings, run = panel
    found = rows(
        settings,
        "select distinct as_of_date, known_as_of, label_status <> 'immature'"
        " from features.customer_labels order by 1",
    )
    assert found == [
        (AUGUST, run.known_as_of, True),
        (SEPTEMBER, run.known_as_of, True),
        (LAST_DAY, run.known_as_of, False),
    ]


def test_panel_ends_where_labels_have_closed_and_begins_with_a_whole_window(
    panel: tuple[Settings, Run],
) -> None:
    settings, run = panel
    nights = plan_nights(settings, run)
    assert nights == [Night(day, cut_off_after(day)) for day in (AUGUST, SEPTEMBER)]
    day_before = open_run(settings, "training", cut_off_after(SEPTEMBER + timedelta(days=46)))
    assert [night.as_of_date for night in plan_nights(settings, day_before)] == [AUGUST]


def test_nights_that_stand_are_not_built_again(panel: tuple[Settings, Run]) -> None:
    settings, run = panel
    again = build_panel(settings, run.run_id, try_number=2)
    assert (again.dates, again.dates_built) == ((AUGUST, SEPTEMBER), ())
    assert again.label_rows == rows(
        settings, "select count(*) from features.customer_population where as_of_date < '2026-11-30'"
    )[0][0]  # fmt: skip


def test_changed_code_builds_its_nights_again_to_the_same_rows(panel: tuple[Settings, Run]) -> None:
    settings, run = panel
    before = rows(settings, FEATURES)
    change(settings, "update ops.built_nights set code_sha256 = 'old' where as_of_date = '2026-09-30'")
    assert build_panel(settings, run.run_id).dates_built == (SEPTEMBER,)
    assert before
    assert rows(settings, FEATURES) == before


def test_published_night_keeps_the_cut_off_that_it_had(panel: tuple[Settings, Run]) -> None:
    settings, run = panel
    cut_off = datetime(2026, 10, 1, 5, tzinfo=UTC)
    publish(settings, SEPTEMBER, cut_off)
    assert plan_nights(settings, run) == [Night(AUGUST, cut_off_after(AUGUST)), Night(SEPTEMBER, cut_off)]


def test_restated_night_keeps_the_cut_off_of_the_night_itself(panel: tuple[Settings, Run]) -> None:
    settings, run = panel
    cut_off = datetime(2026, 10, 1, 5, tzinfo=UTC)
    publish(settings, SEPTEMBER, cut_off)
    for day in (AUGUST, SEPTEMBER):
        restated = open_repetition(settings, "restate", day, cut_off_after(LAST_DAY) - timedelta(hours=1))
        publish(settings, day, restated.known_as_of, restated)
    assert plan_nights(settings, run) == [Night(AUGUST, cut_off_after(AUGUST)), Night(SEPTEMBER, cut_off)]


def test_rows_that_landed_late_but_count_as_known_build_the_night_again(
    panel: tuple[Settings, Run], tmp_path: Path
) -> None:
    settings, _ = panel
    for folder in deliver_world(tmp_path, [date(2026, 9, 5)], world=[]):
        land_path(settings, folder, first_load=True)
    assert standing(settings) == [AUGUST]


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param("landed_at = landed_at - interval '1 day'", id="its landing began before the run"),
        pytest.param(
            "file_format = 'table', known_at = '2026-12-01'",
            id="a table, its rows known when they happened",
            marks=pytest.mark.long,
        ),
    ],
)
def test_night_is_built_again_for_every_batch_that_its_run_did_not_stage(
    panel: tuple[Settings, Run], tmp_path: Path, batch: str
) -> None:
    settings, run = panel
    for folder in deliver_world(tmp_path, [date(2026, 8, 5)], world=[]):
        land_path(settings, folder, first_load=True)
    change(settings, f"update ops.landing_batches set {batch} where as_of_date = '2026-08-05'")
    assert standing(settings) == []
    other = open_run(settings, "training", run.known_as_of)
    build_layer(settings, other.run_id, "staging")
    assert standing(settings) == [], "another run staged it after the nights were built"
    assert build_panel(settings, other.run_id).dates_built == (AUGUST, SEPTEMBER)
    assert standing(settings) == [AUGUST, SEPTEMBER]


def standing(settings: Settings) -> list[date]:
    """The dates of the panel whose features stand."""
    with connect(settings, Role.TRANSFORMER) as warehouse:
        return [
            day
            for day in (AUGUST, SEPTEMBER)
            if is_built(settings, warehouse, Night(day, cut_off_after(day)))
        ]


def test_night_of_a_panel_has_the_features_that_the_night_itself_builds(panel: tuple[Settings, Run]) -> None:
    settings, _ = panel
    before = rows(settings, FEATURES)
    night = open_run(settings, "night", cut_off_after(SEPTEMBER))
    for layer in ("staging", "intermediate", "features"):
        build_layer(settings, night.run_id, layer)  # type: ignore[arg-type]
    assert rows(settings, FEATURES) == before
    assert rows(settings, "select run_id from ops.built_nights where as_of_date = '2026-09-30'") == [
        (night.run_id,)
    ]


def test_failed_night_is_named_and_a_retry_goes_on_with_it(panel: tuple[Settings, Run]) -> None:
    settings, run = panel
    change(settings, "delete from ops.built_nights")
    change(
        settings,
        "alter table features.customer_population"
        " add constraint refused check (as_of_date <> '2026-09-30') not valid",
    )
    with pytest.raises(TransformationError, match="the night 2026-09-30 known as of 2026-10-01T02:00"):
        build_panel(settings, run.run_id)
    assert rows(settings, BUILT) == [(AUGUST,)]
    change(settings, "alter table features.customer_population drop constraint refused")
    assert build_panel(settings, run.run_id, try_number=2).dates_built == (SEPTEMBER,)


def planned_labels(settings: Settings, run_kind: str, known_as_of: datetime) -> list[tuple[object, ...]]:
    run = open_run(settings, run_kind, known_as_of)
    with connect(settings, Role.TRANSFORMER) as warehouse:
        plan_labels(settings, warehouse, run)
    return rows(settings, f"select as_of_date from ops.label_nights where run_id = '{run.run_id}' order by 1")


def state_outcomes(settings: Settings, day: date, stating: date) -> None:
    """State that the published night of `stating` told what became of the published one of `day`."""
    change(
        settings,
        "insert into ops.run_bases (run_id, base_role, base_as_of_date, base_run_id)"
        " select stating.run_id, 'matured', scored.as_of_date, scored.run_id"
        " from ops.published_runs as stating, ops.published_runs as scored"
        f" where stating.as_of_date = '{stating}' and scored.as_of_date = '{day}'",
    )


def test_night_labels_itself_and_the_published_nights_that_matured(panel: tuple[Settings, Run]) -> None:
    settings, _ = panel
    for day in (AUGUST, SEPTEMBER, OCTOBER):
        publish(settings, day, cut_off_after(day))
    state_outcomes(settings, AUGUST, OCTOBER)
    tonight = cut_off_after(LAST_DAY) + timedelta(days=1)
    assert planned_labels(settings, "night", tonight) == [(SEPTEMBER,), (date(2026, 12, 1),)]
    assert planned_labels(settings, "training", tonight) == [(date(2026, 12, 1),)]
    change(settings, f"delete from ops.published_runs where as_of_date = '{OCTOBER}'")
    assert planned_labels(settings, "night", tonight) == [(AUGUST,), (SEPTEMBER,), (date(2026, 12, 1),)]


def test_night_under_another_label_definition_has_no_outcome(panel: tuple[Settings, Run]) -> None:
    settings, _ = panel
    for day in (AUGUST, SEPTEMBER):
        publish(settings, day, cut_off_after(day))
    change(
        settings,
        "update ops.pipeline_runs set label_definition = 'another' where run_id ="
        f" (select run_id from ops.published_runs where as_of_date = '{AUGUST}')",
    )
    tonight = cut_off_after(LAST_DAY) + timedelta(days=1)
    assert planned_labels(settings, "night", tonight) == [(SEPTEMBER,), (date(2026, 12, 1),)]


def test_restated_night_is_labelled_anew(panel: tuple[Settings, Run]) -> None:
    settings, _ = panel
    for day in (SEPTEMBER, OCTOBER):
        publish(settings, day, cut_off_after(day))
    state_outcomes(settings, SEPTEMBER, OCTOBER)
    tonight = cut_off_after(LAST_DAY) + timedelta(days=1)
    assert planned_labels(settings, "night", tonight) == [(date(2026, 12, 1),)]
    restated = open_repetition(settings, "restate", SEPTEMBER, cut_off_after(LAST_DAY))
    publish(settings, SEPTEMBER, restated.known_as_of, restated)
    assert planned_labels(settings, "night", tonight) == [(SEPTEMBER,), (date(2026, 12, 1),)]


def test_snapshot_dataset_has_no_panel(settings: Settings) -> None:
    run = open_run(settings, "training", cut_off_after(LAST_DAY))
    summary = build_panel(settings, run.run_id)
    assert (summary.dates, summary.dates_built, summary.label_rows) == ((), (), 0)
