"""What happened to runs, read for people."""

from dataclasses import dataclass
from datetime import date, datetime

from churn_ml.publishing.fingerprints import read_fingerprints
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import read_run


@dataclass(frozen=True)
class RunLine:
    """One run in a list."""

    run_id: str
    run_kind: str
    as_of_date: date
    known_as_of: datetime
    status: str
    model_version: str | None
    is_published: bool


@dataclass(frozen=True)
class RunHistory:
    """One run with its failed checks, dbt results, task costs and the hashes of what was published."""

    run: dict[str, object]
    checks: list[tuple[object, ...]]
    dbt_results: list[tuple[object, ...]]
    task_costs: list[tuple[object, ...]]
    fingerprints: list[tuple[object, ...]]


def latest_runs(settings: Settings, limit: int = 50) -> list[RunLine]:
    """Return the latest `limit` runs, newest first."""
    with connect(settings, Role.PUBLISHER) as publisher:
        rows = publisher.execute(
            "select runs.run_id, run_kind, runs.as_of_date, runs.known_as_of, status, model_version,"
            " published.run_id is not null"
            " from ops.pipeline_runs as runs left join ops.published_runs as published using (run_id)"
            " order by started_at desc limit %s",
            [limit],
        ).fetchall()
    return [RunLine(*row) for row in rows]


def describe_run(settings: Settings, run_id: str) -> RunHistory:
    """Return everything recorded of `run_id`; checks that passed are left out."""
    read_run(settings, run_id)
    with connect(settings, Role.PUBLISHER) as publisher:
        cursor = publisher.execute("select * from ops.pipeline_runs where run_id = %s", [run_id])
        names = [column.name for column in cursor.description or ()]
        run = dict(zip(names, cursor.fetchall()[0], strict=True))
        checks = publisher.execute(
            "select coalesce(gate, 'dbt ' || suite), severity, check_name, verdict, observed, sample_keys"
            " from ops.validation_results"
            " where run_id = %s and verdict <> 'pass' order by validation_result_id",
            [run_id],
        ).fetchall()
        dbt_results = publisher.execute(
            "select layer, node_name, status, round(elapsed_seconds::numeric, 2) from ops.dbt_results"
            " where run_id = %s and resource_type <> 'test' order by dbt_result_id",
            [run_id],
        ).fetchall()
        task_costs = publisher.execute(
            "select task_id, verdict, round(seconds::numeric, 2), round(cpu_seconds::numeric, 2),"
            " round(peak_memory_mb)::integer, rows_in, rows_out, bytes_read, bytes_written,"
            " round(seconds_per_1000_customers::numeric, 3) from ops.task_costs"
            " where run_id = %s order by started_at",
            [run_id],
        ).fetchall()
    fingerprints: list[tuple[object, ...]] = [
        (item.mart, item.row_count, item.rows_md5) for item in read_fingerprints(settings, run_id)
    ]
    return RunHistory(run, checks, dbt_results, task_costs, fingerprints)
