"""The embedded Airflow: API server, scheduler and dag processor as supervised processes.

The metadata is a database of its own on the warehouse's server. A running Airflow is driven by
`AirflowClient`.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from churn_ml.errors import ServiceError, SettingsError
from churn_ml.services.airflow_client import AirflowClient
from churn_ml.services.airflow_environment import (
    ADMIN_USER,
    AirflowEndpoint,
    admin_password,
    airflow_endpoint,
    airflow_environment,
    airflow_home,
    airflow_port,
    own_variables,
    password_file,
)
from churn_ml.services.postgres import free_port
from churn_ml.services.supervision import ProcessStatus, Supervisor, port_is_free
from churn_ml.services.warm_start import warm_command
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import is_published, open_repetition, open_run
from churn_ml.warehouse.state import read_state, update_state

__all__ = [
    "AirflowClient",
    "AirflowEndpoint",
    "airflow_endpoint",
    "airflow_environment",
    "airflow_processes",
    "mint_repetition",
    "mint_run",
    "prepare_airflow",
    "start_airflow",
    "stop_airflow",
    "wait_until_healthy",
]

log = logging.getLogger(__name__)

_SERVICES = ("scheduler", "dag-processor", "api-server")  # in the order in which they are stopped
_START_ATTEMPTS = 2
_HEALTHY_WITHIN_SECONDS = 180


def start_airflow(settings: Settings) -> AirflowEndpoint:
    """Start what does not run, wait until all is healthy, and return where it is.

    Raises
    ------
    ServiceError
        If the port asked for is taken or a process does not come up; the message holds the end
        of its log.
    """
    started = time.monotonic()
    supervisor = _supervisor(settings)
    with supervisor.locked():
        for attempt in range(1, _START_ATTEMPTS + 1):
            _claim_port(settings, supervisor)
            prepare_airflow(settings)
            _ensure_services(settings, supervisor)
            try:
                wait_until_healthy(settings)
                break
            except ServiceError:
                if attempt == _START_ATTEMPTS or not _lost_its_port(supervisor):
                    raise
                log.warning("another process took Airflow's port: trying another one")
    endpoint = airflow_endpoint(settings)
    log.info("Airflow is healthy at %s after %.1f s", endpoint.url, time.monotonic() - started)
    return endpoint


def prepare_airflow(settings: Settings) -> None:
    """Bring Airflow's home folder and metadata to where its processes and ``dag.test()`` need them."""
    airflow_home(settings).mkdir(parents=True, exist_ok=True)
    _write_password_file(settings)
    _migrate_metadata(settings)


def stop_airflow(settings: Settings) -> list[str]:
    """Stop this instance's Airflow processes with all their descendants; return their names."""
    supervisor = _supervisor(settings)
    if not supervisor.folder.exists():
        return []
    with supervisor.locked():
        return [name for name in _SERVICES if supervisor.stop(name)]


def airflow_processes(settings: Settings) -> list[ProcessStatus]:
    """Return each process that was started, and whether it runs."""
    return _supervisor(settings).statuses()


def mint_run(settings: Settings, run_kind: str, dag_run: Any) -> str:
    """Open the run of an Airflow DAG run and return its id; the cut-off is the end of its data interval.

    Raises
    ------
    SettingsError
        If the DAG run has no data interval; the message says how to trigger one.
    """
    cut_off = _cut_off_of(dag_run, "churn-ml night")
    run = open_run(settings, run_kind, cut_off, dag_id=dag_run.dag_id, dag_run_id=dag_run.run_id)
    return run.run_id


def mint_repetition(settings: Settings, dag_run: Any, params: Mapping[str, Any]) -> str | None:
    """Open the run that repeats a night for an Airflow DAG run, and return its id.

    The night is the one whose data interval the DAG run has. `params` are those of ``churn_backfill``.
    None: a backfill over a range asks to reproduce a night that was not published; it is skipped.

    Raises
    ------
    SettingsError
        If the DAG run has no data interval, or the params do not belong together.
    """
    as_of_date = _cut_off_of(dag_run, f"churn-ml {params['run_kind']}").date() - timedelta(days=1)
    known_as_of = params.get("known_as_of")
    reproduces = params["run_kind"] == "reproduce"
    if reproduces and (known_as_of or params.get("publish")):
        raise SettingsError(
            "Expected known_as_of and publish with run_kind restate only, found them with reproduce: it "
            "knows what its night knew, and gives the rows that BI sees already. Leave them out, or restate."
        )
    if reproduces and dag_run.run_type == "backfill" and not is_published(settings, as_of_date):
        log.info("no night of %s is published: there is nothing to reproduce", as_of_date)
        return None
    run = open_repetition(
        settings,
        params["run_kind"],
        as_of_date,
        datetime.fromisoformat(known_as_of) if known_as_of else None,
        dag_id=dag_run.dag_id,
        dag_run_id=dag_run.run_id,
    )
    return run.run_id


def _cut_off_of(dag_run: Any, command: str) -> datetime:
    cut_off = dag_run.data_interval_end
    if cut_off is None:
        raise SettingsError(
            f"Expected a data interval that ends at the cut-off, found none on {dag_run.run_id} of "
            f"{dag_run.dag_id}. Trigger it with a logical date, or run `{command} --as-of <YYYY-MM-DD>`."
        )
    moment: datetime = cut_off.astimezone(UTC)
    return moment


