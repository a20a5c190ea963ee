"""``up``, ``down``, ``status`` and ``doctor``."""

from typing import Annotated

import typer

from churn_ml.cli.output import JsonOption, print_fields, print_json, print_table
from churn_ml.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    for command in (up, down, status, doctor):
        app.command()(command)


def up(
    *,
    airflow: Annotated[bool, typer.Option(help="Start Airflow and the dashboard too.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Start the warehouse, Airflow and the dashboard, whatever of them does not run yet."""
    from churn_ml.services.instance import instance_status, start_instance, start_warehouse

    settings = load_settings()
    endpoint, pages = start_instance(settings) if airflow else (None, None)
    if not airflow:
        start_warehouse(settings)
    if as_json:
        print_json({"services": instance_status(settings), "airflow": endpoint, "dashboard": pages})
        return
    print_fields({status.service: status.address or "running" for status in instance_status(settings)})
    if endpoint:
        print(f"\nAirflow    {endpoint.url}  user {endpoint.user}, password in {endpoint.password_file}")
    if pages:
        print(f"Dashboard  {pages.url}  no sign-in")


def down(
    *,
    purge: Annotated[
        bool, typer.Option(help="Delete the data, the secrets and the logs too. There is no way back.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop exactly what `up` started."""
    from churn_ml.services.instance import stop_instance

    stopped = stop_instance(load_settings(), purge=purge)
    if as_json:
        print_json({"stopped": stopped, "purged": purge})
    else:
        print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def status(*, as_json: JsonOption = False) -> None:
    """Say what runs and where."""
    from churn_ml.services.instance import instance_status

    statuses = instance_status(load_settings())
    if as_json:
        print_json(statuses)
        return
    rows = [(s.service, s.is_running, str(s.pid or "-"), s.address, s.log) for s in statuses]
    print_table("Services", ["service", "running", "pid", "address", "log"], rows)


def doctor(*, as_json: JsonOption = False) -> None:
    """Check every part and name the next command where something is wrong; exit status 1 then."""
    from churn_ml.services.doctor import examine

    findings = examine(load_settings())
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            print(f"{'ok   ' if finding.is_healthy else 'WRONG'}  {finding.part}: {finding.observation}")
            if finding.next_step:
                print(f"       next: {finding.next_step}")
    if not all(finding.is_healthy for finding in findings):
        raise typer.Exit(1)
