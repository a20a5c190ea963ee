"""The dashboard over two published nights of the little world: one server and one browser per session."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "warehouse"))

from app_pages import open_page
from streamlit.testing.v1 import AppTest

from churn_ml.services.dashboard import answers, dashboard_command, dashboard_environment
from churn_ml.services.postgres import free_port
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


@contextmanager
def serve(settings: Settings, folder: Path) -> Iterator[str]:
    """Serve the dashboard of `settings` as `churn-ml dashboard` does, and yield its address."""
    port = free_port()
    address, log = f"http://127.0.0.1:{port}", folder / "dashboard.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            dashboard_command(settings, port), env=dict(dashboard_environment(settings)), stdout=out,
            stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while not answers(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield address
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.terminate()
        process.wait(20)


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
