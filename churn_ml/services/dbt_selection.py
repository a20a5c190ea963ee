"""Which nodes of the parsed dbt project a build takes, and which of them a retry still has to."""

import logging
from typing import Any, Literal

from churn_ml.services.dbt_results import DONE
from churn_ml.warehouse.connection import Connection

log = logging.getLogger(__name__)

Layer = Literal["staging", "intermediate", "features", "marts"]


def select_layer(layer: Layer) -> list[str]:
    """Return dbt's options for a whole layer; seeds belong to staging."""
    seeds = ["path:seeds"] if layer == "staging" else []
    # buildable: a test that spans layers runs with the later one.
    return ["--select", f"path:models/{layer}", *seeds, "--indirect-selection", "buildable"]


def select_night(dataset: str) -> list[str]:
    """Return dbt's options for one night's features: models only, without outcomes."""
    return [
        "--select", f"path:models/intermediate/{dataset}", f"path:models/features/{dataset}",
        "--exclude", _outcomes(dataset), "--resource-type", "model",
    ]  # fmt: skip


def select_labels(dataset: str) -> list[str]:
    """Return dbt's options for the labels, what is told from them, and the tests of both."""
    return ["--select", _outcomes(dataset), "--indirect-selection", "buildable"]


def _outcomes(dataset: str) -> str:
    return f"{dataset}__customer_labels+,path:models/features/{dataset}"


def select_rest(warehouse: Connection, manifest: Any, run_id: str, layer: Layer) -> list[str]:
    """Return dbt's options for what an earlier, failed try left undone; else for the whole layer."""
    statuses = _earlier_statuses(warehouse, run_id, layer)
    if not statuses:
        return select_layer(layer)
    manifest.build_parent_and_child_maps()
    rest = _find_rest(manifest, layer, statuses)
    if not rest:
        log.info("dbt %s: succeeded on an earlier try and is built again", layer)
        return select_layer(layer)
    log.info("dbt %s: resuming, %d nodes are left", layer, len(rest))
    return ["--select", *sorted(rest), "--indirect-selection", "empty"]


def _earlier_statuses(warehouse: Connection, run_id: str, layer: str) -> dict[str, str]:
    """Return how each node last ended in this run; nothing if its rows may be gone or be others since.

    What it reads was made anew, or another run's build has dropped the rows of finished nights.
    """
    rows = warehouse.execute(
        "with earlier as ("
        " select distinct on (node_id) node_id, status, dbt_result_id, recorded_at"
        " from ops.dbt_results where run_id = %(run_id)s and layer = %(layer)s"
        " order by node_id, dbt_result_id desc"
        ") select node_id, status from earlier"
        " where not exists (select from ops.dbt_results where run_id = %(run_id)s and layer <> %(layer)s"
        " and dbt_result_id > (select max(dbt_result_id) from earlier))"
        " and not exists (select from ops.dbt_results where run_id <> %(run_id)s"
        " and (layer in ('staging', 'intermediate') or layer like 'night %%')"
        " and dbt_result_id > (select min(dbt_result_id) from earlier))"
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
    rest = {node_id for node_id in nodes if statuses.get(node_id) not in DONE}
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
    """Return the ids of what `select_layer` selects: models, seeds and the tests on either."""
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
