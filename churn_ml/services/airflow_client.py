"""A running Airflow over its REST API: a call takes hundredths of a second, the command line seconds."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from churn_ml.errors import ServiceError
from churn_ml.services.airflow_environment import ADMIN_USER, admin_password, base_url
from churn_ml.settings import Settings

_MOST_RERUNS = 1000
_PAGE = 100
_BACKFILL_ENDS_WITHIN_SECONDS = 60  # the scheduler looks for ended ones every 30


class AirflowClient:
    """A running Airflow over its REST API.

    Parameters
    ----------
    url : str
        Address of the API server, without a path.
    user, password : str
        Whom to sign in as; a token is fetched on first use and renewed when it has expired.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._address = urlsplit(url)
        self._credentials = {"username": user, "password": password}
        self._token: str | None = None

    @classmethod
    def connect(cls, settings: Settings) -> "AirflowClient":
        """Return a client of this instance's Airflow."""
        return cls(base_url(settings), ADMIN_USER, admin_password(settings))

    def health(self) -> dict[str, Any]:
        """Return the state of each component."""
        return _content("monitor/health", *self._request("GET", "/api/v2/monitor/health"))

    def unpause(self, dag_id: str, seconds: float = 60) -> None:
        """Unpause `dag_id`, waiting until the dag processor has read its file."""
        deadline = time.monotonic() + seconds
        while True:
            status, text = self._send("PATCH", f"dags/{dag_id}", {"is_paused": False})
            if status != HTTPStatus.NOT_FOUND or time.monotonic() > deadline:
                _content(f"dags/{dag_id}", status, text)
                return
            time.sleep(0.3)

    def trigger(
        self,
        dag_id: str,
        *,
        data_interval_end: datetime,
        data_interval_start: datetime | None = None,
        conf: dict[str, object] | None = None,
    ) -> str:
        """Start a run for a cut-off and return its DAG run id.

        Airflow allows one run per logical date: a rerun of an interval gets a logical date some
        microseconds later, and the very same interval.

        Parameters
        ----------
        data_interval_end : datetime
            The cut-off, with a time zone.
        data_interval_start : datetime, optional
            One day before the cut-off where it is not given.
        conf : dict, optional
            The DAG's params.

        Raises
        ------
        ServiceError
            If the interval has not begun: Airflow starts no run before its logical date.
        """
        start = data_interval_start or data_interval_end - timedelta(days=1)
        if start > datetime.now(UTC):
            raise ServiceError(
                f"Expected an interval that has begun, found one from {start.isoformat()} on: Airflow would "
                f"hold the run of {dag_id} until then. Give an earlier day or cut-off."
            )
        for rerun in range(_MOST_RERUNS):
            body = {
                "dag_run_id": f"manual__{data_interval_end:%Y%m%dT%H%M%S}__{rerun + 1}",
                "logical_date": (start + timedelta(microseconds=rerun)).isoformat(),
                "data_interval_start": start.isoformat(),
                "data_interval_end": data_interval_end.isoformat(),
                "conf": conf or {},
            }
            status, text = self._send("POST", f"dags/{dag_id}/dagRuns", body)
            if status != HTTPStatus.CONFLICT:
                return str(_content(f"a run of {dag_id}", status, text)["dag_run_id"])
        raise ServiceError(
            f"Expected fewer than {_MOST_RERUNS} runs of {dag_id} from {start.isoformat()}, found as many. "
            "Delete old runs in the Airflow UI."
        )

    def create_backfill(
        self, dag_id: str, first: datetime, last: datetime, conf: dict[str, object] | None = None
    ) -> int:
        """Start Airflow's own backfill, one run at a time, and return its id.

        Parameters
        ----------
        first, last : datetime
            Logical dates (starts of data intervals) of the first and the last run, inclusive. Runs
            that there are already are cleared and run again.
        conf : dict, optional
            The DAG's params.
        """
        body = {
            "dag_id": dag_id,
            "from_date": first.isoformat(),
            "to_date": last.isoformat(),
            "dag_run_conf": conf or {},
            "reprocess_behavior": "completed",
            "max_active_runs": 1,
        }
        deadline = time.monotonic() + _BACKFILL_ENDS_WITHIN_SECONDS
        while True:
            status, text = self._send("POST", "backfills", body)
            if status != HTTPStatus.CONFLICT or time.monotonic() > deadline:
                return int(_content(f"a backfill of {dag_id}", status, text)["id"])
            time.sleep(1)

    def wait_for_backfill(
        self, dag_id: str, first: datetime, last: datetime, *, seconds: float
    ) -> list[dict[str, Any]]:
        """Wait until every run of the backfill from `first` to `last` has ended, and return them.

        Raises
        ------
        ServiceError
            If one has not ended after `seconds`, or Airflow does not answer.
        """
        deadline = time.monotonic() + seconds
        while True:
            runs = [run for run in self.dag_runs(dag_id, first, last) if run["run_type"] == "backfill"]
            if all(run["state"] in {"success", "failed"} for run in runs):
                return runs
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"Expected the backfill of {dag_id} from {first.isoformat()} to {last.isoformat()} to "
                    f"end within {seconds:.0f} s, found it at work. Look at {self.url}/dags/{dag_id}."
                )
            time.sleep(1)

    def dag_runs(self, dag_id: str, first: datetime, last: datetime) -> list[dict[str, Any]]:
        """Return the runs with logical dates from `first` to `last`, inclusive, in their order."""
        found: list[dict[str, Any]] = []
        while True:
            query = urlencode(
                {"logical_date_gte": first.isoformat(), "logical_date_lte": last.isoformat(),
                 "order_by": "logical_date", "limit": _PAGE, "offset": len(found)}
            )  # fmt: skip
            page = self._get(f"dags/{dag_id}/dagRuns?{query}")
            found += page["dag_runs"]
            if not page["dag_runs"] or len(found) >= page["total_entries"]:
                return found

    def clear_run(self, dag_id: str, dag_run_id: str, *, only_failed: bool = False) -> None:
        """Let every task of an ended run, or only what failed, run again under the same DAG run id."""
        body = {"dry_run": False, "only_failed": only_failed}
        _content("a cleared run", *self._send("POST", f"{_run_path(dag_id, dag_run_id)}/clear", body))

    def dag_run(self, dag_id: str, dag_run_id: str) -> dict[str, Any]:
        """Return one run; its `state` is queued, running, success or failed."""
        return self._get(_run_path(dag_id, dag_run_id))

    def task_instances(self, dag_id: str, dag_run_id: str) -> list[dict[str, Any]]:
        """Return the run's tasks with `task_id`, `state`, `try_number` and `duration`."""
        return list(self._get(f"{_run_path(dag_id, dag_run_id)}/taskInstances?limit=1000")["task_instances"])

    def xcom(self, dag_id: str, dag_run_id: str, task_id: str) -> object:
        """Return the summary that a task handed on."""
        task = f"{_run_path(dag_id, dag_run_id)}/taskInstances/{task_id}"
        return self._get(f"{task}/xcomEntries/return_value?deserialize=true")["value"]

    def task_log(self, dag_id: str, dag_run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of one try, one line of text per event and per exception."""
        task = f"{_run_path(dag_id, dag_run_id)}/taskInstances/{task_id}"
        content = self._get(f"{task}/logs/{try_number}?full_content=true")["content"]
        return "\n".join(line if isinstance(line, str) else _log_line(line) for line in content)

    def asset_events(self, dag_id: str, dag_run_id: str) -> dict[str, dict[str, Any]]:
        """Return what the run's asset events carry, by asset name."""
        query = urlencode({"source_dag_id": dag_id, "source_run_id": dag_run_id, "limit": 1000})
        events = self._get(f"assets/events?{query}")
        return {event["name"]: event["extra"] for event in events["asset_events"]}

    def wait_for_run(
        self,
        dag_id: str,
        dag_run_id: str,
        *,
        seconds: float,
        on_change: Callable[[dict[str, Any]], None] | None = None,
    ) -> str:
        """Wait until the run has ended and return its state, ``success`` or ``failed``.

        `on_change` is called with a task instance whenever its state has changed.

        Raises
        ------
        ServiceError
            If the run has not ended after `seconds`, or Airflow does not answer.
        """
        deadline = time.monotonic() + seconds
        seen: dict[tuple[str, int], str | None] = {}
        while True:
            state = self.dag_run(dag_id, dag_run_id)["state"]
            for task in self.task_instances(dag_id, dag_run_id) if on_change else []:
                part = (task["task_id"], task["map_index"])
                if on_change and task["state"] != seen.get(part):
                    seen[part] = task["state"]
                    on_change(task)
            if state in {"success", "failed"}:
                return str(state)
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"Expected run {dag_run_id} of {dag_id} to end within {seconds:.0f} s, found it {state}. "
                    f"Look at {self.url}/dags/{dag_id}/runs/{dag_run_id}."
                )
            time.sleep(0.5)

    def _get(self, path: str) -> dict[str, Any]:
        return _content(path, *self._send("GET", path))

    def _send(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        self._token = self._token or self._sign_in()
        status, text = self._request(method, f"/api/v2/{path}", body)
        if status == HTTPStatus.UNAUTHORIZED:
            self._token = self._sign_in()
            status, text = self._request(method, f"/api/v2/{path}", body)
        return status, text

    def _sign_in(self) -> str:
        self._token = None
        answer = self._request("POST", "/auth/token", self._credentials)
        return str(_content("the admin password", *answer)["access_token"])

    def _request(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = HTTPConnection(self._address.hostname or "", self._address.port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, HTTPException) as error:
            raise ServiceError(
                f"Expected Airflow to answer at {self.url}, found: {error}. Run `churn-ml status`, then "
                "`churn-ml up`."
            ) from None
        finally:
            connection.close()


def _log_line(line: dict[str, Any]) -> str:
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or []]
    return "\n".join([str(line.get("event", "")), *errors])


def _run_path(dag_id: str, dag_run_id: str) -> str:
    return f"dags/{dag_id}/dagRuns/{quote(dag_run_id, safe='')}"


def _content(asked: str, status: int, text: str) -> dict[str, Any]:
    if status >= HTTPStatus.BAD_REQUEST:
        raise ServiceError(f"Expected Airflow to accept {asked}, found status {status}: {text[:500]}")
    content: dict[str, Any] = json.loads(text)
    return content
