"""A live Airflow: who may enter, what a failed night does, what survives a kill, what stop leaves."""

import os
import signal
import socket
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from live import LiveAirflow, processes_of

from churn_ml.errors import ServiceError
from churn_ml.services.airflow import (
    AirflowClient,
    airflow_endpoint,
    airflow_processes,
    start_airflow,
    stop_airflow,
)
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

pytestmark = pytest.mark.live

CUT_OFF = datetime(2026, 9, 2, 2, tzinfo=UTC)
SERVICES = {"api-server", "scheduler", "dag-processor"}


def pids(settings: Settings) -> dict[str, int]:
    return {status.name: status.pid for status in airflow_processes(settings) if status.running}


def read_rows(settings: Settings, dag_run_id: str) -> list[tuple[object, ...]]:
    with connect(settings, Role.LOADER) as loader:
        return loader.execute(
            "select status, known_as_of, failure from ops.pipeline_runs where dag_run_id = %s", [dag_run_id]
        ).fetchall()


def listening_addresses(port: int) -> set[str]:
    """Return the local addresses, in the kernel's notation, on which `port` is open."""
    tables = [Path(f"/proc/net/{name}").read_text().splitlines() for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table]
    return {
        fields[1].split(":")[0]
        for fields in lines
        if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")
    }


def test_three_processes_run_and_listen_on_this_machine_only(live_airflow: LiveAirflow) -> None:
    assert set(pids(live_airflow.settings)) == SERVICES
    assert listening_addresses(int(airflow_endpoint(live_airflow.settings).url.rsplit(":", 1)[1])) == {
        "0100007F"
    }


def test_password_file_is_for_the_owner_only(live_airflow: LiveAirflow) -> None:
    endpoint = airflow_endpoint(live_airflow.settings)
    assert endpoint.password_file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ServiceError, match="401"):
        AirflowClient(endpoint.url, endpoint.user, "guess").dag_run("churn_nightly", "any")


def test_starting_twice_changes_nothing(live_airflow: LiveAirflow) -> None:
    before = pids(live_airflow.settings)
    start_airflow(live_airflow.settings)
    assert pids(live_airflow.settings) == before


@pytest.mark.parametrize(
    ("dag_id", "conf", "problem"),
    [("churn_nightly", {"reason": ""}, "reason"), ("churn_training", {"seed": "seven"}, "seed"),
     ("churn_training", {"seed": -1}, "seed")],
)  # fmt: skip
def test_param_of_a_wrong_type_is_refused(
    live_airflow: LiveAirflow, dag_id: str, conf: dict[str, object], problem: str
) -> None:
    live_airflow.client.unpause(dag_id)
    with pytest.raises(ServiceError, match=f"400.*{problem}"):
        live_airflow.client.trigger(dag_id, data_interval_end=CUT_OFF, conf=conf)


def test_failed_night_stays_failed_and_is_told_once(live_airflow: LiveAirflow) -> None:
    settings, client = live_airflow.settings, live_airflow.client
    folder = settings.inbox / date(2026, 9, 1).isoformat()
    folder.mkdir(parents=True)
    (folder / "customers.csv").write_text("nothing,like,customers\n1,2,3\n")
    client.unpause("churn_nightly")
    former = len(live_airflow.posts)
    dag_run_id = client.trigger("churn_nightly", data_interval_end=CUT_OFF, conf={"reason": "a bad delivery"})
    assert client.wait_for_run("churn_nightly", dag_run_id, seconds=180) == "failed"
    (folder / "customers.csv").unlink()

    tasks = {task["task_id"]: task for task in client.task_instances("churn_nightly", dag_run_id)}
    assert tasks["land"]["state"] == "failed"
    assert tasks["land"]["try_number"] == 1, "a delivery that cannot be landed is not tried again"
    assert {tasks[name]["state"] for name in tasks if name not in {"open_run", "land"}} == {"upstream_failed"}

    [(status, known_as_of, failure)] = read_rows(settings, dag_run_id)
    assert (status, known_as_of) == ("failed", CUT_OFF)
    assert str(failure).startswith("land: LandingError: ")

    live_airflow.wait_for_posts(former + 1)
    time.sleep(5)
    [post] = live_airflow.posts[former:]
    assert (post["dag_id"], post["dag_run_id"], post["failed_tasks"]) == (
        "churn_nightly",
        dag_run_id,
        ["land"],
    )
    assert post["message"] == failure
    assert post["url"] == f"{client.url}/dags/churn_nightly/runs/{dag_run_id}"
    assert client.dag_run("churn_nightly", dag_run_id)["state"] == "failed"


@pytest.mark.long
def test_rerun_of_a_night_is_a_new_run_of_the_same_interval(live_airflow: LiveAirflow) -> None:
    client = live_airflow.client
    client.unpause("churn_nightly")
    cut_off = datetime(2026, 8, 2, 2, tzinfo=UTC)
    runs = []
    for _ in range(2):
        dag_run_id = client.trigger("churn_nightly", data_interval_end=cut_off)
        client.wait_for_run("churn_nightly", dag_run_id, seconds=180)  # no snapshot: both end at once
        runs.append(dag_run_id)
    assert len(set(runs)) == 2
    assert [row[1] for run in runs for row in read_rows(live_airflow.settings, run)] == [cut_off, cut_off]


@pytest.mark.long
def test_clearing_a_night_makes_a_new_run(live_airflow: LiveAirflow) -> None:
    client = live_airflow.client
    client.unpause("churn_nightly")
    dag_run_id = client.trigger("churn_nightly", data_interval_end=datetime(2026, 7, 2, 2, tzinfo=UTC))
    client.wait_for_run("churn_nightly", dag_run_id, seconds=180)
    client.clear_run("churn_nightly", dag_run_id)
    assert client.wait_for_run("churn_nightly", dag_run_id, seconds=180) == "failed"  # still no snapshot
    assert [row[0] for row in read_rows(live_airflow.settings, dag_run_id)] == ["failed", "failed"]


@pytest.mark.long
def test_killed_scheduler_is_started_again_and_nothing_else(live_airflow: LiveAirflow) -> None:
    before = pids(live_airflow.settings)
    os.kill(before["scheduler"], signal.SIGKILL)
    while "scheduler" in pids(live_airflow.settings):
        time.sleep(0.05)
    start_airflow(live_airflow.settings)
    after = pids(live_airflow.settings)
    assert {name for name in SERVICES if after[name] != before[name]} == {"scheduler"}


def test_port_asked_for_must_be_free(live_airflow: LiveAirflow) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        asked = live_airflow.settings.model_copy(update={"airflow_port": listener.getsockname()[1]})
        with pytest.raises(ServiceError, match="CHURN_AIRFLOW_PORT"):
            start_airflow(asked)
    assert set(pids(live_airflow.settings)) == SERVICES


@pytest.mark.long
def test_stop_leaves_nothing_and_a_taken_port_is_left_to_its_owner(live_airflow: LiveAirflow) -> None:
    settings = live_airflow.settings
    former = airflow_endpoint(settings).url
    assert set(stop_airflow(settings)) == SERVICES
    assert processes_of(settings) == []
    assert stop_airflow(settings) == []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(former.rsplit(":", 1)[1])))
        listener.listen()
        assert start_airflow(settings).url != former
    assert live_airflow.client.health()["scheduler"]["status"] == "healthy"
