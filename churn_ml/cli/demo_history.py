"""The demonstration of a dated dataset: a simulated business, its history and seven nights."""

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from churn_ml.cli.demo_steps import Steps, train_and_promote
from churn_ml.errors import NoChampion
from churn_ml.settings import Settings

if TYPE_CHECKING:
    from churn_ml.services.nights import DagRun

CUSTOMERS = 3000
SEED = 7
_HISTORY = timedelta(days=365)
_MONTH_ENDS = 4
_CONSECUTIVE = 3
_LEAST_DAYS_BETWEEN = 14


def run_history(settings: Settings, day: date, steps: Steps) -> "DagRun":
    """Simulate, land the history, train, and run month-end nights and three consecutive ones up to `day`.

    A demonstration that was interrupted goes on with the nights that are left; one that was not
    runs the newest night again.
    """
    from churn_ml.models.deployments import champion_at
    from churn_ml.services.nights import NIGHT_DAG
    from churn_ml.warehouse.runs import night_cut_off

    nights = demonstrated_nights(day)
    try:
        champion = champion_at(settings, night_cut_off(nights[0]))
    except NoChampion:
        _train(settings, nights[0], steps)
    else:
        typer.echo(f"==> the champion at these cut-offs is {champion}: no training", err=True)
        nights = nights_left(settings, nights)
    _continue_business(settings, day, steps)
    for night in nights:
        with steps.step(f"night of {night}"):
            run = steps.run_dag(
                settings, NIGHT_DAG, night_cut_off(night), "demo night", list_tasks=night == day
            )
    return run


def demonstrated_nights(day: date) -> list[date]:
    """Return four month ends, about 120, 90, 60 and 30 days back, and three days up to `day`."""
    consecutive = [day - timedelta(days=back) for back in reversed(range(_CONSECUTIVE))]
    month_ends: list[date] = []
    end = consecutive[0] - timedelta(days=_LEAST_DAYS_BETWEEN)
    while len(month_ends) < _MONTH_ENDS:
        end = end.replace(day=1) - timedelta(days=1)
        month_ends.insert(0, end)
    return month_ends + consecutive


def nights_left(settings: Settings, nights: list[date]) -> list[date]:
    """Return the nights after the newest published one; the last of all where none is left."""
    from churn_ml.publishing.history import latest_runs

    published = [run.as_of_date for run in latest_runs(settings) if run.is_published]
    return [night for night in nights if not published or night > max(published)] or nights[-1:]


def _train(settings: Settings, first_night: date, steps: Steps) -> None:
    """Land a year up to the first night and train an hour before its cut-off."""
    from churn_ml.landing.delivery import land_path
    from churn_ml.warehouse.runs import night_cut_off

    _open_business(settings, first_night, steps)
    with steps.step("land its history, each delivery known from its own day"):
        land_path(settings, settings.inbox, first_load=True)
    train_and_promote(settings, night_cut_off(first_night) - timedelta(hours=1), steps)


def _open_business(settings: Settings, first_night: date, steps: Steps) -> None:
    from churn_ml.simulation.business import STATE_FILE, write_business

    if (_truth(settings) / STATE_FILE).exists():
        return
    with steps.step(f"simulate a subscription business up to {first_night}"):
        write_business(
            settings.inbox,
            customers=CUSTOMERS,
            start=first_night - _HISTORY,
            end=first_night,
            seed=SEED,
            truth=_truth(settings),
        )


def _continue_business(settings: Settings, day: date, steps: Steps) -> None:
    """Let the business go on: the nights land what comes in, known at their own cut-offs."""
    from churn_ml.simulation.business import continue_business

    if (settings.inbox / day.isoformat()).is_dir():
        return
    with steps.step(f"the business goes on until {day}"):
        continue_business(settings.inbox, truth=_truth(settings), until=day)


def _truth(settings: Settings) -> Path:
    """Return where the simulation keeps its hidden state; nothing else reads it."""
    return settings.home / "simulation" / "truth"
