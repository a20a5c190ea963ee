"""The demonstration of a snapshot dataset: train on one file, score one night."""

import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from churn_ml.cli.demo_steps import Steps, train_and_promote
from churn_ml.errors import NoChampion
from churn_ml.settings import Settings

if TYPE_CHECKING:
    from churn_ml.services.nights import DagRun

_CUSTOMERS = 6000
_SEED = 7
_MONTH = timedelta(days=30)


def run_snapshot(settings: Settings, file: Path | None, day: date, steps: Steps) -> "DagRun":
    """Deliver, train where there is no champion, and run the night of `day`."""
    from churn_ml.services.nights import NIGHT_DAG
    from churn_ml.warehouse.runs import night_cut_off

    with steps.step("deliver the files to the inbox"):
        first_day = _deliver(settings, file, day)
    cut_off = night_cut_off(day)
    _ensure_champion(settings, first_day, cut_off, steps)
    with steps.step("night: land, validate, build features, score, publish"):
        return steps.run_dag(settings, NIGHT_DAG, cut_off, "demo night")


def _deliver(settings: Settings, file: Path | None, day: date) -> date:
    """Put the files into the inbox and return the as-of date of the one to train on."""
    if file is not None:
        target = settings.inbox / day.isoformat() / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        return day
    from churn_ml.simulation.telco_shape import write_snapshot

    first_day = day - _MONTH
    for snapshot_day in (first_day, day):
        target = settings.inbox / snapshot_day.isoformat() / "customers.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_snapshot(target, customers=_CUSTOMERS, as_of_date=snapshot_day, seed=_SEED)
    return first_day


def _ensure_champion(settings: Settings, first_day: date, cut_off: datetime, steps: Steps) -> None:
    from churn_ml.landing.delivery import land_path
    from churn_ml.models.deployments import champion_at
    from churn_ml.warehouse.runs import night_cut_off

    try:
        champion = champion_at(settings, cut_off)
    except NoChampion:
        # One snapshot only: training is cut off an hour before the night that scores it.
        training_cut_off = min(night_cut_off(first_day), cut_off - timedelta(hours=1))
        with steps.step("land the history to train on"):
            land_path(settings, settings.inbox / first_day.isoformat(), first_load=True)
        train_and_promote(settings, training_cut_off, steps)
    else:
        typer.echo(f"==> the champion at this cut-off is {champion}: no training", err=True)
