"""`dag.test()` in a process of its own: DAGs of the project from their first task, or from what failed."""

import json
from typing import Any

from dag_parsing import run_python

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

RUN = """
import json, os, sys
from datetime import datetime, timedelta
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag

DagBundlesManager().sync_bundles_to_db()
runs = []
for dag_id, moment, variables in json.loads(sys.argv[1]):
    os.environ.update(variables)
    dag = DagBag(os.path.join(os.environ["AIRFLOW__CORE__DAGS_FOLDER"], f"{dag_id}.py")).dags[dag_id]
    for task in dag.tasks:
        task.retry_delay = timedelta(seconds=3)
    run = dag.test(logical_date=datetime.fromisoformat(moment))
    tasks = {task.task_id: task for task in run.get_task_instances()}
    runs.append({
        "state": run.state, "run_id": run.run_id,
        "tasks": {name: str(task.state) for name, task in tasks.items()},
        "tries": {name: task.try_number for name, task in tasks.items()},
        "returned": {name: task.xcom_pull(task_ids=name) for name, task in tasks.items()},
    })
print("RESULT", json.dumps(runs, default=list))
"""
# dag.test() always starts a run anew: here it clears the failed tasks of the one there is instead.
GO_ON = """
from airflow.models import dagrun
from airflow.serialization.definitions.dag import SerializedDAG
from sqlalchemy import select

def clear_failed(dags, start_date, **_):
    dags[0].clear(start_date=start_date, end_date=start_date, only_failed=True, dag_run_state="running")

def find_run(*, dag, logical_date, session, **_):
    ours = (dagrun.DagRun.dag_id == dag.dag_id, dagrun.DagRun.logical_date == logical_date)
    run = session.scalar(select(dagrun.DagRun).where(*ours))
    run.dag = dag
    return run

SerializedDAG.clear_dags = staticmethod(clear_failed)
dagrun.get_or_create_dagrun = find_run
"""


def run_dag(
    airflow: Settings, night: Settings, dag_id: str, moment: str, *, go_on: bool = False
) -> dict[str, Any]:
    """Run the DAG for the warehouse of `night`; with `go_on`, only the tasks that failed before."""
    [run] = run_dags(airflow, (night, dag_id, moment), go_on=go_on)
    return run


def run_dags(
    airflow: Settings, *asked: tuple[Settings, str, str], go_on: bool = False
) -> list[dict[str, Any]]:
    """Run a DAG for each warehouse, DAG id and moment, one after the other in one process."""
    runs = [
        (dag_id, moment, {"CHURN_DATABASE_PREFIX": night.database_prefix,
                          "CHURN_INBOX_DIR": str(night.inbox_dir)})
        for night, dag_id, moment in asked
    ]  # fmt: skip
    found: list[dict[str, Any]] = run_python(airflow, GO_ON + RUN if go_on else RUN, json.dumps(runs))
    return found


def read_row(settings: Settings, dag_run_id: str) -> tuple[object, ...]:
    """Return status and failure of the DAG run's only row."""
    with connect(settings, Role.LOADER) as loader:
        [row] = loader.execute(
            "select status, failure from ops.pipeline_runs where dag_run_id = %s", [dag_run_id]
        ).fetchall()
    return row
