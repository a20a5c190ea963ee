"""What happens when a DAG run fails: its row is closed and, save for a backfill, one address is told.

Airflow calls these functions with its task context; they read it as a mapping and import no
Airflow. Nothing here raises: a webhook that does not answer, or a warehouse that is down, must
never change how the run ended.
"""

import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from churn_ml.errors import ChurnError

log = logging.getLogger(__name__)

_TRIES = 3
_SECONDS_BETWEEN_TRIES = 2.0
_TIMEOUT_SECONDS = 10
_ACCOUNT_SECONDS = 5.0
_LONGEST_MESSAGE = 4000


def record_task_failure(context: Mapping[str, Any]) -> None:
    """Close the run's row as failed, with the task and its error; called in the task's process."""
    error = context.get("exception")
    text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error or "ended")
    _close(context, f"{context['ti'].task_id}: {text}"[:_LONGEST_MESSAGE])


def report_failure(context: Mapping[str, Any]) -> None:
    """Tell the webhook of ``CHURN_WEBHOOK_URL`` that a DAG run failed; called once per run.

    The JSON holds `dataset`, `dag_id`, `dag_run_id`, `run_id`, `as_of_date`, `failed_tasks`,
    `message` and `url`. Without an address this only closes the run's row and logs.
    """
    _post(record_run_failure(context))


def record_run_failure(context: Mapping[str, Any]) -> dict[str, Any]:
    """Close the row of a DAG run that failed, tell nobody, and return what could be told."""
    tasks = [context["ti"].task_id] if "ti" in context else []
    reason = f"{', '.join(tasks) or _identify(context)[0]}: {context.get('reason', 'failed')}"
    row = _await_account(context)
    if row is not None and row["status"] == "running":
        row = _close(context, reason)
    payload = _describe(context, row or {}, tasks, reason)
    log.error("%s failed: %s", payload["dag_run_id"], payload["message"])
    return payload


def _describe(
    context: Mapping[str, Any], row: Mapping[str, Any], tasks: list[str], reason: str
) -> dict[str, Any]:
    dag_id, dag_run_id = _identify(context)
    base_url = os.environ.get("AIRFLOW__API__BASE_URL", "")
    return {
        "dataset": row.get("dataset") or os.environ.get("CHURN_DATASET"),
        "dag_id": dag_id,
        "dag_run_id": dag_run_id,
        "run_id": row.get("run_id"),
        "as_of_date": row.get("as_of_date"),
        "failed_tasks": tasks,
        "message": row.get("failure") or reason,
        "url": f"{base_url}/dags/{dag_id}/runs/{dag_run_id}",
    }


def _await_account(context: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the run's row; the failing task, which knows its error, may just be writing it."""
    deadline = time.monotonic() + _ACCOUNT_SECONDS
    row = _read_row(context)
    while row is not None and not _holds_account(context, row) and time.monotonic() < deadline:
        time.sleep(0.25)
        row = _read_row(context)
    return row


def _holds_account(context: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether the row tells this failure: one that failed, was cleared and fails anew tells the former."""
    if row["status"] != "failed":
        return bool(row["status"] != "running")
    return "ti" not in context or str(row["failure"]).startswith(f"{context['ti'].task_id}: ")


def _identify(context: Mapping[str, Any]) -> tuple[str, str]:
    """Return dag_id and dag_run_id; a callback without a task instance knows less."""
    if "ti" in context:
        return context["ti"].dag_id, context["ti"].run_id
    return context["dag"].dag_id, context["run_id"]


def _read_row(context: Mapping[str, Any]) -> dict[str, Any] | None:
    from churn_ml.settings import load_settings
    from churn_ml.warehouse.connection import Role, connect

    names = ("run_id", "dataset", "as_of_date", "status", "failure")
    try:
        with connect(load_settings(), Role.LOADER) as loader:
            row = loader.execute(
                "select run_id, dataset, as_of_date::text, status, failure from ops.pipeline_runs"
                " where dag_id = %s and dag_run_id = %s order by started_at desc limit 1",
                list(_identify(context)),
            ).fetchone()
    except ChurnError as error:
        log.warning("the run's row cannot be read: %s", error)
        return None
    return dict(zip(names, row, strict=True)) if row is not None else None


def _close(context: Mapping[str, Any], failure: str) -> dict[str, Any] | None:
    """Close the DAG run's newest row as failed, with the latest failure, and return it."""
    from churn_ml.settings import load_settings
    from churn_ml.warehouse.connection import RaiseException
    from churn_ml.warehouse.runs import close_run

    row = _read_row(context)
    if row is None or row["status"] not in {"running", "failed"}:
        return row
    try:
        close_run(load_settings(), row["run_id"], "failed", failure)
    except (ChurnError, RaiseException) as error:  # Postgres refuses where the run was published
        log.warning("run %s cannot be closed: %s", row["run_id"], error)
        return row
    log.info("closed run %s as failed", row["run_id"])
    return row | {"status": "failed", "failure": failure}


def _post(payload: dict[str, Any]) -> None:
    address = _webhook_url()
    if address is None:
        log.info("CHURN_WEBHOOK_URL is not set: nobody was told")
        return
    for number in range(1, _TRIES + 1):
        problem = _post_once(address, payload)
        if problem is None:
            log.info("the webhook was told, at try %d", number)
            return
        log.warning("the webhook did not take the message (try %d of %d): %s", number, _TRIES, problem)
        if number < _TRIES:
            time.sleep(_SECONDS_BETWEEN_TRIES)


def _webhook_url() -> str | None:
    from churn_ml.settings import load_settings

    try:
        url = load_settings().webhook_url
    except ChurnError as error:
        log.warning("the webhook's address cannot be read: %s", error)
        return None
    return url.get_secret_value() if url is not None else None


def _post_once(address: str, payload: dict[str, Any]) -> str | None:
    """Send `payload` and return what went wrong; the address may hold a token and is not named."""
    if not address.lower().startswith(("http://", "https://")):
        return "CHURN_WEBHOOK_URL must start with http:// or https://"
    body = json.dumps(payload).encode()
    try:
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            address, data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {getattr(error, 'reason', 'no answer')}"
