"""What a gate does with its results: rows, pages, log lines, and stopping the night."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from churn_ml.errors import GateBlocked, SettingsError, WarehouseError
from churn_ml.quality.checkpoint import _sample_keys
from churn_ml.quality.gates import run_gate
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, role_password

Build = Callable[..., str]
Execute = Callable[[str, str], None]
GATES = ("raw", "features", "marts")


def hash_folder(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file()}  # fmt: skip


def written_text(home: Path) -> str:
    """Everything a gate wrote below the home folder, as one text."""
    folders = (home / "data_docs", home / "validation_results")
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".html", ".json"}]
    return "".join(path.read_text(encoding="utf-8") for path in files)


def read_results(settings: Settings, run_id: str) -> list[tuple[object, ...]]:
    with connect(settings, Role.AUDITOR) as auditor:
        return auditor.execute(
            "select check_name, severity, verdict, observed, failing_count from ops.validation_results"
            " where run_id = %s order by validation_result_id",
            [run_id],
        ).fetchall()


def copy_project(settings: Settings, folder: Path) -> Settings:
    shutil.copytree(settings.project_dir / "great_expectations", folder / "great_expectations")
    return settings.model_copy(update={"project_dir": folder})


def test_a_sound_night_passes_the_three_gates(
    gate_settings: Settings, build_night: Build, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="churn_ml")
    run_id = build_night()
    before = hash_folder(gate_settings.project_dir / "great_expectations")
    for gate in GATES:
        summary = run_gate(gate_settings, run_id, gate)
        assert (summary.gate, summary.failed_blocking, summary.failed_warning) == (gate, (), ())
        assert summary.checks > 20
        assert summary.data_docs == gate_settings.home / "data_docs" / "index.html"
        assert f"gate {gate}: {summary.checks} checks" in caplog.messages[-1]
    assert not [
        name for name, value in os.environ.items() if name.startswith("CHURN_GX") or "run_id" in value
    ]
    assert hash_folder(gate_settings.project_dir / "great_expectations") == before
    results = read_results(gate_settings, run_id)
    assert {verdict for _, _, verdict, _, _ in results} == {"pass"}
    assert all(observed for _, _, _, observed, _ in results)


def test_limits_are_told_in_figures_and_keys_where_a_checkpoint_asks_for_them(
    gate_settings: Settings, build_night: Build
) -> None:
    run_id = build_night()
    run_gate(gate_settings, run_id, "marts")
    with connect(gate_settings, Role.AUDITOR) as auditor:
        told = dict(
            auditor.execute(
                "select check_name, threshold from ops.validation_results where run_id = %s", [run_id]
            ).fetchall()
        )
    assert told["totals_are_summed"] == "min_value 1, max_value 1"
    rows = [{"customer_id": f"c{number}", "email": "anna@example.org"} for number in range(30)]
    keys = _sample_keys({"partial_unexpected_index_list": rows})
    assert str(keys).startswith("customer_id c0; customer_id c1;")
    assert str(keys).count("customer_id") == 20
    assert "anna" not in str(keys)
    assert _sample_keys({"unexpected_count": 3}) is None


def test_no_password_reaches_pages_results_or_messages(
    gate_settings: Settings, build_night: Build, execute: Execute, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = build_night()
    execute("drop table marts.revenue_at_risk_daily", run_id)
    with pytest.raises(GateBlocked) as stopped:
        run_gate(gate_settings, run_id, "marts")
    texts = [written_text(gate_settings.home), str(stopped.value), caplog.text]
    texts += [json.dumps(read_results(gate_settings, run_id))]
    password = role_password(gate_settings, Role.AUDITOR)
    assert [text for text in texts if password in text] == []


def test_a_blocking_failure_names_each_check_and_what_to_do(
    gate_settings: Settings, build_night: Build, execute: Execute, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = build_night()
    execute("update marts.fct_churn_score set currency = 'EUR' where customer_id = 'c1'", run_id)
    with pytest.raises(GateBlocked) as stopped:
        run_gate(gate_settings, run_id, "marts")
    message = str(stopped.value)
    assert (
        "scores_have_one_currency on marts.fct_churn_score: expected exactly one currency, found 2" in message
    )
    assert f"from ops.validation_results where run_id = '{run_id}'" in message
    assert "1 of 35 checks" in message
    assert ("scores_have_one_currency", "block", "fail", "2", 1) in read_results(gate_settings, run_id)
    assert "block fail: scores_have_one_currency" in caplog.text


def test_a_warning_is_recorded_and_logged_and_lets_the_night_go_on(
    gate_settings: Settings, build_night: Build, execute: Execute, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = build_night()
    execute("update raw.customers set contract = 'anna@example.org' where customer_id = 'c1'", run_id)
    assert run_gate(gate_settings, run_id, "raw").failed_warning == ("contract_is_known",)
    assert any(
        row[:3] == ("contract_is_known", "warn", "fail") for row in read_results(gate_settings, run_id)
    )
    assert "warn fail: contract_is_known" in caplog.text


def test_a_customers_data_reaches_no_page_result_or_log_line(
    gate_settings: Settings, build_night: Build, execute: Execute, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run_id = build_night()
    execute("update raw.customers set contract = 'anna@example.org' where customer_id = 'c1'", run_id)
    run_gate(gate_settings, run_id, "raw")
    texts = [written_text(gate_settings.home), json.dumps(read_results(gate_settings, run_id)), caplog.text]
    assert [text for text in texts if "anna@example.org" in text] == []


def test_a_check_that_cannot_be_evaluated_is_an_error_and_blocks(
    gate_settings: Settings, build_night: Build, execute: Execute
) -> None:
    run_id = build_night()
    execute("drop table features.customer_labels", run_id)
    with pytest.raises(GateBlocked, match="every_customer_has_a_label_row"):
        run_gate(gate_settings, run_id, "features")
    errors = {name: observed for name, _, verdict, observed, _ in read_results(gate_settings, run_id)
              if verdict == "error"}  # fmt: skip
    assert len(errors) == 26
    assert all("customer_labels" in str(observed) for observed in errors.values())


def test_a_feature_that_may_be_null_is_no_fault(
    gate_settings: Settings, build_night: Build, execute: Execute
) -> None:
    run_id = build_night()
    execute("update features.customer_features set contract = null where customer_id = 'c1'", run_id)
    execute("update features.feature_contract set is_nullable = true where feature_name = 'contract'", run_id)
    assert run_gate(gate_settings, run_id, "features").failed_blocking == ()


def test_a_gate_judges_its_own_run_only(
    gate_settings: Settings, build_night: Build, execute: Execute
) -> None:
    broken, sound = build_night(day=1), build_night(day=2)
    execute(f"delete from marts.fct_churn_score where run_id = '{broken}'", broken)
    assert run_gate(gate_settings, sound, "marts").failed_blocking == ()
    with pytest.raises(GateBlocked):
        run_gate(gate_settings, broken, "marts")


def test_data_docs_keep_every_night(gate_settings: Settings, build_night: Build) -> None:
    for day in (1, 2):
        run_gate(gate_settings, build_night(day=day), "marts")
    pages = list((gate_settings.home / "data_docs" / "validations").rglob("*.html"))
    assert len(pages) == 2 * 6
    index = (gate_settings.home / "data_docs" / "index.html").read_text(encoding="utf-8")
    assert all(str(page.relative_to(gate_settings.home / "data_docs")) in index for page in pages)


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_may_run_gates_at_once(gate_settings: Settings, build_night: Build) -> None:
    run_id = build_night()
    program = (
        "import sys; from churn_ml.settings import Settings; from churn_ml.quality.gates import run_gate;"
        "settings = Settings(_env_file=None, home=sys.argv[1], database_prefix='gates',"
        " dataset='telco');"
        "run_gate(settings, sys.argv[2], sys.argv[3])"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(gate_settings.home), run_id, gate])
        for gate in ("features", "marts")
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(read_results(gate_settings, run_id)) == 53


def test_an_unknown_run_is_refused(gate_settings: Settings) -> None:
    with pytest.raises(WarehouseError, match="no such row"):
        run_gate(gate_settings, "night-none", "raw")


def test_a_gate_without_a_checkpoint_is_refused(
    gate_settings: Settings, build_night: Build, tmp_path: Path
) -> None:
    settings = copy_project(gate_settings, tmp_path / "project")
    (settings.project_dir / "great_expectations" / "checkpoints" / "telco__raw.json").unlink()
    with pytest.raises(SettingsError, match=r"neither of telco__raw\.json, raw\.json"):
        run_gate(settings, build_night(), "raw")


def test_a_suite_without_expectations_is_refused(
    gate_settings: Settings, build_night: Build, tmp_path: Path
) -> None:
    settings = copy_project(gate_settings, tmp_path / "project")
    path = settings.project_dir / "great_expectations" / "expectations" / "snapshot__raw_keys.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"expectations": []}))
    with pytest.raises(SettingsError, match="none in snapshot__raw_keys: nothing would be checked"):
        run_gate(settings, build_night(), "raw")


def test_a_file_that_does_not_load_is_named(
    gate_settings: Settings, build_night: Build, tmp_path: Path
) -> None:
    settings = copy_project(gate_settings, tmp_path / "project")
    path = settings.project_dir / "great_expectations" / "checkpoints" / "marts.json"
    path.write_text(path.read_text().replace("marts_tiers", "marts_tears"))
    with pytest.raises(SettingsError, match="marts_tears"):
        run_gate(settings, build_night(), "marts")
