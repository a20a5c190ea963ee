"""``churn-ml demo`` of the dated dataset, made smaller, and its nights repeated after late rows have landed.

The same code as `make demo` on a live Airflow: fewer customers, a shorter history, two nights of seven.
"""

import csv
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from command_line import CommandLine
from nightly import cut_off_of
from typer.testing import CliRunner

from churn_ml.cli import app, demo_history
from churn_ml.landing.delivery import land_file
from churn_ml.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.long]

MATURED, NEWEST = date(2026, 8, 31), date(2026, 10, 31)
SMALLER = {
    "CUSTOMERS": 2000,
    "_HISTORY": timedelta(days=300),
    "_MONTH_ENDS": 1,
    "_CONSECUTIVE": 1,
    "_LEAST_DAYS_BETWEEN": 40,
}


@pytest.fixture(scope="module")
def command_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path_factory.mktemp("history") / "home", "subscriptions")
    yield line
    line.run("down", "--purge")


@pytest.fixture(scope="module")
def demonstration(command_line: CommandLine) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALLER.items():
            patch.setattr(demo_history, name, value)
        arguments = ["demo", "--as-of", NEWEST.isoformat(), "--json"]
        result = CliRunner().invoke(app, arguments, env=command_line.variables)
    assert result.exit_code == 0, (result.exception, result.stderr[-4000:])
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def late_rows(command_line: CommandLine, demonstration: dict[str, object]) -> int:
    """Land a restatement of the usage of August, known after every published night: nobody was there."""
    settings = Settings(_env_file=None, home=command_line.home, dataset="subscriptions")
    rows = list(restated_usage(settings.inbox))
    path = command_line.home / "late" / "usage.csv"
    path.parent.mkdir()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    day = NEWEST + timedelta(days=1)
    return land_file(settings, path, "usage", as_of_date=day, known_at=cut_off_of(day)).rows_landed


def restated_usage(inbox: Path) -> Iterator[dict[str, str]]:
    for day in range(8, 29):
        with (inbox / f"2026-08-{day:02d}" / "usage.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield row | {"revision": "9", "session_count": "0", "active_minutes": "0"}


def repeated(command_line: CommandLine, command: str, day: date) -> dict[str, dict[str, object]]:
    [night] = command_line.result(command, "--as-of", day.isoformat())  # type: ignore[misc]
    assert night["night"]["state"] == "success"
    return night


def test_history_has_its_nights_and_the_newest_one_is_told(demonstration: dict[str, object]) -> None:
    nights = demonstration["nights"]
    assert isinstance(nights, list)
    assert [night[0] for night in nights] == [day.isoformat() for day in (MATURED, NEWEST)]
    assert demonstration["as_of_date"] == NEWEST.isoformat()
    assert all(scored > 1500 for _, scored, *_ in nights)


def test_model_was_validated_forward_in_time(demonstration: dict[str, object]) -> None:
    metrics = demonstration["metrics"]
    assert isinstance(metrics, dict)
    assert demonstration["validation"] == "out_of_time"
    assert metrics["roc_auc"] > 0.65


def test_only_a_closed_window_is_held_against_what_happened(demonstration: dict[str, object]) -> None:
    [matured] = demonstration["matured_nights"]  # type: ignore[misc]
    assert matured["as_of_date"] == MATURED.isoformat()
    assert matured["customer_count"] > 1500
    assert 0.4 < matured["observed_count"] / matured["expected_count"] < 2.5
    assert float(matured["observed_revenue_loss_amount"]) > 0


def test_interrupted_demonstration_goes_on_after_the_newest_published_night(
    command_line: CommandLine, demonstration: dict[str, object]
) -> None:
    settings = Settings(_env_file=None, home=command_line.home, dataset="subscriptions")
    further = NEWEST + timedelta(days=1)
    assert demo_history.nights_left(settings, [MATURED, NEWEST, further]) == [further]
    assert demo_history.nights_left(settings, [MATURED, NEWEST]) == [NEWEST]


def test_late_rows_leave_the_reproduced_night_equal_by_hash(
    command_line: CommandLine, late_rows: int
) -> None:
    assert late_rows > 500
    comparison = repeated(command_line, "reproduce", MATURED)["comparison"]
    assert comparison["is_equal"] is True
    assert {mart["mart"] for mart in comparison["marts"]} >= {"fct_churn_score", "revenue_at_risk_daily"}  # type: ignore[attr-defined]


def test_late_rows_show_in_the_restated_night_and_are_listed(
    command_line: CommandLine, late_rows: int
) -> None:
    comparison = repeated(command_line, "restate", MATURED)["comparison"]
    assert comparison["is_equal"] is False
    assert comparison["customers"]["probability"] > 100  # type: ignore[index]
    assert {row["column"] for row in comparison["rows"]} & {"churn_probability", "feature_row_md5"}  # type: ignore[attr-defined]
