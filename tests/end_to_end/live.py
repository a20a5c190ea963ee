"""One live instance for the whole session: Postgres, Airflow and a webhook of its own."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from nightly import cut_off_of
from webhook_receiver import receiver

from churn_ml.services.airflow import AirflowClient, start_airflow, stop_airflow
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.simulation.telco_shape import write_snapshot
from churn_ml.warehouse.provision import provision

FIRST_DAY, SECOND_DAY = date(2026, 9, 30), date(2026, 10, 31)
CUSTOMERS = 1500


@dataclass(frozen=True)
class LiveAirflow:
    """A running instance and what its webhook has received."""

    settings: Settings
    posts: list[dict[str, Any]]

    @property
    def client(self) -> AirflowClient:
        """A client of where Airflow is now."""
        return AirflowClient.connect(self.settings)

    def wait_for_posts(self, count: int, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while len(self.posts) < count and time.monotonic() < deadline:
            time.sleep(0.1)


def deliver(live_airflow: LiveAirflow, day: date) -> Path:
    """Put a snapshot of `day` into the inbox."""
    folder = live_airflow.settings.inbox / day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    write_snapshot(folder / "customers.csv", customers=CUSTOMERS, as_of_date=day, seed=3)
    return folder / "customers.csv"


def run_to_success(
    live_airflow: LiveAirflow, dag_id: str, as_of_date: date, conf: dict[str, object] | None = None
) -> str:
    client = live_airflow.client
    client.unpause(dag_id)
    dag_run_id = client.trigger(dag_id, data_interval_end=cut_off_of(as_of_date), conf=conf)
    state = client.wait_for_run(dag_id, dag_run_id, seconds=420)
    tasks = {task["task_id"]: task["state"] for task in client.task_instances(dag_id, dag_run_id)}
    assert state == "success", tasks
    return dag_run_id


@contextmanager
def run_live_airflow(folder: Path) -> Iterator[LiveAirflow]:
    """Start everything in `folder`, and leave no process behind."""
    with receiver() as (address, posts):
        settings = Settings(
            _env_file=None, home=folder / "a home", dataset="telco", webhook_url=address,
            candidates="base_rate,spline_logistic", search_trials=2,
        )  # fmt: skip
        try:
            start_postgres(settings)
            provision(settings)
            start_airflow(settings)
            yield LiveAirflow(settings, posts)
        finally:
            stop_airflow(settings)
            left = processes_of(settings)
            remove_postgres(settings)
    assert left == [], f"stop_airflow left processes behind: {left}"


def processes_of(settings: Settings) -> list[str]:
    """Return the command lines of all processes that have this instance's AIRFLOW_HOME."""
    mark = f"AIRFLOW_HOME={settings.home / 'airflow'}".encode()
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
