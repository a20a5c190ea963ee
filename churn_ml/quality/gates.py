"""The gates of a run: raw landed, features ready, marts built but not published.

A blocking check that fails raises `GateBlocked`, so that the next room does not read. Every
check of every attempt is a row of ``ops.validation_results``.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, cast

from churn_ml.errors import GateBlocked, SettingsError
from churn_ml.quality.checkpoint import Check, run_checkpoint
from churn_ml.quality.index import write_index
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, warehouse_url
from churn_ml.warehouse.runs import Run, read_run
from churn_ml.warehouse.sql import URL

log = logging.getLogger(__name__)

Gate = Literal["raw", "features", "marts"]


@dataclass(frozen=True)
class GateSummary:
    """How a gate ended: the number of checks and the names of those that failed."""

    gate: str
    checks: int
    failed_blocking: tuple[str, ...]
    failed_warning: tuple[str, ...]
    data_docs: Path
    seconds: float

    def headline(self) -> dict[str, object]:
        """Return what a reader of the task wants to know, as JSON."""
        return {"checks": self.checks, "failed_warning": list(self.failed_warning)}


def run_gate(settings: Settings, run_id: str, gate: Gate) -> GateSummary:
    """Check what `run_id` has built so far and record one row per check.

    The checkpoint is ``<dataset>__<gate>`` where the dataset has its own, else ``<gate>``.

    Raises
    ------
    GateBlocked
        If a blocking check failed or could not be evaluated; the message names each one.
    SettingsError
        If there is no checkpoint for this gate or its files do not load.
    """
    started = time.perf_counter()
    run = read_run(settings, run_id)
    folder = settings.project_dir / "great_expectations"
    checked_at = _server_time(settings)
    checks = run_checkpoint(
        folder,
        _choose_checkpoint(folder, run.dataset, gate),
        _audit_url(settings, run),
        settings.home,
        run_id=run_id,
        checked_at=checked_at,
    )
    _record(settings, run, gate, checks, checked_at)
    index = write_index(settings, folder / "plugins" / "custom_data_docs")
    failed = [check for check in checks if check.verdict != "pass"]
    summary = GateSummary(
        gate=gate,
        checks=len(checks),
        failed_blocking=tuple(check.name for check in failed if check.severity == "block"),
        failed_warning=tuple(check.name for check in failed if check.severity == "warn"),
        data_docs=index,
        seconds=time.perf_counter() - started,
    )
    _report(summary, failed)
    if summary.failed_blocking:
        raise GateBlocked(_explain(run, summary, failed))
    return summary


def _server_time(settings: Settings) -> datetime:
    """Return the warehouse's clock: publishing compares it with when the marts were begun."""
    with connect(settings, Role.AUDITOR) as auditor:
        [(moment,)] = auditor.execute("select clock_timestamp()").fetchall()
    return cast(datetime, moment)


def _choose_checkpoint(folder: Path, dataset: str, gate: str) -> str:
    names = [f"{dataset}__{gate}", gate]
    for name in names:
        if (folder / "checkpoints" / f"{name}.json").is_file():
            return name
    raise SettingsError(
        f"Expected a checkpoint for gate {gate!r} of dataset {dataset!r}, found neither of "
        f"{', '.join(f'{name}.json' for name in names)} in {folder / 'checkpoints'}. Add one; "
        "the gates are raw, features and marts."
    )


def _audit_url(settings: Settings, run: Run) -> URL:
    """Return the auditor's URL with a session that knows the run and can write nothing."""
    url = warehouse_url(settings, Role.AUDITOR)
    session = [
        *([str(url.query["options"])] if "options" in url.query else []),
        f"-c churn.run_id={run.run_id}",
        "-c TimeZone=UTC",
    ]
    return url.set(drivername="postgresql+psycopg").update_query_dict(
        {"options": " ".join(session), "application_name": "churn-ml gate"}
    )


def _record(settings: Settings, run: Run, gate: str, checks: list[Check], checked_at: datetime) -> None:
    rows = [
        (run.run_id, gate, check.suite, check.name, check.table, check.column, check.severity,
         check.verdict, check.observed, check.expected, check.threshold, check.failing_count,
         check.sample_keys, check.owner, check.reason, checked_at)
        for check in checks
    ]  # fmt: skip
    with connect(settings, Role.AUDITOR) as auditor, auditor.cursor() as cursor:
        cursor.executemany(
            "insert into ops.validation_results (run_id, gate, suite, check_name, table_name, column_name,"
            " severity, verdict, observed, expected, threshold, failing_count, sample_keys, owner, reason,"
            " recorded_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )


def _report(summary: GateSummary, failed: list[Check]) -> None:
    for check in failed:
        level = logging.ERROR if check.severity == "block" else logging.WARNING
        log.log(level, "%s %s: %s", check.severity, check.verdict, check)
    log.info(
        "gate %s: %d checks, %d blocking and %d warning failed, %.1f s",
        summary.gate, summary.checks, len(summary.failed_blocking), len(summary.failed_warning),
        summary.seconds,
    )  # fmt: skip


def _explain(run: Run, summary: GateSummary, failed: list[Check]) -> str:
    blocking = [check for check in failed if check.severity == "block"]
    query = (
        "select check_name, table_name, verdict, expected, observed from ops.validation_results"  # noqa: S608
        f" where run_id = '{run.run_id}' and gate = '{summary.gate}' and verdict <> 'pass'"
    )
    lines = [
        f"Gate {summary.gate} stopped run {run.run_id} (as of {run.as_of_date}): {len(blocking)} of "
        f"{summary.checks} checks failed and block. The last published night stays in place.",
        *(f"  {check}. {check.reason} (owner: {check.owner})" for check in blocking),
        f"Next: {query}; or open {summary.data_docs}. Correct the cause, then run the night again.",
    ]
    return "\n".join(lines)
