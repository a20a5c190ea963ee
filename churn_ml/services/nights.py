"""DAG runs on the live Airflow, from their trigger to their end."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from churn_ml.errors import ServiceError
from churn_ml.services.airflow import AirflowClient, airflow_endpoint
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import night_cut_off

NIGHT_DAG = "churn_nightly"
TRAINING_DAG = "churn_training"
BACKFILL_DAG = "churn_backfill"
_ONE_DAY = timedelta(days=1)
_LONGEST_SECONDS = 6 * 3600


@dataclass(frozen=True)
class TaskTiming:
    """One task of a DAG run, with the part of it where it is mapped: how it ended and how long it took."""

    task: str
    state: str | None
    started_at: str | None
    seconds: float | None


@dataclass(frozen=True)
class DagRun:
    """A DAG run that succeeded, with the run that its first task minted."""

    dag_id: str
    dag_run_id: str
    run_id: str
    url: str
    tasks: tuple[TaskTiming, ...]


@dataclass(frozen=True)
class RepeatedNight:
    """One night of a backfill: ``success``, ``failed``, or ``skipped`` where there was nothing to repeat."""

    as_of_date: date
    state: str
    dag_run_id: str | None
    run_id: str | None
    failure: str | None
    url: str


def run_dag(
    settings: Settings,
    dag_id: str,
    cut_off: datetime,
    *,
    params: dict[str, object] | None = None,
    on_change: Callable[[TaskTiming], None] = lambda _: None,
) -> DagRun:
    """Trigger `dag_id` for the data interval that ends at `cut_off` and wait for its end.

    Raises
    ------
    ServiceError
        If the DAG run failed; the message names the tasks and where their logs are.
    """
    client = AirflowClient.connect(settings)
    client.unpause(dag_id)
    dag_run_id = client.trigger(dag_id, data_interval_end=cut_off, conf=params)
    url = f"{airflow_endpoint(settings).url}/dags/{dag_id}/runs/{dag_run_id}"
    state = client.wait_for_run(
        dag_id, dag_run_id, seconds=_LONGEST_SECONDS, on_change=lambda task: on_change(_timing(task))
    )
    timings = map(_timing, client.task_instances(dag_id, dag_run_id))
    tasks = tuple(sorted(timings, key=lambda task: task.started_at or "9"))
    run_id, failure = _minted_run(settings, dag_id, dag_run_id)
    if state != "success":
        failed = ", ".join(task.task for task in tasks if task.state == "failed")
        raise ServiceError(
            f"Expected {dag_id} to succeed for the cut-off {cut_off.isoformat()}, found failed: {failed} "
            f"({failure or 'no message recorded'}). The logs are at {url}; then run "
            f"`churn-ml run show {run_id}`. The last good night stays published."
        )
    return DagRun(dag_id, dag_run_id, run_id, url, tasks)


def repeat_nights(
    settings: Settings, first: date, last: date, params: dict[str, object]
) -> list[RepeatedNight]:
    """Repeat the nights from `first` to `last`, one after the other, and return how each ended.

    One night is a triggered DAG run, more are a backfill of Airflow. `params` are those of
    ``churn_backfill``. A night that fails does not hold up the others.

    Raises
    ------
    ServiceError
        If `last` is before `first`, Airflow refuses, or the nights do not end in time.
    """
    if last < first:
        raise ServiceError(f"Expected the last day not before the first, found {first} to {last}. Swap them.")
    client = AirflowClient.connect(settings)
    client.unpause(BACKFILL_DAG)
    if first == last:
        cut_off = night_cut_off(first)
        dag_run_id = client.trigger(BACKFILL_DAG, data_interval_end=cut_off, conf=params)
        client.wait_for_run(BACKFILL_DAG, dag_run_id, seconds=_LONGEST_SECONDS)
        runs = [client.dag_run(BACKFILL_DAG, dag_run_id)]
    else:
        span = night_cut_off(first - _ONE_DAY), night_cut_off(last - _ONE_DAY)
        client.create_backfill(BACKFILL_DAG, *span, params)
        seconds = _LONGEST_SECONDS * ((last - first).days + 1)
        runs = client.wait_for_backfill(BACKFILL_DAG, *span, seconds=seconds)
    repeated = [_repeated(settings, client, run) for run in runs]
    url = f"{airflow_endpoint(settings).url}/dags/{BACKFILL_DAG}"
    return sorted([*repeated, *left_out(first, last, repeated, url)], key=lambda night: night.as_of_date)


def left_out(first: date, last: date, repeated: list[RepeatedNight], url: str) -> list[RepeatedNight]:
    """Return, as failed, the days for which Airflow made no run: it passes over one that is at work."""
    days = {first + _ONE_DAY * number for number in range((last - first).days + 1)}
    failure = (
        "Airflow started no run of this day: another one of it is queued or at work. Repeat it after that."
    )
    missing = sorted(days - {night.as_of_date for night in repeated})
    return [RepeatedNight(day, "failed", None, None, failure, url) for day in missing]


def _repeated(settings: Settings, client: AirflowClient, run: dict[str, Any]) -> RepeatedNight:
    dag_run_id, state = str(run["dag_run_id"]), str(run["state"])
    tasks = {task["task_id"]: task for task in client.task_instances(BACKFILL_DAG, dag_run_id)}
    run_id: str | None = None
    failure: str | None = None
    if tasks["open_run"]["state"] == "failed":
        failure = _refusal(
            client.task_log(BACKFILL_DAG, dag_run_id, "open_run", tasks["open_run"]["try_number"])
        )
    elif tasks["compare"]["state"] == "skipped":
        state = "skipped"
    else:
        run_id, failure = _minted_run(settings, BACKFILL_DAG, dag_run_id)
    as_of_date = datetime.fromisoformat(run["data_interval_end"]).date() - _ONE_DAY
    url = f"{airflow_endpoint(settings).url}/dags/{BACKFILL_DAG}/runs/{dag_run_id}"
    return RepeatedNight(as_of_date, state, dag_run_id, run_id, failure, url)


def _refusal(task_log: str) -> str:
    """Return why `open_run` refused: no run was minted that could tell."""
    lines = [line for line in task_log.splitlines() if "Error: Expected" in line]
    return lines[-1].strip() if lines else "open_run failed; its log tells why"


def _timing(task: dict[str, Any]) -> TaskTiming:
    part = task.get("rendered_map_index")
    name = f"{task['task_id']} {part}" if part else str(task["task_id"])
    return TaskTiming(name, task["state"], task["start_date"], task["duration"])


def _minted_run(settings: Settings, dag_id: str, dag_run_id: str) -> tuple[str, str | None]:
    with connect(settings, Role.PUBLISHER) as publisher:
        row = publisher.execute(
            "select run_id, failure from ops.pipeline_runs where dag_id = %s and dag_run_id = %s"
            " order by started_at desc limit 1",
            [dag_id, dag_run_id],
        ).fetchone()
    if row is None:
        return "(none was minted)", None
    return str(row[0]), None if row[1] is None else str(row[1])
