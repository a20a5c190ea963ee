"""The only place that calls dbt: in process, one layer of the warehouse at a time.

dbt reads its secrets from environment variables that exist for the length of one call. Every node
leaves one log line and one row of ``ops.dbt_results``, from which a retry knows where to resume.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from dbt.cli.main import dbtRunner, dbtRunnerResult

from churn_ml.declarations import load_dataset
from churn_ml.errors import TransformationError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect, warehouse_url
from churn_ml.warehouse.runs import Run, read_run

log = logging.getLogger(__name__)

Layer = Literal["staging", "intermediate", "features", "marts"]

_BUILD_LOCK = 7203448
_DONE = {"success", "pass", "warn"}
_BUILDING_COMMANDS = {"build", "run", "seed", "snapshot"}
_SESSION = "-c TimeZone=UTC -c datestyle=ISO,YMD -c work_mem=128MB"


@dataclass(frozen=True)
class LayerSummary:
    """What one layer's build did: nodes run, rows written and seconds taken."""

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


def build_layer(settings: Settings, run_id: str, layer: Layer, try_number: int = 1) -> LayerSummary:
    """Build and test one layer of the run's night; seeds are built with staging.

    On a later try, nodes that succeeded for this run stay as they are, save what a failed test
    tested and what was built on it. Where everything succeeded, or what the layer reads was made
    anew since, the whole layer is built again.

    Raises
    ------
    TransformationError
        If a node fails; the message names each with what dbt said.
    """
    run = read_run(settings, run_id)
    options = ["--vars", _variables(settings, run), *_quiet_options()]
    started = time.monotonic()
    with _one_build_at_a_time(settings) as warehouse, _dbt_environment(settings):
        selection = _select_layer(layer)
        if try_number > 1:
            selection = _select_rest(settings, warehouse, run_id, layer, options)
        recorder = _Recorder(warehouse, run_id, layer, try_number)
        result = dbtRunner(callbacks=[recorder.receive]).invoke(
            ["build", *selection, "--exclude-resource-type", "unit_test", *options, *_places(settings)]
        )
    return _summarise(result, recorder, layer, time.monotonic() - started)


def run_dbt(settings: Settings, arguments: Sequence[str], run_id: str | None = None) -> None:
    """Call dbt with `arguments` and the variables of `run_id`, or of the newest run.

    dbt prints to the console itself.

    Raises
    ------
    TransformationError
        If dbt reports a failure.
    """
    run_id = run_id or _newest_run(settings)
    variables = ["--vars", _variables(settings, read_run(settings, run_id))] if run_id else []
    if "--vars" in arguments:
        variables = []
    builds = bool(_BUILDING_COMMANDS & set(arguments))
    lock = _one_build_at_a_time(settings) if builds else nullcontext()
    with lock, _dbt_environment(settings):
        result = dbtRunner().invoke([*arguments, *variables, *_places(settings)])
    if not result.success:
        reason = f": {result.exception}" if result.exception else ", see its output above"
        raise TransformationError(f"Expected `dbt {' '.join(arguments)}` to succeed, it failed{reason}")


def _variables(settings: Settings, run: Run) -> str:
    dataset = load_dataset(settings)
    return json.dumps(
        {
            "dataset": run.dataset,
            "as_of_date": run.as_of_date.isoformat(),
            "known_as_of": run.known_as_of.isoformat(),
            "run_id": run.run_id,
            "label_definition": dataset.label_definition,
            "value_definition": dataset.value_definition,
        }
    )


def _newest_run(settings: Settings) -> str | None:
    with connect(settings, Role.TRANSFORMER) as warehouse:
        row = warehouse.execute(
            "select run_id from ops.pipeline_runs order by started_at desc, run_id desc limit 1"
        ).fetchone()
    return str(row[0]) if row else None


