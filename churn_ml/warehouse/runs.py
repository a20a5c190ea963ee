"""Runs: one row of ``ops.pipeline_runs`` per attempt at a night or a training."""

import hashlib
import subprocess
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

from churn_ml.errors import WarehouseError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect


@dataclass(frozen=True)
class Run:
    """One attempt: its kind, the day it describes and what it may know."""

    run_id: str
    run_kind: str
    dataset: str
    as_of_date: date
    known_as_of: datetime
    status: str
    model_version: str | None


def open_run(
    settings: Settings,
    run_kind: str,
    known_as_of: datetime,
    *,
    dag_id: str | None = None,
    dag_run_id: str | None = None,
) -> Run:
    """Mint a run for the cut-off `known_as_of` (a data-interval end, with a time zone).

    The as-of date is the UTC date of the cut-off minus one day.
    """
    if known_as_of.tzinfo is None:
        raise WarehouseError(f"Expected a cut-off with a time zone, found {known_as_of.isoformat()}.")
    cut_off = known_as_of.astimezone(UTC)
    as_of_date = cut_off.date() - timedelta(days=1)
    run_id = f"{run_kind}-{as_of_date:%Y%m%d}-{uuid.uuid4().hex[:8]}"
    with connect(settings, Role.LOADER) as loader:
        loader.execute(
            "select ops.open_run(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [run_id, run_kind, settings.dataset, as_of_date, cut_off, dag_id, dag_run_id,
             _code_version(settings), _configuration_sha256(settings)],
        )  # fmt: skip
    return read_run(settings, run_id)


def read_run(settings: Settings, run_id: str) -> Run:
    """Return the run `run_id`."""
    with connect(settings, Role.LOADER) as loader:
        row = loader.execute(
            "select run_id, run_kind, dataset, as_of_date, known_as_of, status, model_version"
            " from ops.pipeline_runs where run_id = %s",
            [run_id],
        ).fetchone()
    if row is None:
        raise WarehouseError(f"Expected run {run_id!r} in ops.pipeline_runs, found no such row.")
    return Run(*row)


def close_run(settings: Settings, run_id: str, status: str, failure: str | None = None) -> None:
    """Record how a run ended: ``succeeded``, ``unchanged``, ``failed`` or ``discarded``."""
    with connect(settings, Role.LOADER) as loader:
        loader.execute("select ops.close_run(%s, %s, %s)", [run_id, status, failure])


def _code_version(settings: Settings) -> str:
    return settings.code_version or _git_commit(settings.project_dir)


@cache
def _git_commit(folder: Path) -> str:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def _configuration_sha256(settings: Settings) -> str:
    """Hash the declaration and the dbt seeds: what a reproduction must find unchanged."""
    digest = hashlib.sha256()
    seeds = sorted((settings.project_dir / "dbt_project" / "seeds").rglob("*.csv"))
    for path in [settings.project_dir / "datasets" / f"{settings.dataset}.yml", *seeds]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
