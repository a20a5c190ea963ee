"""``churn-ml demo`` of a snapshot dataset: from nothing to a published night that stays up."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import psycopg
import pytest
from command_line import CommandLine

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def command_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path_factory.mktemp("a demo with spaces") / "home", "telco")
    yield line
    line.run("down", "--purge")


@pytest.fixture(scope="module")
def demonstration(command_line: CommandLine) -> dict[str, object]:
    result = command_line.result("demo", "--dataset", "telco", "--as-of", "2026-10-31")
    assert isinstance(result, dict)
    return result


@pytest.fixture
def instance(command_line: CommandLine, demonstration: dict[str, object]) -> Settings:
    return Settings(_env_file=None, home=command_line.home, dataset="telco")


def test_demo_scores_every_active_customer(demonstration: dict[str, object]) -> None:
    customers = demonstration["customers"]
    assert isinstance(customers, dict)
    assert customers["scored"] == customers["active"] > 1000
    assert customers["known"] > customers["active"]


def test_demo_names_whom_to_call_first(demonstration: dict[str, object]) -> None:
    call_first = demonstration["call_first"]
    assert isinstance(call_first, list)
    losses = [float(customer[4]) for customer in call_first]
    assert len(losses) == 10
    assert losses == sorted(losses, reverse=True)


def test_tiers_add_up_to_the_expected_revenue_loss(demonstration: dict[str, object]) -> None:
    tiers, loss = demonstration["tiers"], demonstration["expected_revenue_loss_amount"]
    assert isinstance(tiers, list)
    assert sum(float(tier[3]) for tier in tiers) == pytest.approx(float(str(loss)), abs=0.005)


def test_demo_leaves_the_addresses_it_prints_answering(demonstration: dict[str, object]) -> None:
    health = httpx.get(f"{demonstration['airflow_url']}/api/v2/monitor/health").json()
    assert health["scheduler"]["status"] == "healthy"
    assert httpx.get(f"{demonstration['dashboard_url']}/_stcore/health").text == "ok"
    assert Path(str(demonstration["data_docs"])).is_file()


def test_printed_url_opens_the_marts_as_bi_reader(
    command_line: CommandLine, demonstration: dict[str, object]
) -> None:
    url = command_line.run("warehouse", "url", "--role", "bi_reader").stdout.strip()
    with psycopg.connect(url) as reader:
        rows = reader.execute("select user, count(*) from marts.customer_churn_current").fetchall()
    assert rows == [("bi_reader", demonstration["customers"]["active"])]  # type: ignore[index]


def test_freshness_names_the_night(instance: Settings, demonstration: dict[str, object]) -> None:
    with connect(instance, Role.READER) as reader:
        row = reader.execute("select last_as_of_date::text, run_id from marts.warehouse_freshness").fetchone()
    assert row == ("2026-10-31", demonstration["run_id"])


def test_doctor_finds_nothing_wrong(command_line: CommandLine, demonstration: dict[str, object]) -> None:
    findings = command_line.result("doctor")
    assert isinstance(findings, list)
    assert [finding for finding in findings if not finding["is_healthy"]] == []


def test_runs_and_models_are_listed(command_line: CommandLine, demonstration: dict[str, object]) -> None:
    runs, models = command_line.result("run", "list"), command_line.result("model", "list")
    assert isinstance(runs, list)
    assert isinstance(models, list)
    assert [run["run_id"] for run in runs if run["is_published"]] == [demonstration["run_id"]]
    assert {run["status"] for run in runs} == {"succeeded"}
    assert [model["model_version"] for model in models] == [demonstration["model_version"]]


def test_champion_before_its_cut_off_is_refused(
    command_line: CommandLine, demonstration: dict[str, object]
) -> None:
    refused = command_line.run("model", "champion", "--on", "2026-01-01")
    assert refused.returncode == 1
    assert "churn-ml model promote" in refused.stderr


def test_psql_reads_the_marts_on_a_machine_without_postgres(
    command_line: CommandLine, demonstration: dict[str, object]
) -> None:
    statement = "select distinct run_id from marts.customer_churn_current"
    result = command_line.run("warehouse", "psql", "--tuples-only", "-c", statement)
    assert result.stdout.strip() == demonstration["run_id"]


def test_demonstration_of_another_file_wants_an_instance_of_its_own(
    command_line: CommandLine, demonstration: dict[str, object], snapshots: dict[date, Path]
) -> None:
    file = str(next(iter(snapshots.values())))
    refused = command_line.run("demo", "--dataset", "telco", "--file", file, "--as-of", "2026-10-31")
    assert refused.returncode == 1
    assert "down --purge" in refused.stderr


def test_demonstration_of_another_dataset_is_refused_before_airflow_changes_its_own(
    command_line: CommandLine, demonstration: dict[str, object]
) -> None:
    refused = command_line.run("demo", "--dataset", "subscriptions")
    assert refused.returncode == 1
    assert "holds simulated telco" in refused.stderr
    assert "==>" not in refused.stderr, "nothing was started"


def test_down_stops_exactly_what_up_started(
    command_line: CommandLine, demonstration: dict[str, object]
) -> None:
    stopped = command_line.result("down")
    assert stopped == {
        "stopped": ["dashboard", "scheduler", "dag-processor", "api-server", "postgres"],
        "purged": False,
    }
    statuses = command_line.result("status")
    assert isinstance(statuses, list)
    assert not any(status["is_running"] for status in statuses)
    assert command_line.result("down") == {"stopped": [], "purged": False}
