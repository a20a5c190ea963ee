"""The in-process runner: what it records, where a retry resumes, what it leaves behind."""

import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from clones import clone_warehouse, drop_warehouse
from telco_nights import CUT_OFF, build, customer, deliver, rows, score

from churn_ml.errors import TransformationError
from churn_ml.services import dbt
from churn_ml.services.dbt import _BUILD_LOCK, _parse, build_layer, run_dbt
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, role_password
from churn_ml.warehouse.runs import Run, open_run

PROJECT = Path(__file__).parents[2] / "dbt_project"


def results_of(settings: Settings, run: Run, try_number: int) -> dict[str, str]:
    found = rows(
        settings,
        "select node_name, status from ops.dbt_results where run_id = %s and try_number = %s",
        [run.run_id, try_number],
        Role.TRANSFORMER,
    )
    return {str(name): str(status) for name, status in found}


def copy_project(settings: Settings, folder: Path) -> Settings:
    for name in ("dbt_project", "datasets"):
        shutil.copytree(settings.project_dir / name, folder / name)
    return settings.model_copy(update={"project_dir": folder})


def change_parameters(settings: Settings, assignment: str) -> None:
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute(f"update staging.decision_parameters set {assignment}")


@pytest.fixture(scope="module")
def built(server: Settings) -> Iterator[tuple[Settings, Run]]:
    """A run of two customers up to the intermediate layer; for tests that leave it as it is."""
    settings = clone_warehouse(server)
    deliver(settings, customer("a"), customer("b"))
    run = open_run(settings, "night", CUT_OFF)
    build(settings, run, "staging", "intermediate", tested=True)
    yield settings, run
    drop_warehouse(settings)


@pytest.fixture
def staged(built: tuple[Settings, Run]) -> Iterator[tuple[Settings, Run]]:
    """The same in a warehouse of the test's own."""
    settings = clone_warehouse(built[0])
    yield settings, built[1]
    drop_warehouse(settings)


@pytest.fixture(scope="module")
def unused(server: Settings) -> Iterator[Settings]:
    """A warehouse that has seen no run."""
    settings = clone_warehouse(server)
    yield settings
    drop_warehouse(settings)


def test_retry_resumes_at_the_model_that_failed(staged: tuple[Settings, Run]) -> None:
    settings, run = staged
    change_parameters(settings, "valid_from = '2030-01-01'")
    with pytest.raises(TransformationError, match="dated_decision_parameters"):
        build_layer(settings, run.run_id, "features")
    first = results_of(settings, run, 1)
    assert first["telco__customer_features"] == "success"
    change_parameters(settings, "valid_from = '2015-01-01'")
    build_layer(settings, run.run_id, "features", try_number=2)
    again = results_of(settings, run, 2)
    assert {"dated_decision_parameters", "telco__customer_values", "telco__customer_labels"} <= set(again)
    assert not {"telco__customer_features", "telco__customer_population"} & set(again)
    assert set(again.values()) <= {"success", "pass"}
    assert rows(settings, "select count(*) from features.customer_labels") == [(2,)]


def test_failed_test_builds_again_what_it_tested(staged: tuple[Settings, Run]) -> None:
    settings, run = staged
    change_parameters(settings, "margin_share = 2")
    with pytest.raises(TransformationError, match="decision_parameters_are_coherent"):
        build_layer(settings, run.run_id, "features")
    assert results_of(settings, run, 1)["dated_decision_parameters"] == "success"
    change_parameters(settings, "margin_share = 0.5")
    build_layer(settings, run.run_id, "features", try_number=2)
    again = results_of(settings, run, 2)
    assert {"dated_decision_parameters", "telco__customer_values"} <= set(again)
    assert rows(settings, "select margin_share::text from features.decision_parameters") == [("0.5000",)]


def test_later_try_after_a_success_builds_everything_again(staged: tuple[Settings, Run]) -> None:
    settings, run = staged
    build_layer(settings, run.run_id, "intermediate", try_number=2)
    assert set(results_of(settings, run, 2)) >= {"int_telco__customers_qualified", "int_runs_scored"}


def test_later_try_builds_everything_again_once_a_layer_below_was_built_anew(
    staged: tuple[Settings, Run],
) -> None:
    settings, run = staged
    change_parameters(settings, "valid_from = '2030-01-01'")
    with pytest.raises(TransformationError, match="dated_decision_parameters"):
        build_layer(settings, run.run_id, "features")
    build_layer(settings, run.run_id, "staging")
    build_layer(settings, run.run_id, "features", try_number=2)
    assert "telco__customer_population" in results_of(settings, run, 2)


def test_later_try_without_any_earlier_result_builds_the_layer(staged: tuple[Settings, Run]) -> None:
    settings, run = staged
    assert build_layer(settings, run.run_id, "features", try_number=2).nodes > 10


def test_every_layer_records_its_nodes_once(staged: tuple[Settings, Run]) -> None:
    settings, run = staged
    build(settings, run, "features", tested=True)
    score(settings, run, {"a": 0.5, "b": 0.5})
    build(settings, run, "marts", tested=True)
    found = rows(
        settings,
        "select layer, resource_type, count(*), count(distinct node_id),"
        " bool_and(status in ('success', 'pass'))"
        " from ops.dbt_results group by 1, 2 order by 1, 2",
        role=Role.TRANSFORMER,
    )
    kinds = {(layer, kind) for layer, kind, *_ in found}
    assert {("staging", "seed"), ("staging", "model"), ("features", "test"), ("marts", "model")} <= kinds
    assert all(count == distinct and good for _, _, count, distinct, good in found)
    assert results_of(settings, run, 1)["is_key_warehouse_freshness_expected_as_of_date"] == "pass"
    run_dbt(settings, ["test", "--select", "test_type:unit", "--quiet"])