def _places(settings: Settings) -> list[str]:
    """Return the options that keep dbt's files out of the project's folder."""
    project, home = settings.project_dir / "dbt_project", settings.home / "dbt"
    return [
        "--project-dir", str(project), "--profiles-dir", str(project),
        "--target-path", str(home / "target"), "--log-path", str(home / "logs"),
    ]  # fmt: skip


def _quiet_options() -> list[str]:
    return ["--quiet", "--log-level", "none", "--log-level-file", "info", "--no-use-colors"]


@contextmanager
def _dbt_environment(settings: Settings) -> Iterator[None]:
    """Set what profiles.yml reads, and put the environment back afterwards."""
    url = warehouse_url(settings, Role.TRANSFORMER)
    former = dict(os.environ)
    os.environ.update(
        CHURN_DBT_HOST=url.host or "127.0.0.1",
        CHURN_DBT_PORT=str(url.port or 5432),
        CHURN_DBT_USER=url.username or "",
        CHURN_DBT_PASSWORD=str(url.password),
        CHURN_DBT_DATABASE=url.database or "",
        PGOPTIONS=_SESSION,
        DO_NOT_TRACK="1",
    )
    if "sslmode" in url.query:
        os.environ["PGSSLMODE"] = str(url.query["sslmode"])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


@contextmanager
def _one_build_at_a_time(settings: Settings) -> Iterator[Connection]:
    """Hold the warehouse's build lock: dbt renames tables, and a night and a training may meet."""
    with connect(settings, Role.TRANSFORMER, autocommit=True) as warehouse:
        if warehouse.execute("select pg_try_advisory_lock(%s)", [_BUILD_LOCK]).fetchone() == (False,):
            log.info("another dbt build is at work on this warehouse: waiting for it to end")
            warehouse.execute("select pg_advisory_lock(%s)", [_BUILD_LOCK])
        yield warehouse


