"""``dashboard``: the pages over the published marts, in a browser."""

import os
import sys
from enum import StrEnum
from typing import Annotated, NoReturn

import typer

from churn_ml.cli.output import JsonOption, print_json
from churn_ml.errors import ServiceError
from churn_ml.settings import Settings, load_settings


class Host(StrEnum):
    """Where it may listen."""

    LOOPBACK = "127.0.0.1"
    EVERYWHERE = "0.0.0.0"  # noqa: S104  # nosec B104


def add_to(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(dashboard)


def dashboard(
    *,
    port: Annotated[
        int | None,
        typer.Option(min=1024, max=65535, help="Default: CHURN_DASHBOARD_PORT, else a free one is found."),
    ] = None,
    host: Annotated[
        Host,
        typer.Option(help="0.0.0.0 is for a container: there is no sign-in, whoever reaches it reads."),
    ] = Host.LOOPBACK,
    as_json: JsonOption = False,
) -> None:
    """Serve the dashboard until Ctrl-C; where `up` runs it already, say where and end."""
    from churn_ml.services.dashboard import await_dashboard, dashboard_process

    settings = load_settings()
    process = dashboard_process(settings)
    if port is not None or process is None or not process.running:
        _serve(settings, port, host, as_json)
    if host is Host.EVERYWHERE:
        raise ServiceError(
            f"Expected no dashboard of this instance to run, found process {process.pid} on 127.0.0.1, which "
            "`churn-ml up` started. Run `churn-ml down` first, or give a `--port` of its own."
        )
    _say(await_dashboard(settings).url, as_json, "runs already; `churn-ml down` stops it")


def _serve(settings: Settings, port: int | None, host: Host, as_json: bool) -> NoReturn:
    """Become the dashboard: signals reach it as they reach this command."""
    from churn_ml.services.dashboard import (
        claim_port,
        dashboard_command,
        dashboard_environment,
        taken_port,
    )
    from churn_ml.services.supervision import port_is_free

    environment = dashboard_environment(settings)
    if port is not None and not port_is_free(port):
        raise taken_port(port, "--port")
    chosen = port or claim_port(settings)
    if host is Host.EVERYWHERE:
        print("the dashboard has no sign-in: whoever reaches this port reads every page", file=sys.stderr)
    _say(settings.dashboard_url or f"http://{Host.LOOPBACK}:{chosen}", as_json, "Ctrl-C ends it")
    command = dashboard_command(settings, chosen, host.value)
    sys.stdout.flush()
    os.execve(command[0], command, environment)  # noqa: S606  # nosec B606


def _say(url: str, as_json: bool, remark: str) -> None:
    print_json({"url": url}) if as_json else print(f"Dashboard  {url}  ({remark})")
