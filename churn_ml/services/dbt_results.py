"""What dbt's nodes did: a log line and a row of ``ops.dbt_results`` for each, and a failure in words.

Each test is a row of ``ops.validation_results`` as well.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from churn_ml.errors import TransformationError
from churn_ml.services.dbt_checks import read_check, record_check, sample_keys
from churn_ml.warehouse.connection import Connection

log = logging.getLogger(__name__)

DONE = {"success", "pass", "warn"}


@dataclass(frozen=True)
class LayerSummary:
    """What one build did: nodes run, rows written and seconds taken."""

    layer: str
    nodes: int
    rows: int
    seconds: float


@dataclass(frozen=True)
class NodeResult:
    """How one dbt node ended; `row_count` is rows written, or failing rows of a test."""

    node_id: str
    node_name: str
    resource_type: str
    status: str
    seconds: float
    row_count: int | None
    message: str


class Recorder:
    """Receives dbt's events: one row per finished node, and one log line at `level` if it went well."""

    def __init__(
        self,
        warehouse: Connection,
        manifest: Any,
        session: Mapping[str, str],
        run_id: str,
        layer: str,
        try_number: int,
        level: int = logging.INFO,
    ) -> None:
        self.results: list[NodeResult] = []
        self.layer = layer
        self.manifest = manifest
        self._session = session
        self._warehouse = warehouse
        self._key = (run_id, layer, try_number)
        self._level = level
        self._lock = threading.Lock()

    def receive(self, event: Any) -> None:
        """Take one of dbt's events; dbt calls this from its worker threads."""
        if event.info.name == "NodeFinished":
            with self._lock:
                self._record(_read_result(event.data))

    def _record(self, result: NodeResult) -> None:
        self.results.append(result)
        noun = "failing rows" if result.resource_type == "test" else "rows"
        rows = "" if result.row_count is None else f", {result.row_count} {noun}"
        log.log(
            self._level if result.status in DONE else logging.ERROR,
            "dbt %s %s: %s in %.2f s%s",
            result.resource_type,
            result.node_name,
            result.status,
            result.seconds,
            rows,
        )
        self._warehouse.execute(
            "insert into ops.dbt_results (run_id, layer, try_number, node_id, node_name, resource_type,"
            " status, elapsed_seconds, row_count, message)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [*self._key, result.node_id, result.node_name, result.resource_type,
             result.status, result.seconds, result.row_count, result.message],
        )  # fmt: skip
        if result.resource_type == "test" and result.status != "skipped":
            self._record_check(result)

    def _record_check(self, result: NodeResult) -> None:
        check = read_check(self.manifest, result.node_id, result.status, result.row_count)
        if check.verdict == "fail":
            failing_rows = self.manifest.nodes[result.node_id].compiled_code
            check = replace(check, sample_keys=sample_keys(self._warehouse, self._session, failing_rows))
        record_check(self._warehouse, self._key[0], self.layer, check)


def summarise(result: Any, recorder: Recorder, name: str, seconds: float) -> LayerSummary:
    """Sum up a call of dbt whose `result` is a ``dbtRunnerResult`` and which built what `name` says.

    Raises
    ------
    TransformationError
        If a node failed or none was selected.
    """
    failed = [node for node in recorder.results if node.status not in DONE | {"skipped"}]
    if failed or not result.success:
        raise TransformationError(_failure(name, failed, result))
    if not recorder.results:
        raise TransformationError(
            f"Expected nodes in {name}, found none for this dataset. Add models under dbt_project/models."
        )
    rows = sum(node.row_count or 0 for node in recorder.results if node.resource_type == "model")
    return LayerSummary(recorder.layer, len(recorder.results), rows, seconds)


def _read_result(data: Any) -> NodeResult:
    node, outcome = data.node_info, data.run_result
    return NodeResult(
        node_id=node.unique_id,
        node_name=node.node_name,
        resource_type=node.resource_type,
        status=outcome.status,
        seconds=outcome.execution_time,
        row_count=_row_count(node.resource_type, outcome),
        message=outcome.message,
    )


def _row_count(resource_type: str, outcome: Any) -> int | None:
    if resource_type == "test":
        return int(outcome.num_failures)
    response = dict(outcome.adapter_response)
    affected = int(response.get("rows_affected", -1))
    return affected if affected >= 0 else None


def _failure(name: str, failed: Iterable[NodeResult], result: Any) -> str:
    meanings = _read_meanings(result)
    lines = [
        f"  {node.resource_type} {node.node_name} ({node.status}): {node.message}"
        + (f" ({meanings[node.node_id]})" if meanings.get(node.node_id) else "")
        for node in failed
    ]
    if result.exception is not None:
        lines.append(f"  {result.exception}")
    return "\n".join(
        [f"Expected every node of {name} to succeed, found:", *lines,
         "Mend the data or the model and retry: the retry resumes at what failed."]
    )  # fmt: skip


def _read_meanings(result: Any) -> dict[str, str]:
    """Return what each test of the build stands for, as its YAML describes it."""
    outcomes = getattr(result.result, "results", [])
    tests = [outcome.node for outcome in outcomes if outcome.node.resource_type == "test"]
    return {test.unique_id: " ".join(test.description.split()) for test in tests}