def wait_until_healthy(settings: Settings, seconds: float = _HEALTHY_WITHIN_SECONDS) -> None:
    """Wait until the API server answers and scheduler and dag processor of this start beat.

    Raises
    ------
    ServiceError
        If one of the processes ends meanwhile, or `seconds` pass.
    """
    supervisor = _supervisor(settings)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name in _SERVICES:
            if supervisor.running(name) is None:
                raise ServiceError(
                    f"Expected Airflow's {name} to run, found that it ended. The end of its log:\n"
                    f"{_log_end(supervisor.log_file(name))}\nRun `churn-ml doctor` for what to do next."
                )
        if not _unhealthy(settings, supervisor):
            return
        time.sleep(0.2)
    missing = ", ".join(_unhealthy(settings, supervisor)) or "nothing any more"
    raise ServiceError(
        f"Expected Airflow to be healthy within {seconds:.0f} s, found waiting for: {missing}. "
        f"Read the logs in {supervisor.folder}, then run `churn-ml down` and `churn-ml up`."
    )


def _supervisor(settings: Settings) -> Supervisor:
    return Supervisor(airflow_home(settings))


def _write_password_file(settings: Settings) -> None:
    """Write the file in the form that Airflow's SimpleAuthManager reads, for the owner only."""
    path = password_file(settings)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({ADMIN_USER: admin_password(settings)}, file)


def _claim_port(settings: Settings, supervisor: Supervisor) -> None:
    """Keep the remembered port, or move to a free one; a port that was asked for is never moved."""
    remembered = read_state(settings).get("airflow_port")
    is_ours = supervisor.running("api-server") is not None
    wanted = settings.airflow_port or remembered
    if wanted is not None and ((is_ours and wanted == remembered) or port_is_free(wanted)):
        port = int(wanted)
    elif settings.airflow_port is not None:
        raise ServiceError(
            f"Expected port {settings.airflow_port} (CHURN_AIRFLOW_PORT) to be free for Airflow, found "
            "another process listening on it. Stop that process, or unset the variable to have one found."
        )
    else:
        port = free_port()
        if remembered is not None:
            log.warning("port %d is taken by another process: Airflow moves to %d", remembered, port)
    if port != remembered:
        update_state(settings, airflow_port=port)


def _lost_its_port(supervisor: Supervisor) -> bool:
    return "address already in use" in _log_end(supervisor.log_file("api-server"), lines=40).lower()


def _ensure_services(settings: Settings, supervisor: Supervisor) -> None:
    environment = airflow_environment(settings)
    told = json.dumps(own_variables(settings), sort_keys=True)
    arguments = {
        "api-server": ["--host", "127.0.0.1", "--port", str(airflow_port(settings)), "--workers", "1"],
        # Logs are read from the folder; the log server would claim one fixed port on every address.
        "scheduler": ["--skip-serve-logs"],
        "dag-processor": [],
    }
    for name, options in arguments.items():
        command = [sys.executable, "-m", "airflow", name, *options]
        if name == "scheduler":
            command = warm_command("airflow", name, *options)
        fingerprint = hashlib.sha256("\0".join([told, *command]).encode()).hexdigest()
        supervisor.ensure_running(name, command, environment, fingerprint=fingerprint)


def _migrate_metadata(settings: Settings) -> None:
    """Run ``airflow db migrate`` unless this version has brought this very database to its head."""
    version = importlib.metadata.version("apache-airflow-core")
    revision = _metadata_revision(settings)
    remembered = [version, settings.airflow_database, revision]
    if revision is not None and read_state(settings).get("airflow_metadata") == remembered:
        return
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=airflow_environment(settings),
        cwd=airflow_home(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        end = "\n".join((result.stdout + result.stderr).splitlines()[-20:])
        raise ServiceError(
            f"Expected `airflow db migrate` to prepare {settings.airflow_database}, found:\n{end}"
        )
    update_state(
        settings, airflow_metadata=[version, settings.airflow_database, _metadata_revision(settings)]
    )
    log.info("migrated Airflow's metadata in %.1f s", time.monotonic() - started)


def _metadata_revision(settings: Settings) -> str | None:
    with connect(settings, Role.AIRFLOW) as connection:
        found = connection.execute("select to_regclass('public.alembic_version')::text").fetchone()
        if found is None or found[0] is None:
            return None
        row = connection.execute("select version_num from public.alembic_version").fetchone()
    return str(row[0]) if row is not None else None


def _unhealthy(settings: Settings, supervisor: Supervisor) -> list[str]:
    """Name the components that are not known to be healthy since they were started last."""
    try:
        health = AirflowClient.connect(settings).health()
    except ServiceError:
        return ["api-server"]
    beats = {
        "scheduler": health["scheduler"]["latest_scheduler_heartbeat"],
        "dag-processor": (health["dag_processor"] or {}).get("latest_dag_processor_heartbeat"),
    }
    problems = [] if health["metadatabase"]["status"] == "healthy" else ["metadata database"]
    for name, beat in beats.items():
        record = supervisor.running(name)
        if record is None or beat is None or not _is_since(beat, record.started_at):
            problems.append(name)
    return problems


def _is_since(beat: str, started_at: float) -> bool:
    return datetime.fromisoformat(beat) >= datetime.fromtimestamp(started_at, UTC)


def _log_end(path: Path, lines: int = 20) -> str:
    if not path.exists():
        return "(no log was written)"
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
