"""A real server for the whole session, and a warehouse of its own for every test that asks."""

import gc
import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clones import clone_warehouse, drop_warehouse

from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import connect_admin
from churn_ml.warehouse.provision import provision

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from stated_outcomes import History

# dbt and Great Expectations hold objects by the hundred thousand: looking them over takes a tenth of all.
gc.set_threshold(100_000, 50, 100)

# What a test needs of a training is that models compete; all families have their own suite.
QUICK_TRAINING: dict[str, Any] = {
    "candidates": "base_rate,spline_logistic,gradient_boosting",
    "search_trials": 1,
}


# Files that share what is dear to build: a live Airflow, a trained warehouse with a night.
TOGETHER = {
    "champion": {"test_scoring.py", "test_scoring_reasons.py"},
    "marts": {
        "test_bi_contract.py",
        "test_bi_drivers.py",
        "test_bi_rights.py",
        "test_export.py",
        "test_metabase_questions.py",
        "test_power_bi_model.py",
    },
    "outcomes": {
        "test_outcomes.py",
        "test_pages_in_browser.py",
        "test_questions.py",
        "test_shell.py",
        "test_where_cohorts_trust.py",
        "test_words_hold.py",
    },
    "live": {
        "test_airflow_night.py",
        "test_airflow_pages.py",
        "test_airflow_repeated_nights.py",
        "test_airflow_services.py",
        "test_airflow_ui.py",
    },
    "trained": {
        "test_faulty_nights.py",
        "test_pages_of_a_snapshot.py",
        "test_repetitions.py",
        "test_report.py",
        "test_time_review.py",
        "test_whole_night.py",
    },
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep each file on one worker, and files that belong together on the same one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return next((name for name, files in TOGETHER.items() if Path(file).name in files), file)

    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Settings of the developer's shell must not reach the tests."""
    kept = {"CHURN_REAL_DATA_DIR", "CHURN_SCREENSHOTS_DIR"}
    removed = {name: os.environ.pop(name) for name in list(os.environ)
               if name.startswith("CHURN_") and name not in kept}  # fmt: skip
    yield
    os.environ.update(removed)


def forget_durability(settings: Settings) -> None:
    """Let a server that ends with the tests wait for no disk; what survives a kill has its own tests."""
    with connect_admin(settings) as admin:
        for parameter in ("fsync", "synchronous_commit", "full_page_writes"):
            admin.execute(f"alter system set {parameter} = off")
        admin.execute("select pg_reload_conf()")


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium, driven by Playwright, which runs once per process; it makes no call of its own."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on the path: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=quiet)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this test run see."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def _parsed_once(shared_folder: Path) -> Iterator[None]:
    from parsed_projects import parsed_once

    with parsed_once(shared_folder):
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, _parsed_once: None) -> Iterator[Settings]:
    """An embedded server with a migrated warehouse, used only as a template."""
    settings = Settings(
        _env_file=None,
        home=tmp_path_factory.mktemp("server") / "home",
        database_prefix="template",
        dataset="telco",
        **QUICK_TRAINING,
    )
    start_postgres(settings)
    forget_durability(settings)
    provision(settings)
    yield settings
    remove_postgres(settings)


@pytest.fixture
def settings(server: Settings) -> Iterator[Settings]:
    """A migrated, empty warehouse for one test."""
    cloned = clone_warehouse(server)
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture(scope="session")
def subscriptions_server(server: Settings) -> Settings:
    """A migrated warehouse of the dated dataset on the same server, used only as a template."""
    template = server.model_copy(
        update={"dataset": "subscriptions", "database_prefix": "template_subscriptions"}
    )
    provision(template)
    return template


