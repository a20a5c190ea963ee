"""Python run with the environment of an Airflow task, and what Airflow makes of DAG files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from churn_ml.services.airflow import airflow_environment
from churn_ml.settings import Settings

DESCRIBE = """
import json, sys
from pathlib import Path
import pendulum
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import TimeRestriction

bag = DagBag(collect_dags=False)
for file in sys.argv[1:]:
    bag.process_file(file)

def describe(task):
    found = task.on_failure_callback  # of a mapped task not in a list
    callbacks = found if isinstance(found, list | tuple) else [found] if found else []
    return {
        "task_id": task.task_id, "owner": task.owner, "retries": task.retries,
        "backoff": task.retry_exponential_backoff, "retry_delay": task.retry_delay.total_seconds(),
        "timeout": task.execution_timeout and task.execution_timeout.total_seconds(),
        "upstream": sorted(task.upstream_task_ids), "outlets": [asset.name for asset in task.outlets],
        "inlets": [asset.name for asset in task.inlets], "doc": task.doc_md,
        "group": task.task_group.group_id,
        "trigger_rule": task.trigger_rule.value, "callbacks": len(callbacks),
        "is_measured": getattr(task.python_callable, "is_measured", False),
    }

def intervals(dag, timetable, *, catchup=True, earliest=None):
    # The first two that the timetable gives: to a backfill with catchup, to the scheduler as the DAG says.
    found = []
    for _ in range(2):
        info = timetable.next_dagrun_info(
            last_automated_data_interval=found[-1] if found else None,
            restriction=TimeRestriction(earliest=earliest or dag.start_date, latest=None, catchup=catchup),
        )
        found += [info.data_interval] if info else []
    return [[interval.start.isoformat(), interval.end.isoformat()] for interval in found]

def scheduled(dag, timetable):
    # A timetable that answers the scheduler at all is shown from the DAG's start on.
    return intervals(dag, timetable) if intervals(dag, timetable, catchup=dag.catchup) else []

def asked(dag, timetable):
    return intervals(dag, timetable, earliest=pendulum.datetime(2026, 10, 29, 2))

print("RESULT", json.dumps({
    "errors": bag.import_errors,
    "dags": [{
        "dag_id": dag.dag_id, "file": Path(dag.fileloc).name, "doc": dag.doc_md, "tags": sorted(dag.tags),
        "max_active_runs": dag.max_active_runs, "catchup": dag.catchup,
        "timetable": type(dag.timetable).__name__,
        "intervals": scheduled(dag, coerce_to_core_timetable(dag.timetable)),
        "asked": asked(dag, coerce_to_core_timetable(dag.timetable)),
        "schedule": coerce_to_core_timetable(dag.timetable).summary,
        "paused": dag.is_paused_upon_creation, "reports": bool(dag.has_on_failure_callback),
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "defaults": dict(dag.params), "description": dag.description,
        "forms": {name: dag.params.get_param(name).description for name in dag.params},
        "tasks": [describe(task) for task in dag.tasks],
    } for dag in bag.dags.values()],
}))
"""


def run_python(settings: Settings, code: str, *arguments: str, **variables: str) -> Any:
    """Run `code` as a task of Airflow would run, and return the JSON it prints after RESULT."""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=airflow_environment(settings) | variables,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, f"the process said nothing:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return json.loads(lines[-1].removeprefix("RESULT "))


def dag_files(settings: Settings) -> list[Path]:
    return sorted((settings.project_dir / "airflow" / "dags").glob("*.py"))


def describe_dags(settings: Settings, *files: Path, **variables: str) -> dict[str, Any]:
    """Parse `files`, or all DAG files of the project."""
    paths = [str(path) for path in files or dag_files(settings)]
    result: dict[str, Any] = run_python(settings, DESCRIBE, *paths, **variables)
    return result
