"""The MLflow mirror on the real server: what it shows, that nothing needs it, that it is repaired."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clones import clone_warehouse, drop_warehouse

from churn_ml.models.mirror import MirrorSummary, mirror_aliases, mirror_version, sync_mirror
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin, warehouse_url
from churn_ml.warehouse.runs import open_run

PROJECT = Path(__file__).resolve().parents[2]
CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
CARD = '<html><figure id="reliability"><svg xmlns="x"><path/></svg><figcaption>é</figcaption></figure></html>'


def with_home(settings: Settings, home: Path) -> Settings:
    shutil.copytree(settings.home, home, ignore=shutil.ignore_patterns("postgres*", "dbt", "mlflow"))
    return settings.model_copy(update={"home": home})


@pytest.fixture(scope="module")
def template(server: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Two registered versions, `telco-a` with a card, and MLflow's tables, which take it seconds to make."""
    cloned = clone_warehouse(server)
    sync_mirror(with_home(cloned, tmp_path_factory.mktemp("template") / "home"))
    register_version(cloned, "telco-a", card=CARD)
    register_version(cloned, "telco-b", log_loss=0.5)
    with connect_admin(cloned) as admin:  # MLflow keeps its connections, and only what is idle is copied
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            [cloned.warehouse_database],
        )
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def registry(template: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The same in a warehouse and a home of the test's own; MLflow shows nothing yet."""
    cloned = clone_warehouse(template)
    yield with_home(cloned, tmp_path / "home")
    drop_warehouse(cloned)


def register_version(
    settings: Settings, model_version: str, *, log_loss: float = 0.41, card: str | None = None
) -> None:
    values = {
        "model_version": model_version,
        "run_id": open_run(settings, "training", CUT_OFF).run_id,
        "dataset": "telco",
        "label_definition": "telco_30d",
        "family": "spline_logistic",
        "validation": "cross_sectional",
        "as_of_date": "2026-10-31",
        "known_as_of": CUT_OFF,
        "seed": 5,
        "fold_count": 5,
        "row_count": 7043,
        "churned_count": 1869,
        "feature_contract": "[]",
        "metrics": json.dumps({"log_loss": log_loss, "log_loss_low": 0.4, "roc_auc": None, "validation": "x",
                               "candidates": {"base_rate": {"log_loss": 0.58, "ece": 0.1}}}),
        "library_versions": "{}",
        "artifact": b"artifact",
        "artifact_sha256": "a" * 64,
        "training_sha256": "b" * 64,
        "parameters": json.dumps({"knot_count": 5, "penalty": "l2"}),
        "calibration": "sigmoid",
        "card": card,
    }  # fmt: skip
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    with connect(settings, Role.TRAINER) as trainer:
        trainer.execute(f"insert into ml.model_versions ({columns}) values ({places})", list(values.values()))
        trainer.execute(
            "insert into ml.gate_results (model_version, gate, subject, observed, verdict) values"
            " (%s, 'calibration', '', 1.01, 'pass'), (%s, 'calibration', 'contract=Two year', 1.3, 'fail'),"
            " (%s, 'profit', '', null, 'not_applicable')",
            [model_version] * 3,
        )


def deploy(settings: Settings, alias: str, model_version: str | None, days: int = 0) -> None:
    with connect(settings, Role.TRAINER) as trainer:
        trainer.execute(
            "select ml.deploy(%s, %s, %s, 'a test', 'a test', 'a test')",
            [alias, model_version, CUT_OFF + timedelta(days=days)],
        )


def retire(settings: Settings, alias: str, days: int) -> None:
    with connect(settings, Role.TRAINER) as trainer:
        trainer.execute(
            "select ml.retire(%s, %s, 'a test', 'a test')", [alias, CUT_OFF + timedelta(days=days)]
        )


def client(settings: Settings) -> Any:
    from mlflow import MlflowClient

    url = warehouse_url(settings, Role.TRAINER).set(drivername="postgresql+psycopg2")
    address = url.update_query_dict({"options": "-csearch_path=mlflow"}).render_as_string(hide_password=False)
    return MlflowClient(tracking_uri=address, registry_uri=address)


def runs(settings: Settings) -> dict[str, Any]:
    mlflow = client(settings)
    found = mlflow.search_runs([mlflow.get_experiment_by_name("telco").experiment_id])
    assert len({run.data.tags["model_version"] for run in found}) == len(found), "a version is shown twice"
    return {run.data.tags["model_version"]: run for run in found}


def aliases(settings: Settings) -> dict[str, str]:
    mlflow = client(settings)
    [model] = mlflow.search_registered_models()
    return {
        alias: mlflow.get_model_version("telco", number).tags["model_version"]
        for alias, number in model.aliases.items()
    }


def registry_rows(settings: Settings) -> list[tuple[Any, ...]]:
    tables = ("model_versions", "gate_results", "model_deployments")
    with connect(settings, Role.TRAINER) as trainer:
        return [
            row
            for table in tables
            for row in trainer.execute(f"select {table}::text from ml.{table} order by 1")
        ]


def drop_tables(settings: Settings) -> None:
    with connect(settings, Role.TRAINER) as trainer:
        for (table,) in trainer.execute(
            "select tablename from pg_tables where schemaname = 'mlflow'"
        ).fetchall():
            trainer.execute(f'drop table mlflow."{table}" cascade')


def test_a_version_is_shown_with_all_that_is_known_of_it(registry: Settings) -> None:
    deploy(registry, "champion", "telco-a")
    assert mirror_version(registry, "telco-a")
    run = runs(registry)["telco-a"]
    assert (run.info.run_name, run.info.status) == ("telco-a", "FINISHED")
    assert run.data.params == {"knot_count": "5", "penalty": "l2", "seed": "5", "fold_count": "5"}
    assert run.data.metrics == {
        "log_loss": 0.41, "log_loss_low": 0.4, "candidates/base_rate/log_loss": 0.58, "row_count": 7043,
        "churned_count": 1869, "gate/calibration": 1.01, "gate/calibration/contract_Two year": 1.3,
    }  # fmt: skip
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    assert tags == {
        "model_version": "telco-a", "run_id": tags["run_id"], "dataset": "telco", "family": "spline_logistic",
        "label_definition": "telco_30d", "validation": "cross_sectional", "calibration": "sigmoid",
        "as_of_date": "2026-10-31", "known_as_of": CUT_OFF.isoformat(), "artifact_sha256": "a" * 64,
        "training_sha256": "b" * 64, "status": "production", "gate/calibration": "pass",
        "gate/calibration/contract_Two year": "fail", "gate/profit": "not_applicable",
    }  # fmt: skip
    folder = registry.home / "mlflow" / "artifacts" / "telco" / run.info.run_id / "artifacts"
    assert (folder / "card.html").read_text("utf-8") == CARD
    assert (folder / "plots" / "reliability.svg").read_text("utf-8") == '<svg xmlns="x"><path/></svg>'
    assert aliases(registry) == {"champion": "telco-a"}


def test_mirroring_again_changes_nothing(registry: Settings) -> None:
    assert mirror_version(registry, "telco-a")
    before = runs(registry)["telco-a"].info.run_id
    assert mirror_version(registry, "telco-a")
    assert runs(registry)["telco-a"].info.run_id == before
    assert sync_mirror(registry) == MirrorSummary(2, 1, 0, 1, 0, 1)
    assert sync_mirror(registry) == MirrorSummary(2, 0, 0, 2, 0, 0)
    assert [version.version for version in client(registry).search_model_versions("name = 'telco'")] == [2, 1]


def test_two_processes_at_once_show_each_version_once(registry: Settings) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda name: mirror_version(registry, name), ["telco-a", "telco-b"] * 2))
    assert done == [True] * 4
    assert set(runs(registry)) == {"telco-a", "telco-b"}