@pytest.fixture
def subscriptions(subscriptions_server: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A migrated, empty warehouse of the dated dataset for one test, with an inbox of its own."""
    cloned = clone_warehouse(subscriptions_server).model_copy(update={"inbox_dir": tmp_path / "inbox"})
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture(scope="session")
def history_template(
    subscriptions_server: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A warehouse of the dated dataset that knows the little world up to 30 October 2026."""
    from subscription_deliveries import HISTORY_ENDS, deliver_world

    from churn_ml.landing.delivery import land_path

    template = clone_warehouse(subscriptions_server)
    for folder in deliver_world(tmp_path_factory.mktemp("history"), [HISTORY_ENDS]):
        land_path(template, folder, first_load=True)
    yield template
    drop_warehouse(template)


@pytest.fixture
def history(history_template: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The little world up to 30 October, landed and not staged, with an inbox of the test's own."""
    cloned = clone_warehouse(history_template).model_copy(update={"inbox_dir": tmp_path / "inbox"})
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture(scope="session")
def stated_outcomes(
    history_template: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["History"]:
    """Two published nights of the little world, the later of which states the outcomes of the first."""
    from stated_outcomes import state_outcomes

    settings = clone_warehouse(history_template)
    yield state_outcomes(settings, tmp_path_factory.mktemp("inbox"))
    drop_warehouse(settings)


@pytest.fixture(scope="session")
def real_telco_file() -> Path:
    """The IBM file; where CHURN_REAL_DATA_DIR is set a missing file is a failure."""
    folder = os.environ.get("CHURN_REAL_DATA_DIR")
    if folder is None:
        pytest.skip("CHURN_REAL_DATA_DIR is not set: the real Telco file is not at hand")
    path = Path(folder) / "telco_customer_churn.csv"
    if not path.is_file():
        pytest.fail(f"CHURN_REAL_DATA_DIR is set but {path} is not there")
    return path


FIRST_DAY, SECOND_DAY = date(2026, 9, 30), date(2026, 10, 31)


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[date, Path]:
    """Two simulated deliveries, a month apart, of the same growing business."""
    from churn_ml.simulation.telco_shape import write_snapshot

    folder = tmp_path_factory.mktemp("snapshots")
    paths = {day: folder / f"{day}.csv" for day in (FIRST_DAY, SECOND_DAY)}
    for day, path in paths.items():
        write_snapshot(path, customers=1500, as_of_date=day, seed=11)
    return paths


@pytest.fixture(scope="session")
def trained_template(
    server: Settings, snapshots: dict[date, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A warehouse with the first snapshot landed and a champion trained on it."""
    from nightly import cut_off_of, first_load, train_and_promote

    template = clone_warehouse(server)
    first_load(template, snapshots[FIRST_DAY], FIRST_DAY)
    train_and_promote(template, cut_off_of(FIRST_DAY))
    yield template
    drop_warehouse(template)


@pytest.fixture(scope="session")
def built_template(
    trained_template: Settings, snapshots: dict[date, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, str]]:
    """The trained warehouse after the night of the second snapshot up to its marts, and the run."""
    from nightly import build_until_marts, cut_off_of

    template = with_inbox(clone_warehouse(trained_template), snapshots, tmp_path_factory.mktemp("inbox"))
    yield template, build_until_marts(template, cut_off_of(SECOND_DAY), tested=True)
    drop_warehouse(template)


@pytest.fixture(scope="session")
def published_template(built_template: tuple[Settings, str]) -> Iterator[Settings]:
    """The same after its gate and published."""
    from nightly import audit_and_publish

    template = clone_warehouse(built_template[0])
    audit_and_publish(template, built_template[1])
    yield template
    drop_warehouse(template)


def with_inbox(settings: Settings, snapshots: dict[date, Path], inbox: Path) -> Settings:
    """Give `settings` an inbox of its own that holds the second snapshot."""
    changed = settings.model_copy(update={"inbox_dir": inbox})
    folder = changed.inbox / SECOND_DAY.isoformat()
    folder.mkdir(parents=True)
    shutil.copy(snapshots[SECOND_DAY], folder)
    return changed


@pytest.fixture
def landed(server: Settings, snapshots: dict[date, Path], tmp_path: Path) -> Iterator[Settings]:
    """A warehouse without a model, and a delivery in its inbox."""
    cloned = with_inbox(clone_warehouse(server), snapshots, tmp_path)
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def trained(trained_template: Settings, snapshots: dict[date, Path], tmp_path: Path) -> Iterator[Settings]:
    """A warehouse with a champion, and the second snapshot in its inbox."""
    cloned = with_inbox(clone_warehouse(trained_template), snapshots, tmp_path)
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def built(
    built_template: tuple[Settings, str], snapshots: dict[date, Path], tmp_path: Path
) -> Iterator[tuple[Settings, str]]:
    """A warehouse with one night up to its marts, neither audited nor published, and its run."""
    settings, run_id = built_template
    cloned = with_inbox(clone_warehouse(settings), snapshots, tmp_path)
    yield cloned, run_id
    drop_warehouse(cloned)


@pytest.fixture
def published(
    published_template: Settings, snapshots: dict[date, Path], tmp_path: Path
) -> Iterator[Settings]:
    """A warehouse with one published night."""
    cloned = with_inbox(clone_warehouse(published_template), snapshots, tmp_path)
    yield cloned
    drop_warehouse(cloned)
