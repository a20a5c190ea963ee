"""A sound night to break, in the shape that landing, dbt and the scorer leave it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import connect_admin
from churn_ml.warehouse.provision import provision
from churn_ml.warehouse.runs import open_run

FOLDER = Path(__file__).parent
EMPTY_SQL = (FOLDER / "empty.sql").read_text(encoding="utf-8")
NIGHT_SQL = (FOLDER / "night.sql").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def gate_warehouse(server: Settings) -> Settings:
    """One migrated warehouse for all gate tests; emptying it is faster than cloning another."""
    settings = server.model_copy(update={"database_prefix": "gates"})
    provision(settings)
    return settings


@pytest.fixture
def gate_settings(gate_warehouse: Settings, tmp_path: Path) -> Settings:
    """The emptied warehouse, with a home of the test's own for Data Docs."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("instance.json", "secrets.json"):
        (home / name).symlink_to(gate_warehouse.home / name)
    settings = gate_warehouse.model_copy(update={"home": home})
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute(EMPTY_SQL)
    return settings


@pytest.fixture
def execute(gate_settings: Settings) -> Callable[[str, str], None]:
    """Run statements as the server's administrator, with the run's id in the session."""

    def run(statements: str, run_id: str) -> None:
        with connect_admin(gate_settings, database=gate_settings.warehouse_database) as admin:
            admin.execute("select set_config('churn.run_id', %s, false)", [run_id])
            admin.execute(statements)

    return run


@pytest.fixture
def build_night(gate_settings: Settings, execute: Callable[[str, str], None]) -> Callable[[], str]:
    """Build a sound night up to its unpublished marts and return its run id."""

    def build(day: int = 1) -> str:
        run = open_run(gate_settings, "night", datetime(2026, 11, day, 2, tzinfo=UTC))
        execute(NIGHT_SQL, run.run_id)
        return run.run_id

    return build


@pytest.fixture
def without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run checks without Data Docs: the pages take longer than the checks, and have tests of their own."""
    from great_expectations.checkpoint.actions import UpdateDataDocsAction

    monkeypatch.setattr(UpdateDataDocsAction, "run", lambda *_, **__: {})
