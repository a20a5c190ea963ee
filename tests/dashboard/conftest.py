"""The dashboard over two published nights of the little world: one server and one browser per session."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "warehouse"))

from app_pages import open_page
from dashboard_server import serve
from streamlit.testing.v1 import AppTest

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from stated_outcomes import History

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="session")
def shown(stated_outcomes: "History") -> Settings:
    """The warehouse that the pages show; for reading only."""
    return stated_outcomes.settings


@pytest.fixture(scope="session")
def rows(shown: Settings) -> Rows:
    """Ask the marts in plain SQL, as BI tools do."""

    def ask(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with connect(shown, Role.READER) as reader:
            return reader.execute(statement.encode(), parameters).fetchall()

    return ask


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, shown: Settings) -> Callable[..., AppTest]:
    """Run a page without a browser: `app("cohorts")`, or `app("cohorts", settings)` on another warehouse."""

    def run(page: str, settings: Settings = shown) -> AppTest:
        return open_page(monkeypatch, settings, page)

    return run


@pytest.fixture(scope="session")
def dashboard_url(shown: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the dashboard over `shown`."""
    with serve(shown, tmp_path_factory.mktemp("dashboard")) as url:
        yield url


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A page of a laptop's width in a fresh context."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, locale="en-GB")
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept: CHURN_SCREENSHOTS_DIR, else a folder that goes away."""
    kept = os.environ.get("CHURN_SCREENSHOTS_DIR")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
