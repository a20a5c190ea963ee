"""Runs: one row of ``ops.pipeline_runs`` per attempt at a night or a training.

A *repetition* is a run of a night that was: ``reproduce`` knows what that night knew and must give
the same rows, ``restate`` knows what is known today. Both are scored by that night's champion.
"""

import hashlib
import importlib.metadata
import json
import subprocess
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from psycopg.errors import UniqueViolation

from churn_ml.declarations import load_dataset
from churn_ml.errors import RepetitionError, WarehouseError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect

RepetitionKind = Literal["reproduce", "restate"]

PUBLICATION_LOCK = 7203449
"""The advisory lock that `ops.publish_run` takes: what lands under it becomes known later."""

_NIGHT_STARTS = time(2, tzinfo=UTC)
_LIBRARIES = (
    "dbt-core", "dbt-postgres", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One attempt: its kind, the day it describes and what it may know.

    `champion_cut_off` is the cut-off whose champion scores it: its own, or for a repetition that
    of the night which it repeats.
    """

    run_id: str
    run_kind: str
    dataset: str
    as_of_date: date
    known_as_of: datetime
    status: str
    model_version: str | None
    repeats_run_id: str | None
    champion_cut_off: datetime


def night_cut_off(as_of_date: date) -> datetime:
    """Return the cut-off of the night that describes `as_of_date`: 02:00 UTC of the next day."""
    return datetime.combine(as_of_date + timedelta(days=1), _NIGHT_STARTS)


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
    with connect(settings, Role.LOADER) as loader:
        run_id = _insert_run(loader, settings, run_kind, as_of_date, cut_off, (dag_id, dag_run_id))
    return read_run(settings, run_id)


def open_repetition(
    settings: Settings,
    run_kind: RepetitionKind,
    as_of_date: date,
    known_as_of: datetime | None = None,
    *,
    dag_id: str | None = None,
    dag_run_id: str | None = None,
) -> Run:
    """Mint a run that repeats the night of `as_of_date`; at most one at a time runs per date.

    An earlier attempt of the same DAG run that is still open is closed as failed first.

    Parameters
    ----------
    known_as_of : datetime, optional
        For ``restate`` only: the later cut-off, with a time zone. Where it is not given, the
        moment from which everything that has landed is known, or the last published cut-off where
        that is later: the earliest cut-off that leaves out nothing which is in the warehouse.

    Raises
    ------
    RepetitionError
        If a night to reproduce is not published, nothing became known since the night to restate,
        or another repetition of that date runs; the message says which and what to do.
    """
    with connect(settings, Role.LOADER) as loader:
        published = _published_run(loader, as_of_date)
        repeated: str | None
        if run_kind == "reproduce":
            repeated, cut_off = _reproduced(loader, as_of_date, published, known_as_of)
        else:
            repeated, cut_off = _restated(loader, as_of_date, published, known_as_of)
        _close_earlier_attempt(loader, dag_id, dag_run_id)
        try:
            run_id = _insert_run(
                loader, settings, run_kind, as_of_date, cut_off, (dag_id, dag_run_id), repeated
            )
        except UniqueViolation:
            loader.rollback()
            raise RepetitionError(_another_runs(loader, as_of_date)) from None
    return read_run(settings, run_id)


def resume_repetition(settings: Settings, dag_id: str, dag_run_id: str) -> None:
    """Put a failed repetition of this DAG run back to work, since some task of it runs again.

    Raises
    ------
    RepetitionError
        If another repetition of the same date runs meanwhile.
    """
    with connect(settings, Role.LOADER) as loader:
        row = loader.execute(
            "select run_id, as_of_date from ops.pipeline_runs where dag_id = %s and dag_run_id = %s"
            " order by started_at desc limit 1",
            [dag_id, dag_run_id],
        ).fetchone()
        try:
            loader.execute("select ops.resume_run(%s)", [row[0] if row else None])
        except UniqueViolation:
            loader.rollback()
            raise RepetitionError(_another_runs(loader, row[1] if row else None)) from None


def is_published(settings: Settings, as_of_date: date) -> bool:
    """Return whether BI sees a night of `as_of_date`."""
    with connect(settings, Role.LOADER) as loader:
        return _published_run(loader, as_of_date) is not None


def read_run(settings: Settings, run_id: str) -> Run:
    """Return the run `run_id`."""
    with connect(settings, Role.LOADER) as loader:
        row = loader.execute(
            "select run_id, run_kind, dataset, as_of_date, known_as_of, status, model_version,"
            " repeats_run_id, ops.champion_cut_off(run_id)"
            " from ops.pipeline_runs where run_id = %s",
            [run_id],
        ).fetchone()
    if row is None:
        raise WarehouseError(f"Expected run {run_id!r} in ops.pipeline_runs, found no such row.")
    return Run(*row)


def run_of_dag_run(settings: Settings, dag_id: str, dag_run_id: str) -> str:
    """Return the id of the newest run that a DAG run has minted.

    Raises
    ------
    WarehouseError
        If it has minted none.
    """
    with connect(settings, Role.LOADER) as loader:
        row = loader.execute(
            "select run_id from ops.pipeline_runs where dag_id = %s and dag_run_id = %s"
            " order by started_at desc limit 1",
            [dag_id, dag_run_id],
        ).fetchone()
    if row is None:
        raise WarehouseError(
            f"Expected a run that {dag_run_id} of {dag_id} minted in ops.pipeline_runs, found none. Its task "
            "open_run has not succeeded, or the DAG mints no run."
        )
    return str(row[0])


def close_run(settings: Settings, run_id: str, status: str, failure: str | None = None) -> None:
    """Record how a run ended: ``succeeded``, ``unchanged``, ``failed`` or ``discarded``."""
    with connect(settings, Role.LOADER) as loader:
        loader.execute("select ops.close_run(%s, %s, %s)", [run_id, status, failure])


def _insert_run(
    loader: Connection,
    settings: Settings,
    run_kind: str,
    as_of_date: date,
    cut_off: datetime,
    dag_run: tuple[str | None, str | None],
    repeats_run_id: str | None = None,
) -> str:
    run_id = f"{run_kind}-{as_of_date:%Y%m%d}-{uuid.uuid4().hex[:8]}"
    values = [
        run_id, run_kind, settings.dataset, as_of_date, cut_off, *dag_run, _code_version(settings),
        _configuration_sha256(settings), load_dataset(settings).label_definition,
        json.dumps(_library_versions()), repeats_run_id,
    ]  # fmt: skip
    loader.execute(f"select ops.open_run({', '.join(['%s'] * len(values))})", values)
    return run_id


def _published_run(loader: Connection, as_of_date: date) -> tuple[str, datetime] | None:
    row = loader.execute(
        "select run_id, known_as_of from ops.published_runs where as_of_date = %s", [as_of_date]
    ).fetchone()
    return (str(row[0]), row[1]) if row else None


def _reproduced(
    loader: Connection,
    as_of_date: date,
    published: tuple[str, datetime] | None,
    known_as_of: datetime | None,
) -> tuple[str, datetime]:
    """Return the run to repeat and its cut-off."""
    if published is None:
        raise RepetitionError(
            f"Expected a published run of {as_of_date} to reproduce, found none. "
            f"Published: {_published_dates(loader)}. Choose one of these dates, or run that night first: "
            f"`churn-ml night --as-of {as_of_date}`."
        )
    if known_as_of not in {None, published[1]}:
        raise RepetitionError(
            f"Expected a reproduction of {as_of_date} with the cut-off of {published[0]}, "
            f"{published[1].isoformat()}, found {known_as_of}. To repeat a night with other knowledge, "
            f"use `churn-ml restate --as-of {as_of_date}`."
        )
    return published


def _restated(
    loader: Connection,
    as_of_date: date,
    published: tuple[str, datetime] | None,
    known_as_of: datetime | None,
) -> tuple[str | None, datetime]:
    """Return the published run, if there is one, and today's cut-off."""
    night = published[1] if published else night_cut_off(as_of_date)
    cut_off = known_as_of or _today_known(loader)
    if cut_off is None or cut_off.tzinfo is None or cut_off <= night:
        given = "that was given" if known_as_of else "of everything that has landed"
        raise RepetitionError(
            f"Expected a cut-off with a time zone after {night.isoformat()}, what the night of {as_of_date} "
            f"knew, found the one {given}: {cut_off.isoformat() if cut_off else 'nothing has landed'}. "
            "Nothing became known since: land the late data first, or give a later cut-off."
        )
    return (published[0] if published else None), cut_off.astimezone(UTC)


def _today_known(loader: Connection) -> datetime | None:
    row = loader.execute(
        "select greatest((select max(known_at) from ops.landing_batches), ops.last_published_cut_off())"
    ).fetchone()
    return row[0] if row else None


def _published_dates(loader: Connection) -> str:
    [(count, first, last)] = loader.execute(
        "select count(*), min(as_of_date), max(as_of_date) from ops.published_runs"
    ).fetchall()
    newest = loader.execute(
        "select as_of_date from ops.published_runs order by as_of_date desc limit 10"
    ).fetchall()
    if not count:
        return "no night at all"
    return f"{count} nights from {first} to {last}, the newest " + ", ".join(str(day) for (day,) in newest)


def _close_earlier_attempt(loader: Connection, dag_id: str | None, dag_run_id: str | None) -> None:
    loader.execute(
        "select ops.close_run(run_id, 'failed', 'open_run: another attempt of the DAG run took its place')"
        " from ops.pipeline_runs where dag_id = %s and dag_run_id = %s and status = 'running'",
        [dag_id, dag_run_id],
    )


def _another_runs(loader: Connection, as_of_date: date | None) -> str:
    row = loader.execute(
        "select run_id, coalesce(dag_run_id, 'no DAG run'), started_at from ops.pipeline_runs"
        " where as_of_date = %s and run_kind in ('reproduce', 'restate') and status = 'running'",
        [as_of_date],
    ).fetchone()
    run_id, dag_run_id, started_at = row or ("(it has just ended)", "unknown", "just now")
    return (
        f"Expected no other repetition of {as_of_date} at work, found {run_id} ({dag_run_id}), running since "
        f"{started_at}. Wait for its end; if it has crashed, close it with `churn-ml run discard {run_id}`."
    )


@cache
def _library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide a number, as far as they are installed."""
    found = {}
    for name in _LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


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
