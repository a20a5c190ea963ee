"""The dashboard as a process: Streamlit on this machine, told no secret but the reader's URL."""

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from churn_ml.errors import ServiceError
from churn_ml.services.postgres import free_port
from churn_ml.services.supervision import ProcessStatus, Supervisor, port_is_free
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, warehouse_url
from churn_ml.warehouse.state import read_state, update_state

log = logging.getLogger(__name__)

DASHBOARD = "dashboard"
LOOPBACK = "127.0.0.1"
_APP = Path(__file__).parents[1] / "dashboard" / "start" / "app.py"
_HEALTHY_WITHIN_SECONDS = 60
# What a process needs of its caller's environment, and nothing that could hold a secret.
_INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "SSL_CERT_FILE", "TMPDIR", "TZ")
# Nothing listens there. Streamlit asks an outside host for its own address where a page of another
# origin knocks; this process has nobody to call.
_NO_PROXY_SERVER = "http://127.0.0.1:9"


@dataclass(frozen=True)
class DashboardEndpoint:
    """Where people reach the dashboard (`url`), and where it listens (`address`)."""

    url: str
    address: str


def dashboard_endpoint(settings: Settings) -> DashboardEndpoint | None:
    """Return where this instance's dashboard is, running or not; None before it was first started."""
    port = settings.dashboard_port or read_state(settings).get("dashboard_port")
    if port is None:
        return None
    address = f"http://{LOOPBACK}:{port}"
    return DashboardEndpoint((settings.dashboard_url or address).rstrip("/"), address)


def begin_dashboard(settings: Settings) -> None:
    """Start the supervised dashboard unless it runs with these settings; it need not answer yet.

    Raises
    ------
    ServiceError
        If the port asked for is taken.
    """
    supervisor = _supervisor(settings)
    with supervisor.locked():
        port = claim_port(settings, is_ours=supervisor.running(DASHBOARD) is not None)
        command = dashboard_command(settings, port)
        environment = dashboard_environment(settings)
        told = {name: value for name, value in environment.items() if name not in _INHERITED}
        fingerprint = hashlib.sha256(json.dumps([told, command], sort_keys=True).encode()).hexdigest()
        supervisor.ensure_running(DASHBOARD, command, environment, fingerprint=fingerprint)


def await_dashboard(settings: Settings, seconds: float = _HEALTHY_WITHIN_SECONDS) -> DashboardEndpoint:
    """Wait until the dashboard that was begun answers, and return where it is.

    Raises
    ------
    ServiceError
        If its process ends meanwhile, or `seconds` pass; the message holds the end of its log.
    """
    supervisor, endpoint = _supervisor(settings), dashboard_endpoint(settings)
    deadline = time.monotonic() + seconds
    while endpoint is not None and supervisor.running(DASHBOARD) is not None and time.monotonic() < deadline:
        if answers(endpoint.address):
            log.info("the dashboard answers at %s", endpoint.address)
            return endpoint
        time.sleep(0.1)
    path = supervisor.log_file(DASHBOARD)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    raise ServiceError(
        f"Expected the dashboard to answer within {seconds:.0f} s, found that it does not. The end of its "
        f"log {path}:\n" + "\n".join(lines[-20:]) + "\nRun `churn-ml down`, then `churn-ml up`."
    )


def stop_dashboard(settings: Settings) -> list[str]:
    """Stop the supervised dashboard; return its name if it was running."""
    supervisor = _supervisor(settings)
    if not supervisor.folder.exists():
        return []
    with supervisor.locked():
        return [DASHBOARD] if supervisor.stop(DASHBOARD) else []


def dashboard_process(settings: Settings) -> ProcessStatus | None:
    """Return the supervised dashboard as it is now; None where it was never started."""
    return next((status for status in _supervisor(settings).statuses() if status.name == DASHBOARD), None)


def answers(address: str) -> bool:
    """Return whether a dashboard at `address` says that it is healthy."""
    try:
        response = httpx.get(f"{address}/_stcore/health", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    return response.status_code == httpx.codes.OK


def claim_port(settings: Settings, *, is_ours: bool = False) -> int:
    """Return the port asked for, else the remembered one, else a free one, and remember it.

    `is_ours` says that the remembered port is held by this instance's own dashboard.

    Raises
    ------
    ServiceError
        If the port asked for is taken.
    """
    remembered = read_state(settings).get("dashboard_port")
    wanted = settings.dashboard_port or remembered
    if wanted is not None and ((is_ours and wanted == remembered) or port_is_free(wanted)):
        port = int(wanted)
    elif settings.dashboard_port is not None:
        raise taken_port(settings.dashboard_port, "CHURN_DASHBOARD_PORT")
    else:
        port = free_port()
        if remembered is not None:
            log.warning("port %d is taken by another process: the dashboard moves to %d", remembered, port)
    if port != remembered:
        update_state(settings, dashboard_port=port)
    return port


def taken_port(port: int, source: str) -> ServiceError:
    """Return the error for a port that was asked for by `source` and that another process has."""
    return ServiceError(
        f"Expected port {port} ({source}) to be free for the dashboard, found another process listening on "
        "it. Stop that process, or leave the port out to have one found."
    )


def dashboard_command(settings: Settings, port: int, host: str = LOOPBACK) -> list[str]:
    """Return the command that serves the dashboard on `host` and `port`.

    Every option is a flag, so that neither the working directory nor a home folder changes it.
    """
    public = urlsplit(settings.dashboard_url or f"http://{LOOPBACK}:{port}")
    options: dict[str, object] = {
        "server.address": host,
        "server.port": port,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "server.enableCORS": "true",
        "server.enableXsrfProtection": "true",
        "browser.serverAddress": public.hostname,
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "logger.hideWelcomeMessage": "true",
        "logger.level": "warning",
    }
    hosts = dict.fromkeys([LOOPBACK, "localhost", str(public.hostname)])
    return [
        *(sys.executable, "-m", "streamlit", "run", str(_APP)),
        *(f"--{name}={value}" for name, value in options.items()),
        *(f"--server.allowedHosts={name}" for name in hosts),
    ]


def dashboard_environment(settings: Settings) -> Mapping[str, str]:
    """Return the whole environment of the dashboard: of all secrets, it holds the reader's URL alone.

    Raises
    ------
    SettingsError
        If no warehouse is remembered and none is set.
    """
    url = warehouse_url(settings, Role.READER).render_as_string(hide_password=False)
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
        "CHURN_PROJECT_DIR": str(settings.project_dir),
        "CHURN_HOME": str(settings.home),
        "CHURN_DATASET": settings.dataset,
        "CHURN_READER_URL": url,
        "HOME": str(_supervisor(settings).folder),
        "HTTP_PROXY": _NO_PROXY_SERVER,
        "HTTPS_PROXY": _NO_PROXY_SERVER,
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
        "SPT_NOENV": "1",  # supervision finds the process by a mark in its environment
    }


def _supervisor(settings: Settings) -> Supervisor:
    return Supervisor(settings.home / DASHBOARD)
