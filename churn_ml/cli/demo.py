"""``demo``: everything from an empty machine to a published night, then its result."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_ml.cli.options import parse_date
from churn_ml.cli.output import JsonOption, print_json
from churn_ml.cli.report import Demonstration, print_demonstration, read_demonstration
from churn_ml.errors import LandingError, NoChampion, ServiceError
from churn_ml.settings import Settings, load_settings

if TYPE_CHECKING:
    from churn_ml.services.nights import DagRun, TaskTiming

_SYNTHETIC_CUSTOMERS = 6000
_SYNTHETIC_SEED = 7
_MONTH = timedelta(days=30)


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(demo)


def demo(
    *,
    dataset: Annotated[str, typer.Option(help="The dataset to serve.")] = "telco",
    file: Annotated[Path | None, typer.Option(help="A real file; default: a seeded synthetic one.")] = None,
    as_of: Annotated[
        date | None,
        typer.Option(parser=parse_date, help="The day the file describes. Default: yesterday, UTC."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start everything, land, train, promote, score and publish one night; leave it running."""
    settings = load_settings(dataset=dataset)
    day = as_of or datetime.now(UTC).date() - timedelta(days=1)
    demonstration = _run(settings, file, day, Steps())
    print_json(demonstration) if as_json else print_demonstration(demonstration)


class Steps:
    """Prints each step as it starts and keeps its seconds, in order."""

    def __init__(self) -> None:
        self.seconds: list[tuple[str, float]] = []
        self._started = time.monotonic()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step; what happens within it is listed below it."""
        typer.echo(f"==> {name}", err=True)
        started = time.monotonic()
        place = len(self.seconds)
        yield
        self.seconds.insert(place, (name, time.monotonic() - started))

    def add_total(self) -> None:
        """Add the whole as a last line."""
        self.seconds.append(("all steps", time.monotonic() - self._started))


def _run(settings: Settings, file: Path | None, day: date, steps: Steps) -> Demonstration:
    from churn_ml.services.instance import start_instance
    from churn_ml.services.nights import NIGHT_DAG, night_cut_off

    if file is not None and not file.is_file():
        raise LandingError(f"Expected a file at {file}, found none. Give FILE=<path to the CSV>.")
    with steps.step("start Postgres and Airflow"):
        endpoint = start_instance(settings)
        _keep_apart(settings, file)
    with steps.step("deliver the files to the inbox"):
        first_day = _deliver(settings, file, day)
    cut_off = night_cut_off(day)
    _ensure_champion(settings, first_day, cut_off, steps)
    with steps.step("night: land, validate, build features, score, publish"):
        night = _run_dag(settings, NIGHT_DAG, cut_off, "demo night", steps)
    steps.add_total()
    return read_demonstration(settings, endpoint, night, steps.seconds)


def _keep_apart(settings: Settings, file: Path | None) -> None:
    """Refuse to mix two demonstrations, or one with real nights: a model would score foreign data."""
    from churn_ml.landing.sources import hash_file
    from churn_ml.warehouse.state import read_state, update_state

    source = "synthetic customers" if file is None else f"file {hash_file(file).sha256[:12]}"
    found = read_state(settings).get("demo_source")
    if found is None and not _holds_deliveries(settings):
        update_state(settings, demo_source=source)
    elif found != source:
        raise ServiceError(
            f"Expected an instance of its own for this demonstration ({source}), found one in "
            f"{settings.home} that holds {found or 'deliveries of no demonstration'}. Run "
            "`.venv/bin/churn-ml down --purge` to delete that one, or set CHURN_HOME to another folder."
        )


def _holds_deliveries(settings: Settings) -> bool:
    from churn_ml.warehouse.connection import Role, connect

    with connect(settings, Role.LOADER) as loader:
        return loader.execute("select from ops.landing_batches limit 1").fetchone() is not None


def _deliver(settings: Settings, file: Path | None, day: date) -> date:
    """Put the files into the inbox and return the as-of date of the one to train on."""
    if file is not None:
        _copy(file, settings.inbox / day.isoformat() / file.name)
        return day
    from churn_ml.simulation.telco_shape import write_snapshot

    first_day = day - _MONTH
    for snapshot_day in (first_day, day):
        target = settings.inbox / snapshot_day.isoformat() / "customers.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_snapshot(target, customers=_SYNTHETIC_CUSTOMERS, as_of_date=snapshot_day, seed=_SYNTHETIC_SEED)
    return first_day


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _ensure_champion(settings: Settings, first_day: date, cut_off: datetime, steps: Steps) -> None:
    from churn_ml.landing.delivery import land_path
    from churn_ml.models.registry import champion_at, promote
    from churn_ml.services.nights import TRAINING_DAG, night_cut_off

    try:
        champion = champion_at(settings, cut_off)
    except NoChampion:
        # One snapshot only: training is cut off an hour before the night that scores it.
        training_cut_off = min(night_cut_off(first_day), cut_off - timedelta(hours=1))
        with steps.step("land the history to train on"):
            land_path(settings, settings.inbox / first_day.isoformat(), first_load=True)
        with steps.step("train: three candidates, cross-fitted"):
            training = _run_dag(settings, TRAINING_DAG, training_cut_off, "demo training", steps)
        with steps.step("promote the model that was selected"):
            version = _trained_version(settings, training.run_id)
            reason = "demo: lowest out-of-fold log loss among the candidates that passed the gates"
            promote(settings, version, training_cut_off, reason, "demo")
    else:
        typer.echo(f"==> the champion at this cut-off is {champion}: no training", err=True)


def _trained_version(settings: Settings, run_id: str) -> str:
    from churn_ml.warehouse.connection import Role, connect

    with connect(settings, Role.TRAINER) as trainer:
        row = trainer.execute(
            "select model_version from ml.model_versions where run_id = %s", [run_id]
        ).fetchone()
    if row is None:
        raise NoChampion(
            f"Expected training run {run_id} to register a model, found none in ml.model_versions."
        )
    return str(row[0])


def _run_dag(settings: Settings, dag_id: str, cut_off: datetime, reason: str, steps: Steps) -> "DagRun":
    from churn_ml.services.nights import run_dag

    run = run_dag(settings, dag_id, cut_off, params={"reason": reason}, on_change=_show_progress)
    steps.seconds += [(f"    {task.task}", task.seconds) for task in run.tasks if task.seconds is not None]
    return run


def _show_progress(task: "TaskTiming") -> None:
    if task.state in {"success", "failed", "up_for_retry", "skipped"}:
        seconds = f"{task.seconds:5.1f} s" if task.seconds is not None else ""
        typer.echo(f"    {task.state:<12} {task.task:<20} {seconds}", err=True)
