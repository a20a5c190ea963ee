"""What stands around the pages: the choice of the night, and what is said where there is nothing to show."""

import logging
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from app_pages import texts
from clones import clone_warehouse, drop_warehouse
from streamlit.testing.v1 import AppTest

from churn_ml.dashboard.shell import PAGES
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import connect_admin

App = Callable[..., AppTest]
OLDER, NEWEST = date(2026, 10, 30), date(2026, 12, 16)


@pytest.fixture
def copied(shown: Settings) -> Iterator[Settings]:
    """The same warehouse, for a test that changes it."""
    settings = clone_warehouse(shown)
    yield settings
    drop_warehouse(settings)


def change(settings: Settings, statement: str) -> None:
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute(statement.encode())


@pytest.mark.parametrize("page", PAGES)
def test_page_stands_on_a_night_without_outcomes(
    app: App, page: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="churn_ml"):
        opened = app(page)
        assert not opened.exception
        assert "As of **16 December 2026**" in texts(opened)
        opened.selectbox(key="night").select("2026-10-30").run()
    assert not opened.exception
    said = texts(opened)
    assert "As of **30 October 2026**" in said
    assert "An earlier night" in said
    assert not opened.error
    assert "C0000" not in caplog.text, "customers in the log"


def test_picker_offers_the_published_nights_newest_first(app: App) -> None:
    picker = app("retention_summary").selectbox(key="night")
    assert picker.options == ["16 December 2026", "30 October 2026"]
    assert picker.value == "2026-12-16"


def test_numbers_are_those_of_the_night_that_was_picked(app: App) -> None:
    opened = app("retention_summary")
    newest = {tile.label: tile.value for tile in opened.metric}
    opened.selectbox(key="night").select("2026-10-30").run()
    older = {tile.label: tile.value for tile in opened.metric}
    assert (newest["Active customers"], older["Active customers"]) == ("10", "18")
    assert older["Logo churn of 28 days"] == "not known"


def test_night_taken_back_is_gone_at_once(app: App, copied: Settings) -> None:
    opened = app("retention_summary", copied)
    assert "As of **16 December 2026**" in texts(opened)
    change(copied, "delete from ops.published_runs where as_of_date = '2026-12-16'")
    opened.run()
    assert "As of **30 October 2026**" in texts(opened)
    assert opened.selectbox(key="night").options == ["30 October 2026"]


def test_without_a_published_night_the_next_command_is_said(app: App, subscriptions: Settings) -> None:
    opened = app("mrr_bridge", subscriptions)
    assert not opened.exception
    assert "No night of subscriptions is published yet" in texts(opened)
    assert "`churn-ml night`" in texts(opened)


def test_stale_warehouse_says_so(app: App, copied: Settings) -> None:
    change(copied, "update marts.dim_scoring_run set max_age_days = -100000")
    opened = app("cohorts", copied)
    [warning] = opened.warning
    assert "What you see is stale" in warning.value
    assert "`churn-ml night`" in warning.value


def test_fresh_warehouse_does_not(app: App, copied: Settings) -> None:
    change(copied, "update marts.dim_scoring_run set max_age_days = 100000")
    assert not app("cohorts", copied).warning


def test_mart_that_is_not_there_is_named(app: App, copied: Settings) -> None:
    change(copied, "drop table marts.model_performance cascade")
    opened = app("revenue_at_risk", copied)
    assert not opened.exception
    [error] = opened.error
    assert 'relation "marts.model_performance" does not exist' in error.value
    assert "`churn-ml night`" in error.value


def test_warehouse_that_is_down_is_said_without_a_traceback(app: App, tmp_path: Path) -> None:
    opened = app("retention_summary", Settings(_env_file=None, home=tmp_path))
    assert not opened.exception
    [error] = opened.error
    assert "`churn-ml up`" in error.value
