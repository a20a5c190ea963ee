"""How long a customer is known to have stayed, and the model that expects it of others."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from clones import clone_warehouse, drop_warehouse
from subscription_deliveries import Row, change, cut_off_after, deliver_day, plan
from untested import build_layer

from churn_ml.landing.delivery import land_path
from churn_ml.services.dated_nights import Night, feature_code_sha256, write_label_nights
from churn_ml.services.dbt import build_labels, build_night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run

DAY = date(2026, 3, 31)  # its label window opens on 8 April and closes on 8 May
NIGHT = Night(DAY, cut_off_after(DAY))
RUN_DAY = date(2026, 10, 31)  # ends are certain before 22 October: 7 days of grace, 3 of allowance
START, SOON = "2026-01-10T09:00:00Z", "2026-04-01T09:00:00Z"
FOLLOWED = 197.0  # days from 8 April to 22 October

# What happened after the start, as (moment, change), and what the relation says: days, censored.
LIVES: dict[str, tuple[list[tuple[str, str]], tuple[float, bool] | None]] = {
    "Cstays": ([], (FOLLOWED, True)),
    "Cthird": ([("2026-07-08T12:00:00Z", "end_voluntary")], (91.5, False)),
    "Cunpaid": ([("2026-06-08T00:00:00Z", "end_involuntary")], (61.0, False)),
    "Creturns": ([("2026-07-01T00:00:00Z", "end_voluntary"), ("2026-07-07T23:59:59Z", "return")],
                 (FOLLOWED, True)),
    "Cagain": ([("2026-07-01T00:00:00Z", "end_voluntary"), ("2026-07-05T00:00:00Z", "return"),
                ("2026-09-01T00:00:00Z", "end_voluntary")], (146.0, False)),
    "Cslow": ([("2026-07-01T00:00:00Z", "end_voluntary"), ("2026-07-08T00:00:00Z", "return")],
              (84.0, False)),
    "Cfirst": ([("2026-05-08T00:00:00Z", "end_voluntary")], (30.0, False)),
    "Clast": ([("2026-05-07T23:59:59Z", "end_voluntary")], None),
    "Cgap": ([("2026-04-03T00:00:00Z", "end_voluntary")], None),
    "Ccertain": ([("2026-10-21T00:00:00Z", "end_voluntary")], (196.0, False)),
    "Cfresh": ([("2026-10-22T00:00:00Z", "end_voluntary")], (FOLLOWED, True)),
    "Clate": ([], (FOLLOWED, True)),
}  # fmt: skip
LATE = ("2026-08-01T00:00:00Z", "end_voluntary")


def changes(customer_id: str, happened: list[tuple[str, str]], first: int = 1) -> list[Row]:
    return [
        change(f"{customer_id}-{number}", customer_id, moment, change_type=change_type)
        for number, (moment, change_type) in enumerate(happened, start=first)
    ]


def deliver_lives(settings: Settings, inbox: Path) -> None:
    starts = [change(f"{customer_id}-0", customer_id, START) for customer_id in LIVES]
    later = [row for customer_id, (happened, _) in LIVES.items() for row in changes(customer_id, happened)]
    land_path(
        settings, deliver_day(inbox, DAY, subscriptions=starts, plans=[plan("P1", START)]), first_load=True
    )
    land_path(settings, deliver_day(inbox, RUN_DAY, subscriptions=later), first_load=True)
    next_day = RUN_DAY + timedelta(days=1)
    late = changes("Clate", [LATE])
    land_path(settings, deliver_day(inbox, next_day, subscriptions=late), first_load=True)


@pytest.fixture(scope="module")
def built(
    subscriptions_server: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Run]]:
    """The night of 31 March, built by the training that knows all but the late end."""
    settings = clone_warehouse(subscriptions_server)
    deliver_lives(settings, tmp_path_factory.mktemp("inbox"))
    run = open_run(settings, "training", cut_off_after(RUN_DAY))
    for layer in ("staging", "intermediate", "features"):
        build_layer(settings, run.run_id, layer)
    build_night(settings, run, NIGHT)
    yield settings, run
    drop_warehouse(settings)


def rows(settings: Settings, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with connect(settings, Role.AUDITOR) as auditor:
        return auditor.execute(statement, list(parameters)).fetchall()


def retention(settings: Settings, run: Run) -> dict[str, tuple[object, ...]]:
    """Follow the customers of 31 March with what `run` knows."""
    with connect(settings, Role.TRANSFORMER) as warehouse:
        write_label_nights(warehouse, run, [NIGHT])
    build_labels(settings, run)
    return told(settings, run)


def told(settings: Settings, run: Run) -> dict[str, tuple[object, ...]]:
    found = rows(
        settings,
        "select customer_id, retained_days, is_censored, churn_date from features.customer_retention"
        " where as_of_date = %s and known_as_of = %s",
        DAY, run.known_as_of,
    )  # fmt: skip
    assert len(found) == len({customer_id for customer_id, *_ in found})
    return {str(customer_id): tuple(outcome) for customer_id, *outcome in found}


@pytest.fixture(scope="module")
def followed(built: tuple[Settings, Run]) -> Mapping[str, tuple[object, ...]]:
    return retention(*built)


@pytest.mark.parametrize("customer_id", LIVES)
def test_customer_is_followed_from_the_window_to_a_lasting_end(
    followed: Mapping[str, tuple[object, ...]], customer_id: str
) -> None:
    happened, expected = LIVES[customer_id]
    found = followed.get(customer_id)
    assert (found and found[:2]) == expected
    if found:
        assert found[2] == (None if found[1] else date.fromisoformat(happened[-1][0][:10]) if
                            customer_id != "Cslow" else date(2026, 7, 1))  # fmt: skip


def test_exactly_the_retained_are_followed(
    built: tuple[Settings, Run], followed: Mapping[str, tuple[object, ...]]
) -> None:
    settings, run = built
    labelled = rows(
        settings,
        "select customer_id from features.customer_labels"
        " where as_of_date = %s and known_as_of = %s and label_status = 'retained'",
        DAY, run.known_as_of,
    )  # fmt: skip
    assert {customer_id for (customer_id,) in labelled} == set(followed)


def test_involuntary_end_is_censored_where_it_does_not_count(
    built: tuple[Settings, Run], tmp_path: Path
) -> None:
    settings, run = built
    (tmp_path / "datasets").mkdir()
    (tmp_path / "dbt_project").symlink_to(settings.project_dir / "dbt_project")
    declared = (settings.project_dir / "datasets" / "subscriptions.yml").read_text()
    changed = declared.replace('"subscriptions_30d"', '"subscriptions_30d_voluntary"')
    (tmp_path / "datasets" / "subscriptions.yml").write_text(changed)
    before = told(settings, run)
    with connect(settings, Role.TRANSFORMER) as warehouse:
        write_label_nights(warehouse, run, [NIGHT])
    build_labels(settings.model_copy(update={"project_dir": tmp_path}), run)
    found = {
        str(customer_id): outcome
        for customer_id, *outcome in rows(
            settings,
            "select customer_id, retained_days, is_censored from features.customer_retention"
            " where label_definition = 'subscriptions_30d_voluntary'",
        )
    }
    assert found["Cunpaid"] == [61.0, True]
    assert found["Cthird"] == [91.5, False]
    with connect(settings, Role.TRANSFORMER) as warehouse:
        for relation in ("customer_labels", "customer_retention"):
            warehouse.execute(
                f"delete from features.{relation} where label_definition = 'subscriptions_30d_voluntary'"
            )
    assert told(settings, run) == before


def test_late_end_is_known_to_later_runs_only(
    built: tuple[Settings, Run], followed: Mapping[str, tuple[object, ...]]
) -> None:
    settings, run = built
    later = open_run(settings, "training", cut_off_after(RUN_DAY + timedelta(days=1)))
    assert retention(settings, later)["Clate"] == (115.0, False, date(2026, 8, 1))
    assert told(settings, run) == retention(settings, run) == followed


def test_night_without_closed_labels_follows_nobody(subscriptions_server: Settings, tmp_path: Path) -> None:
    settings = clone_warehouse(subscriptions_server)
    try:
        starts = [change("Cone-0", "Cone", START)]
        land_path(settings, deliver_day(tmp_path, DAY, subscriptions=starts), first_load=True)
        run = open_run(settings, "night", NIGHT.known_as_of)
        for layer in ("staging", "intermediate", "features"):
            build_layer(settings, run.run_id, layer)
        assert rows(settings, "select count(*) from features.customer_retention") == [(0,)]
        assert rows(settings, "select count(*) from features.customer_labels") == [(1,)]
    finally:
        drop_warehouse(settings)


def test_changed_retention_builds_no_night_again(built: tuple[Settings, Run], tmp_path: Path) -> None:
    """What is told of outcomes is no part of a night's features."""
    settings, _ = built
    for folder in ("dbt_project", "datasets"):
        shutil.copytree(settings.project_dir / folder, tmp_path / folder)
    copied = settings.model_copy(update={"project_dir": tmp_path})
    before = feature_code_sha256(copied)
    models = tmp_path / "dbt_project" / "models" / "features" / "subscriptions"
    with (models / "subscriptions__customer_retention.sql").open("a") as file:
        file.write("\n-- changed\n")
    assert feature_code_sha256(copied) == before
