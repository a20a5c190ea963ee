"""One instance: its Postgres, warehouse, Airflow and dashboard, started and stopped together."""

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from churn_ml.errors import ServiceError
from churn_ml.services.airflow import (
    AirflowEndpoint,
    airflow_endpoint,
    airflow_processes,
    start_airflow,
    stop_airflow,
)
from churn_ml.services.dashboard import (
    DASHBOARD,
    DashboardEndpoint,
    await_dashboard,
    begin_dashboard,
    dashboard_endpoint,
    dashboard_process,
    stop_dashboard,
)
from churn_ml.services.postgres import (
    data_folder,
    postgres_pid,
    remove_postgres,
    start_postgres,
    stop_postgres,
)
from churn_ml.settings import Settings
from churn_ml.warehouse.provision import provision
from churn_ml.warehouse.state import read_state

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceStatus:
    """One process: whether it runs, where it listens and where its log is."""

    service: str
    is_running: bool
    pid: int | None
    address: str | None
    log: str | None


def start_warehouse(settings: Settings) -> None:
    """Start the embedded Postgres unless it runs, and bring the warehouse to the newest schema."""
    with _exclusively(settings):
        if settings.warehouse_url is None:
            start_postgres(settings)
        provision(settings)


def start_instance(settings: Settings) -> tuple[AirflowEndpoint, DashboardEndpoint]:
    """Start whatever of the instance does not run: the warehouse, then Airflow and the dashboard."""
    start_warehouse(settings)
    with _exclusively(settings):
        begin_dashboard(settings)  # its port is known before Airflow, which links to it
        airflow = start_airflow(settings)
        return airflow, await_dashboard(settings)


def stop_instance(settings: Settings, *, purge: bool = False) -> list[str]:
    """Stop what `start_instance` started and return the names of what was running.

    With `purge` the instance's data and secrets are deleted too; an outside Postgres is left alone.
    """
    if not settings.home.exists():
        return []
    with _exclusively(settings):
        stopped = stop_dashboard(settings) + stop_airflow(settings)
        if settings.warehouse_url is None and stop_postgres(settings):
            stopped.append("postgres")
        if purge:
            remove_postgres(settings)
    if purge:
        shutil.rmtree(settings.home)
    return stopped


def instance_status(settings: Settings) -> list[ServiceStatus]:
    """Return the state of every process of the instance."""
    statuses = [] if settings.warehouse_url is not None else [_postgres_status(settings)]
    endpoint = airflow_endpoint(settings)
    for process in airflow_processes(settings):
        address = endpoint.url if process.name == "api-server" else None
        statuses.append(
            ServiceStatus(
                f"airflow {process.name}", process.running, process.pid, address, str(process.log_file)
            )
        )
    return statuses + _dashboard_statuses(settings)


def _postgres_status(settings: Settings) -> ServiceStatus:
    state = read_state(settings)
    pid = postgres_pid(settings)
    port = state.get("postgres_port")
    log_file = str(data_folder(settings).parent / "postgres.log") if "instance_id" in state else None
    return ServiceStatus("postgres", pid is not None, pid, f"127.0.0.1:{port}" if port else None, log_file)


def _dashboard_statuses(settings: Settings) -> list[ServiceStatus]:
    process, endpoint = dashboard_process(settings), dashboard_endpoint(settings)
    if process is None or endpoint is None:
        return []
    log_file = str(process.log_file)
    return [ServiceStatus(DASHBOARD, process.running, process.pid, endpoint.address, log_file)]


@contextmanager
def _exclusively(settings: Settings) -> Iterator[None]:
    """Let only one command at a time start or stop this instance."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another command that starts or stops this instance")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def require_running(settings: Settings) -> None:
    """Refuse to go on without the instance; no night waits for the dashboard.

    Raises
    ------
    ServiceError
        If a process of the instance is not running; the message names it.
    """
    needed = [status for status in instance_status(settings) if status.service != DASHBOARD]
    down = [status.service for status in needed if not status.is_running]
    if down or not airflow_processes(settings):
        raise ServiceError(
            f"Expected the instance in {settings.home} to run, found down: {', '.join(down) or 'airflow'}. "
            "Run `churn-ml up`."
        )
