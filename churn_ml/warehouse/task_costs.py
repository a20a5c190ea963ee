"""What a task took, as a row of ``ops.task_costs``: seconds, CPU, memory, rows and bytes."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from churn_ml.errors import WarehouseError
from churn_ml.measurement import Meter, Usage
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

log = logging.getLogger(__name__)

# A task of a DAG run belongs to the run that its first task minted, which may be itself.
_INSERT = """
    insert into ops.task_measurements (
        run_id, dag_id, dag_run_id, task_id, map_index, try_number, verdict, failure, started_at, finished_at,
        seconds, cpu_seconds, peak_memory_mb, is_peak_of_process, rows_in, rows_out, bytes_read, bytes_written
    )
    select
        coalesce(%(run_id)s, (
            select run_id from ops.pipeline_runs
            where dag_id = %(dag_id)s and dag_run_id = %(dag_run_id)s
            order by started_at desc limit 1
        )),
        %(dag_id)s, %(dag_run_id)s, %(task_id)s, %(map_index)s, %(try_number)s, %(verdict)s, %(failure)s,
        %(started_at)s, %(finished_at)s, %(seconds)s, %(cpu_seconds)s, %(peak_memory_mb)s,
        %(is_peak_of_process)s, %(rows_in)s, %(rows_out)s, %(bytes_read)s, %(bytes_written)s
"""


@dataclass(frozen=True)
class Task:
    """Which task: one of a run, or of a DAG run that knows its own run."""

    task_id: str
    run_id: str | None = None
    dag_id: str | None = None
    dag_run_id: str | None = None
    map_index: int = -1
    try_number: int = 1


@dataclass
class RowCounts:
    """Rows that the task read and wrote; None where it does not count them."""

    rows_in: int | None = None
    rows_out: int | None = None

    def take(self, result: object) -> None:
        """Take `rows_in` and `rows_out` (or `rows`) from what a task returns."""
        if isinstance(result, Mapping):
            self.rows_in = result.get("rows_in", self.rows_in)
            self.rows_out = result.get("rows_out", result.get("rows", self.rows_out))


@contextmanager
def measured(settings: Settings, task: Task) -> Iterator[RowCounts]:
    """Measure what happens within, and record it whether it succeeds or fails.

    A cost that cannot be recorded warns and changes nothing else. What is killed leaves no row.
    """
    counts, meter, started_at = RowCounts(), Meter(), datetime.now(UTC)
    failure: str | None = None
    try:
        yield counts
    except BaseException as error:
        failure = type(error).__name__
        raise
    finally:
        _record(settings, task, meter.read(), counts, started_at, failure)


def _record(
    settings: Settings, task: Task, usage: Usage, counts: RowCounts, started_at: datetime, failure: str | None
) -> None:
    values = {
        **vars(task), **vars(usage), **vars(counts), "failure": failure, "started_at": started_at,
        "finished_at": datetime.now(UTC), "verdict": "failed" if failure else "succeeded",
    }  # fmt: skip
    try:
        with connect(settings, Role.LOADER) as loader:
            loader.execute(_INSERT, values)
    except (WarehouseError, psycopg.Error) as error:
        log.warning("what %s took cannot be recorded: %s", task.task_id, error)
    log.info(
        "task %s: %.1f s, %.1f s CPU, peak memory %.0f MB%s%s", task.task_id,
        usage.seconds, usage.cpu_seconds, usage.peak_memory_mb,
        "" if counts.rows_in is None else f", {counts.rows_in} rows in",
        "" if counts.rows_out is None else f", {counts.rows_out} rows out",
    )  # fmt: skip