def test_aliases_and_statuses_follow_the_deployments(registry: Settings) -> None:
    deploy(registry, "champion", "telco-a")
    deploy(registry, "shadow", "telco-b")
    sync_mirror(registry)
    assert aliases(registry) == {"champion": "telco-a", "shadow": "telco-b"}
    deploy(registry, "champion", "telco-b", days=1)
    retire(registry, "shadow", days=1)
    assert mirror_aliases(registry)
    assert aliases(registry) == {"champion": "telco-b"}
    statuses = {name: run.data.tags["status"] for name, run in runs(registry).items()}
    assert statuses == {"telco-a": "archived", "telco-b": "production"}


def test_an_alias_of_a_version_that_is_not_shown_only_warns(
    registry: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    deploy(registry, "champion", "telco-a")
    assert not mirror_aliases(registry)
    assert "found none of telco-a. Run `churn-ml model sync`" in caplog.text


def test_sync_repairs_what_was_changed_lost_or_left_half(registry: Settings) -> None:
    sync_mirror(registry)
    mlflow, shown = client(registry), runs(registry)
    mlflow.set_tag(shown["telco-a"].info.run_id, "family", "magic")
    mlflow.delete_run(shown["telco-b"].info.run_id)
    assert sync_mirror(registry) == MirrorSummary(2, 0, 2, 0, 0, 2)
    assert runs(registry)["telco-a"].data.tags["family"] == "spline_logistic"
    folder = registry.home / "mlflow" / "artifacts" / "telco"
    [card] = folder.rglob("card.html")
    card.unlink()
    half = runs(registry)["telco-b"].info.run_id
    mlflow.set_terminated(half, "RUNNING")
    assert sync_mirror(registry).repaired_count == 2
    assert len(list(folder.rglob("card.html"))) == 1
    assert half not in {run.info.run_id for run in runs(registry).values()}


def test_the_registry_stands_without_its_mirror_and_sync_rebuilds_it(registry: Settings) -> None:
    deploy(registry, "champion", "telco-a")
    sync_mirror(registry)
    before = registry_rows(registry)
    drop_tables(registry)
    shutil.rmtree(registry.home / "mlflow")
    assert registry_rows(registry) == before
    assert sync_mirror(registry) == MirrorSummary(2, 2, 0, 0, 1, 2)
    assert set(runs(registry)) == {"telco-a", "telco-b"}
    assert aliases(registry) == {"champion": "telco-a"}


def test_rebuild_heals_tables_of_another_version(
    registry: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    sync_mirror(registry)
    with connect(registry, Role.TRAINER) as trainer:
        trainer.execute("update mlflow.alembic_version set version_num = 'c8dd8ba8d1a5'")
    assert not mirror_version(registry, "telco-a")
    assert "`churn-ml model sync --rebuild`" in caplog.text
    assert sync_mirror(registry, rebuild=True).added_count == 2
    assert mirror_version(registry, "telco-a")


def test_a_failing_mirror_only_warns(registry: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with connect_admin(registry, database=registry.warehouse_database) as admin:
        admin.execute("drop schema mlflow cascade")
    assert not mirror_version(registry, "telco-a")
    assert "schema mlflow" in caplog.text
    password = warehouse_url(registry, Role.TRAINER).password
    assert password not in caplog.text
    caplog.clear()
    absent = registry.model_copy(update={"database_prefix": "absent"})
    assert not mirror_version(absent, "telco-a")
    assert not mirror_aliases(absent)
    assert caplog.text.count("Expected Postgres to answer") == 2


def test_files_that_cannot_be_written_only_warn(registry: Settings, caplog: pytest.LogCaptureFixture) -> None:
    (registry.home / "mlflow").write_text("in the way of the folder")
    assert not mirror_version(registry, "telco-a")
    assert "artifacts" in caplog.text
    (registry.home / "mlflow").unlink()
    assert sync_mirror(registry).repaired_count == 1, "the half of the first attempt is replaced"


def test_another_home_is_left_to_sync(
    registry: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sync_mirror(registry)
    shutil.copytree(registry.home, tmp_path / "moved")
    moved = registry.model_copy(update={"home": tmp_path / "moved"})
    assert not mirror_version(moved, "telco-a")
    assert "Run `churn-ml model sync` to move them here" in caplog.text
    assert sync_mirror(moved).repaired_count == 2
    assert mirror_version(moved, "telco-a")


_MIRROR_ELSEWHERE = """
import json, sys
from churn_ml.models.mirror import mirror_version
from churn_ml.settings import Settings

called = []
sys.addaudithook(lambda event, arguments: called.append(arguments) if event == "socket.getaddrinfo" else None)
assert mirror_version(Settings(_env_file=None, **json.loads(sys.argv[1])), "telco-a")
from mlflow.telemetry.utils import is_telemetry_disabled

assert is_telemetry_disabled()
assert called == [], called
"""


def test_mlflow_says_nothing_and_calls_nobody(registry: Settings, tmp_path: Path) -> None:
    """In a process of its own: under pytest MLflow has no telemetry anyway."""
    folder = tmp_path / "working_folder"
    folder.mkdir()
    names = ("home", "dataset", "database_prefix")
    arguments = json.dumps({name: str(getattr(registry, name)) for name in names})
    silent = ("PYTEST_", "CI", "MLFLOW_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
    done = subprocess.run(
        [sys.executable, "-c", _MIRROR_ELSEWHERE, arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(folder.iterdir()) == [], "MLflow wrote to the working folder"


def test_nothing_reads_the_mirror_back() -> None:
    doors = [
        path.relative_to(PROJECT).as_posix()
        for folder in ("churn_ml", "airflow", "benchmarks")
        for path in (PROJECT / folder).rglob("*.py")
        if any(word in path.read_text("utf-8") for word in ("import mlflow", "from mlflow"))
    ]
    assert doors == ["churn_ml/models/mirror.py"]
    models = [
        path for path in (PROJECT / "dbt_project").rglob("*.sql") if "mlflow" in path.read_text("utf-8")
    ]
    assert models == []
