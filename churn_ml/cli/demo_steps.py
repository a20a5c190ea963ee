"""The steps of a demonstration, timed and shown as they go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from churn_ml.errors import NoChampion
from churn_ml.settings import Settings

if TYPE_CHECKING:
    from churn_ml.services.nights import DagRun, TaskTiming


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

    def run_dag(
        self,
        settings: Settings,
        dag_id: str,
        cut_off: datetime,
        reason: str,
        *,
        params: dict[str, object] | None = None,
        list_tasks: bool = True,
    ) -> "DagRun":
        """Run one DAG to its end; `list_tasks` keeps the seconds of each of its tasks."""
        from churn_ml.services.nights import run_dag

        given = {"reason": reason} | (params or {})
        run = run_dag(settings, dag_id, cut_off, params=given, on_change=_show_progress)
        if list_tasks:
            timed = [task for task in run.tasks if task.seconds is not None]
            self.seconds += [(f"    {task.task}", task.seconds or 0.0) for task in timed]
        return run


def train_and_promote(settings: Settings, cut_off: datetime, steps: Steps) -> None:
    """Train with one trial a family, which keeps a demonstration short, and promote what was selected."""
    from churn_ml.services.nights import TRAINING_DAG

    with steps.step("train: every declared family at its own parameters"):
        training = steps.run_dag(settings, TRAINING_DAG, cut_off, "demo training", params={"trials": 1})
    with steps.step("promote the model that was selected"):
        _promote_trained(
            settings, training.run_id, cut_off, "demo: selected among the families that passed the gates"
        )


def _promote_trained(settings: Settings, run_id: str, valid_from: datetime, reason: str) -> None:
    """Make the model that the training run registered the champion."""
    from churn_ml.models.deployments import promote
    from churn_ml.models.mirror import mirror_aliases
    from churn_ml.models.registry import version_of_run

    trained = version_of_run(settings, run_id)
    if trained is None:
        raise NoChampion(
            f"Expected training run {run_id} to register a model, found none in ml.model_versions. "
            f"Run `churn-ml run show {run_id}`."
        )
    promote(settings, trained.model_version, valid_from, reason, "demo")
    mirror_aliases(settings)


def _show_progress(task: "TaskTiming") -> None:
    if task.state in {"success", "failed", "up_for_retry", "skipped"}:
        seconds = f"{task.seconds:5.1f} s" if task.seconds is not None else ""
        typer.echo(f"    {task.state:<12} {task.task:<20} {seconds}", err=True)