class _Recorder:
    """Receives dbt's events: one log line and one row per finished node."""

    def __init__(self, warehouse: Connection, run_id: str, layer: str, try_number: int) -> None:
        self.results: list[NodeResult] = []
        self._warehouse = warehouse
        self._key = (run_id, layer, try_number)
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
        level = logging.INFO if result.status in _DONE else logging.ERROR
        log.log(
            level,
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


def _summarise(result: dbtRunnerResult, recorder: _Recorder, layer: str, seconds: float) -> LayerSummary:
    failed = [node for node in recorder.results if node.status not in _DONE | {"skipped"}]
    if failed or not result.success:
        raise TransformationError(_failure(layer, failed, result))
    if not recorder.results:
        raise TransformationError(
            f"Expected nodes in layer {layer}, found none for this dataset. Add models under models/{layer}."
        )
    rows = sum(node.row_count or 0 for node in recorder.results if node.resource_type == "model")
    log.info("dbt %s: %d nodes, %d rows in %.1f s", layer, len(recorder.results), rows, seconds)
    return LayerSummary(layer, len(recorder.results), rows, seconds)


def _failure(layer: str, failed: Iterable[NodeResult], result: dbtRunnerResult) -> str:
    meanings = _read_meanings(result)
    lines = [
        f"  {node.resource_type} {node.node_name} ({node.status}): {node.message}"
        + (f" ({meanings[node.node_id]})" if meanings.get(node.node_id) else "")
        for node in failed
    ]
    if result.exception is not None:
        lines.append(f"  {result.exception}")
    return "\n".join(
        [f"Expected every node of layer {layer} to succeed, found:", *lines,
         "Mend the data or the model and retry: the retry resumes at what failed."]
    )  # fmt: skip


def _read_meanings(result: dbtRunnerResult) -> dict[str, str]:
    """Return what each test of the build stands for, as its YAML describes it."""
    outcomes = getattr(result.result, "results", [])
    tests = [outcome.node for outcome in outcomes if outcome.node.resource_type == "test"]
    return {test.unique_id: " ".join(test.description.split()) for test in tests}


def _select_layer(layer: str) -> list[str]:
    seeds = ["path:seeds"] if layer == "staging" else []
    # buildable: a test that spans layers runs with the later one.
    return ["--select", f"path:models/{layer}", *seeds, "--indirect-selection", "buildable"]


def _select_rest(
    settings: Settings, warehouse: Connection, run_id: str, layer: str, options: list[str]
) -> list[str]:
    """Return the selection of what an earlier, failed try left undone; else the whole layer."""
    statuses = _earlier_statuses(warehouse, run_id, layer)
    if not statuses:
        return _select_layer(layer)
    parsed = dbtRunner().invoke(["parse", *options, *_places(settings)])
    if not parsed.success:
        raise TransformationError(f"Expected the dbt project to parse, found: {parsed.exception}")
    rest = _find_rest(parsed.result, layer, statuses)
    if not rest:
        log.info("dbt %s: succeeded on an earlier try and is built again", layer)
        return _select_layer(layer)
    log.info("dbt %s: resuming, %d nodes are left", layer, len(rest))
    return ["--select", *sorted(rest), "--indirect-selection", "empty"]


def _earlier_statuses(warehouse: Connection, run_id: str, layer: str) -> dict[str, str]:
    """Return how each node last ended in this run; nothing if what it reads was made anew since."""
    rows = warehouse.execute(
        "with earlier as ("
        " select distinct on (node_id) node_id, status, dbt_result_id, recorded_at"
        " from ops.dbt_results where run_id = %(run_id)s and layer = %(layer)s"
        " order by node_id, dbt_result_id desc"
        ") select node_id, status from earlier"
        " where not exists (select from ops.dbt_results where run_id = %(run_id)s and layer <> %(layer)s"
        " and dbt_result_id > (select max(dbt_result_id) from earlier))"
        " and not exists (select from ops.landing_batches where run_id = %(run_id)s"
        " and landed_at > (select min(recorded_at) from earlier))"
        " and not exists (select from ops.pipeline_runs"
        " join scores.customer_scores using (run_id, as_of_date)"
        " where run_id = %(run_id)s and scored_at > (select min(recorded_at) from earlier))",
        {"run_id": run_id, "layer": layer},
    ).fetchall()
    return {str(node_id): str(status) for node_id, status in rows}


def _find_rest(manifest: Any, layer: str, statuses: dict[str, str]) -> set[str]:
    """Return the names of the layer's nodes that must still run.

    A failed test means that what it tests is built again, and so is all that was built on it.
    """
    nodes = _layer_nodes(manifest, layer)
    rest = {node_id for node_id in nodes if statuses.get(node_id) not in _DONE}
    for node_id in [node_id for node_id in rest if node_id.startswith("test.") and node_id in statuses]:
        if statuses[node_id] in ("fail", "error"):
            rest |= nodes & set(manifest.parent_map[node_id])
    frontier = [node_id for node_id in rest if not node_id.startswith("test.")]
    while frontier:
        below = (nodes & set(manifest.child_map[frontier.pop()])) - rest
        rest |= below
        frontier.extend(below)
    return {manifest.nodes[node_id].name for node_id in rest}


def _layer_nodes(manifest: Any, layer: str) -> set[str]:
    """Return the ids of what `_select_layer` selects: models, seeds and the tests on either."""
    folders = (f"models/{layer}/", "seeds/") if layer == "staging" else (f"models/{layer}/",)
    built = {
        node_id
        for node_id, node in manifest.nodes.items()
        if node.resource_type in ("model", "seed") and node.original_file_path.startswith(folders)
    }
    known = built | _ancestors(manifest, built)
    tests = {
        node_id
        for node_id, node in manifest.nodes.items()
        if node.resource_type == "test"
        and built & set(manifest.parent_map[node_id])
        and known >= set(manifest.parent_map[node_id])
    }
    return built | tests


def _ancestors(manifest: Any, node_ids: set[str]) -> set[str]:
    found: set[str] = set()
    frontier = list(node_ids)
    while frontier:
        above = set(manifest.parent_map.get(frontier.pop(), ())) - found
        found |= above
        frontier.extend(above)
    return found
