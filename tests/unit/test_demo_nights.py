"""The dated demonstration: which nights it runs, and what it refuses before anything starts."""

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from churn_ml.cli import app
from churn_ml.cli.demo_history import demonstrated_nights

CLOSES_AFTER = timedelta(days=7 + 30 + 7 + 3)
"""Gap, horizon, grace and the allowance for late rows of ``subscriptions_30d``."""

DAYS = [date(2026, 1, 1) + timedelta(days=number) for number in range(3 * 365)]


def test_nights_are_four_month_ends_and_three_days_in_a_row() -> None:
    assert demonstrated_nights(date(2026, 10, 31)) == [
        date(2026, 6, 30), date(2026, 7, 31), date(2026, 8, 31), date(2026, 9, 30),
        date(2026, 10, 29), date(2026, 10, 30), date(2026, 10, 31),
    ]  # fmt: skip


@pytest.mark.parametrize("back", [120, 90, 60, 30])
def test_a_month_end_is_about_as_far_back_on_every_day_of_the_year(back: int) -> None:
    far = [day for day in DAYS if not any(
        abs((day - night).days - back) <= 17 and (night + timedelta(days=1)).day == 1
        for night in demonstrated_nights(day)[:4]
    )]  # fmt: skip
    assert far == []


def test_two_nights_at_least_have_their_outcome() -> None:
    few = [day for day in DAYS if sum(night + CLOSES_AFTER <= day for night in demonstrated_nights(day)) < 2]
    assert few == []


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["demo", *arguments])
    return re.sub(r"\s+", " ", str(result.exception))


def test_missing_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    assert "Expected a file at nowhere.csv" in refusal("--dataset", "telco", "--file", "nowhere.csv")
    assert not (tmp_path / "home").exists()


def test_single_file_of_a_dated_dataset_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    file = tmp_path / "customers.csv"
    file.write_text("customer_id\n")
    assert "a folder per delivery day" in refusal("--file", str(file))
    assert not (tmp_path / "home").exists()
