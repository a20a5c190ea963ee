"""``demo``: everything from an empty machine to published nights, then their result."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from churn_ml.cli.demo_history import run_history
from churn_ml.cli.demo_snapshot import run_snapshot
from churn_ml.cli.demo_steps import Steps
from churn_ml.cli.options import parse_date
from churn_ml.cli.output import JsonOption, print_json
from churn_ml.cli.report import Demonstration, print_demonstration, read_demonstration
from churn_ml.declarations import load_dataset
from churn_ml.errors import LandingError, ServiceError
from churn_ml.settings import Settings, load_settings

# Snapshot datasets that churn_ml.simulation can write a file of.
_SIMULATED = ("telco",)


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(demo)


def demo(
    *,
    dataset: Annotated[str, typer.Option(help="The dataset to serve.")] = "subscriptions",
    file: Annotated[
        Path | None, typer.Option(help="A real file of a snapshot dataset; default: simulated data.")
    ] = None,
    as_of: Annotated[
        date | None,
        typer.Option(parser=parse_date, help="The day of the newest night. Default: yesterday, UTC."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start everything, land, train, promote, score and publish; leave it running."""
    settings = load_settings(dataset=dataset)
    day = as_of or datetime.now(UTC).date() - timedelta(days=1)
    demonstration = _run(settings, file, day, Steps())
    print_json(demonstration) if as_json else print_demonstration(demonstration)


def _run(settings: Settings, file: Path | None, day: date, steps: Steps) -> Demonstration:
    from churn_ml.services.dbt import build_docs
    from churn_ml.services.instance import start_instance

    if file is not None and not file.is_file():
        raise LandingError(f"Expected a file at {file}, found none. Give FILE=<path to the CSV>.")
    dataset = load_dataset(settings)
    if file is not None and dataset.kind == "dated":
        raise LandingError(
            f"Expected no single file for the dated dataset {dataset.dataset}, found {file}. Put a folder "
            f"per delivery day into {settings.inbox}, or give DATASET=telco."
        )
    if file is None and dataset.kind == "snapshot" and dataset.dataset not in _SIMULATED:
        raise LandingError(
            f"Expected a file for {dataset.dataset}, which has no simulation, found none. Give "
            "FILE=<path to the CSV>."
        )
    source = _source_of(settings, file)
    _refuse_another(settings, source)
    with steps.step("start Postgres, Airflow and dashboard"):
        endpoint, pages = start_instance(settings)
        _claim(settings, source)
    if dataset.kind == "dated":
        night = run_history(settings, day, steps)
    else:
        night = run_snapshot(settings, file, day, steps)
    with steps.step("write the documentation of every table"):
        build_docs(settings)
    steps.add_total()
    return read_demonstration(settings, endpoint, pages, night, steps.seconds)


def _source_of(settings: Settings, file: Path | None) -> str:
    from churn_ml.landing.sources import hash_file

    if file is None:
        return f"simulated {settings.dataset}"
    return f"{settings.dataset} from file {hash_file(file).sha256[:12]}"


def _refuse_another(settings: Settings, source: str) -> None:
    """Refuse to mix two demonstrations before anything starts: Airflow would change its dataset."""
    from churn_ml.warehouse.state import read_state

    found = read_state(settings).get("demo_source")
    if found not in {None, source}:
        _refuse(settings, source, str(found))


def _claim(settings: Settings, source: str) -> None:
    """Remember whose instance this is; a model of a demonstration must not score real nights."""
    from churn_ml.warehouse.state import read_state, update_state

    if read_state(settings).get("demo_source") is not None:
        return
    if _holds_deliveries(settings):
        _refuse(settings, source, "deliveries of no demonstration")
    update_state(settings, demo_source=source)


def _refuse(settings: Settings, source: str, found: str) -> NoReturn:
    raise ServiceError(
        f"Expected an instance of its own for this demonstration ({source}), found one in "
        f"{settings.home} that holds {found}. Run "
        "`.venv/bin/churn-ml down --purge` to delete that one, or set CHURN_HOME to another folder."
    )


def _holds_deliveries(settings: Settings) -> bool:
    from churn_ml.warehouse.connection import Role, connect

    with connect(settings, Role.LOADER) as loader:
        return loader.execute("select from ops.landing_batches limit 1").fetchone() is not None
