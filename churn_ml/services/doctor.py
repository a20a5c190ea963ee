"""What is wrong with an instance, and the next command to type."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from churn_ml.declarations import load_dataset
from churn_ml.errors import ChurnError
from churn_ml.services.dashboard import DASHBOARD, answers
from churn_ml.services.instance import ServiceStatus, instance_status
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.provision import newest_migration

_LEAST_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    """One part of the instance, what was observed and, where it is wrong, what to do next."""

    part: str
    is_healthy: bool
    observation: str
    next_step: str | None = None


def examine(settings: Settings) -> list[Finding]:
    """Examine the declaration, the disk, the processes, the warehouse and the latest nights."""
    findings: list[Finding] = []
    for part, examination in _EXAMINATIONS.items():
        try:
            findings.extend(examination(settings))
        except ChurnError as error:
            step = (
                "churn-ml up"
                if settings.warehouse_url is None
                else "check CHURN_WAREHOUSE_URL and its server"
            )
            findings.append(Finding(part, is_healthy=False, observation=str(error), next_step=step))
    return findings


def _examine_declaration(settings: Settings) -> Iterator[Finding]:
    dataset = load_dataset(settings)
    entities = ", ".join(dataset.entities)
    yield Finding("dataset", is_healthy=True, observation=f"{dataset.dataset}: {dataset.title} ({entities})")


def _examine_disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.home if settings.home.exists() else settings.home.parent
    free = shutil.disk_usage(folder).free
    is_healthy = free >= _LEAST_FREE_BYTES
    step = None if is_healthy else f"free space on the disk of {folder}, or set CHURN_HOME to another"
    yield Finding("disk", is_healthy, f"{free / 1024**3:.1f} GiB free at {folder}", step)


def _examine_processes(settings: Settings) -> Iterator[Finding]:
    statuses = instance_status(settings)
    for status in statuses:
        where = f" at {status.address}" if status.address else ""
        observation = f"runs as process {status.pid}{where}" if status.is_running else "is not running"
        is_healthy = status.is_running
        if _is_silent(status):
            is_healthy, observation = False, f"{observation}, and does not answer"
        step = None if is_healthy else _step_to_run(status)
        yield Finding(status.service, is_healthy, observation, step)
    if not any(status.service.startswith("airflow") for status in statuses):
        yield Finding("airflow", is_healthy=False, observation="was never started", next_step="churn-ml up")


def _is_silent(status: ServiceStatus) -> bool:
    """Return whether a dashboard that runs does not answer; Airflow says itself how it is."""
    is_dashboard = status.service == DASHBOARD and status.is_running
    return is_dashboard and not answers(str(status.address))


def _step_to_run(status: ServiceStatus) -> str:
    first = "churn-ml down, then churn-ml up" if status.is_running else "churn-ml up"
    return f"{first} (its log: {status.log or 'none yet'})"


def _examine_warehouse(settings: Settings) -> Iterator[Finding]:
    with connect(settings, Role.OWNER) as owner:
        row = owner.execute("select version_num from public.schema_migrations").fetchone()
    found, expected = (row[0] if row else None), newest_migration()
    step = None if found == expected else "churn-ml warehouse migrate"
    yield Finding("schema", found == expected, f"migration {found}, newest {expected}", step)


def _examine_deployments(settings: Settings) -> Iterator[Finding]:
    with connect(settings, Role.PUBLISHER) as publisher:
        deployed = publisher.execute(
            "select alias, model_version, valid_from from ml.model_deployments where valid_to = 'infinity'"
            " order by array_position(array['champion', 'challenger', 'shadow'], alias)"
        ).fetchall()
        failed = publisher.execute(
            "select distinct on (run_kind) run_kind, run_id, status, failure from ops.pipeline_runs"
            " where run_kind in ('challenger', 'shadow') order by run_kind, started_at desc"
        ).fetchall()
    aliases = {alias for alias, *_ in deployed}
    if "champion" not in aliases:
        yield Finding("champion", False, "none is deployed", "churn-ml train, then churn-ml model promote")
    for alias, model_version, valid_from in deployed:
        yield Finding(alias, True, f"{model_version} for cut-offs from {valid_from}")
    for run_kind, run_id, status, failure in failed:
        if status == "failed" and run_kind in aliases:
            yield Finding(
                f"last {run_kind}", False, f"{run_id} failed: {failure}", f"churn-ml run show {run_id}"
            )


def _examine_nights(settings: Settings) -> Iterator[Finding]:
    with connect(settings, Role.PUBLISHER) as publisher:
        failed = publisher.execute(
            "select run_id, failure from ops.pipeline_runs where status = 'failed'"
            " and run_kind not in ('challenger', 'shadow')"
            " and started_at > (select coalesce(max(published_at), '-infinity') from ops.published_runs)"
            " order by started_at desc limit 1"
        ).fetchone()
        published = publisher.execute("select max(as_of_date) from ops.published_runs").fetchone()
    last = published[0] if published else None
    yield Finding("published", True, f"last as-of date {last}" if last else "no night yet")
    if failed is not None:
        yield Finding("last run", False, f"{failed[0]} failed: {failed[1]}", f"churn-ml run show {failed[0]}")


_EXAMINATIONS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "dataset": _examine_declaration,
    "disk": _examine_disk,
    "processes": _examine_processes,
    "warehouse": _examine_warehouse,
    "deployments": _examine_deployments,
    "nights": _examine_nights,
}