@pytest.mark.parametrize("path", sorted((PROJECT / "models").rglob("*.sql")), ids=lambda path: path.stem)
def test_model_imports_first_and_ends_with_its_last_thought(path: Path) -> None:
    text = path.read_text()
    if re.search(r"^{{ (versions|snapshot_customers|snapshot_rejects)\(", text, re.MULTILINE):
        assert text.endswith(") }}\n")  # the macro holds the query
        return
    names = re.findall(r"^(\w+) as \($", text, re.MULTILINE)
    assert names
    assert text.splitlines()[-1] == f"select * from {names[-1]}"


def test_each_node_leaves_one_line_in_the_log_and_nothing_on_the_console(
    staged: tuple[Settings, Run], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    settings, run = staged
    with caplog.at_level(logging.INFO):
        summary = build_layer(settings, run.run_id, "staging")
    lines = [record.message for record in caplog.records if record.name.startswith("churn_ml.services.dbt")]
    assert next(line for line in lines if "stg_telco__customers: success" in line).endswith(", 2 rows")
    assert len(lines) == summary.nodes + 1
    assert capfd.readouterr().out == ""


def test_secrets_live_no_longer_than_the_call(built: tuple[Settings, Run]) -> None:
    settings, _ = built
    assert not [name for name in os.environ if name.startswith("CHURN_DBT_") or name == "PGOPTIONS"]
    password = role_password(settings, Role.TRANSFORMER).encode()
    files = [path for path in (settings.home / "dbt").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if password in path.read_bytes()]


def test_dbt_writes_nothing_into_the_project(built: tuple[Settings, Run]) -> None:
    project = built[0].project_dir / "dbt_project"
    assert not [path for path in project.iterdir() if path.name in ("target", "logs", ".user.yml")]


def test_second_build_waits_for_the_first(staged: tuple[Settings, Run]) -> None:
    settings, run = staged

    held, waited = threading.Event(), threading.Event()

    def keep_lock_until_someone_waits() -> None:
        with connect(settings, Role.TRANSFORMER, autocommit=True) as other:
            other.execute("select pg_advisory_lock(%s)", [_BUILD_LOCK])
            held.set()
            for _ in range(600):
                if other.execute("select from pg_locks where not granted").fetchone() is not None:
                    waited.set()
                    return
                time.sleep(0.1)

    holder = threading.Thread(target=keep_lock_until_someone_waits)
    holder.start()
    held.wait(60)
    build_layer(settings, run.run_id, "intermediate")
    assert waited.is_set()
    holder.join()


def test_pass_through_gets_the_variables_of_the_newest_run(
    built: tuple[Settings, Run], capfd: pytest.CaptureFixture[str]
) -> None:
    settings, run = built
    run_dbt(settings, ["show", "--inline", "select {{ run_id() }} as run_id", "--output", "json"])
    assert run.run_id in capfd.readouterr().out


def test_pass_through_lists_the_models_before_there_is_a_run(
    unused: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    run_dbt(unused, ["ls", "--select", "telco__customer_features", "--quiet"])
    assert "churn_warehouse.features.telco.telco__customer_features" in capfd.readouterr().out


def test_nothing_is_built_without_a_run(unused: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TransformationError, match="dbt run"):
        run_dbt(unused, ["run", "--select", "stg_telco__customers"])
    assert "Expected the session setting churn.run_id, found none" in capfd.readouterr().out


def test_pass_through_reports_a_failure(unused: Settings) -> None:
    with pytest.raises(TransformationError, match="dbt run --select nothing_of_the_kind --warn-error"):
        run_dbt(unused, ["run", "--select", "nothing_of_the_kind", "--warn-error"])


@pytest.mark.long
def test_project_is_parsed_once_for_all_runs_and_again_when_a_file_changes(
    staged: tuple[Settings, Run], tmp_path: Path
) -> None:
    settings = copy_project(staged[0], tmp_path)
    build(settings, open_run(settings, "night", CUT_OFF), "staging")
    parsed = _parse.cache_info().misses
    build(settings, open_run(settings, "night", CUT_OFF + timedelta(hours=1)), "staging")
    assert _parse.cache_info().misses == parsed
    model = settings.project_dir / "dbt_project" / "models" / "staging" / "telco" / "stg_telco__rejects.sql"
    model.write_text(model.read_text().replace("with\n", "with\n\n-- changed\n", 1))
    build(settings, open_run(settings, "night", CUT_OFF), "staging")
    assert _parse.cache_info().misses == parsed + 1


@pytest.mark.long
def test_next_process_reads_what_this_one_parsed(staged: tuple[Settings, Run]) -> None:
    settings, run = staged
    _parse.cache_clear()
    with patch.object(dbt, "_parse", _parse):  # the runs of the tests share what was parsed for another
        build(settings, run, "intermediate")
    later = open_run(settings, "night", CUT_OFF + timedelta(days=1))
    run_dbt(settings, ["parse", "--log-level-file", "debug", "--quiet"], later.run_id)
    last_call = (settings.home / "dbt" / "logs" / "dbt.log").read_text().split("Running with dbt=")[-1]
    assert "Nothing changed, skipping partial parsing" in last_call


def test_ephemeral_models_serve_two_builds_of_one_parsing(staged: tuple[Settings, Run]) -> None:
    settings, first = staged
    build(settings, first, "features")
    runs = [first, open_run(settings, "night", CUT_OFF)]
    for run in runs:
        score(settings, run, {"a": 0.5, "b": 0.5})
        run_dbt(settings, ["run", "--select", "+dim_scoring_run,path:models/marts", "--quiet"], run.run_id)
    dated = rows(settings, "select run_id from marts.dim_scoring_run order by scoring_run_key")
    assert dated == [(run.run_id,) for run in runs]
