"""dbt's tests as rows of ``ops.validation_results``, beside the expectations of the gates.

A test that fails stops the build where its severity is `error` (`block`), and only warns where it is
`warn`. Its YAML may name `owner` and `reason` under `meta`; else the owner is `DEFAULT_OWNER`, and the
reason its description.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.sql import SQL, Identifier, PostgresError
from churn_ml.warehouse.sql import Literal as Value

log = logging.getLogger(__name__)

DEFAULT_OWNER = "data-platform"
_MOST_KEYS = 20
# What names a customer, a run or a day, and tells nothing else of anybody.
_KEY_COLUMNS = ("run_id", "scored_run_id", "customer_id", "as_of_date", "known_as_of")
_MEANINGS = {
    "is_key": "no two rows share {columns}, and none is null",
    "not_null": "{column_name} is never null",
    "accepted_values": "{column_name} is one of {values}",
}


@dataclass(frozen=True)
class DbtCheck:
    """What one test of dbt found, in the words of the gates' checks."""

    check_name: str
    table_name: str
    column_name: str | None
    severity: Literal["block", "warn"]
    verdict: str
    observed: str
    expected: str
    threshold: str
    failing_count: int | None
    owner: str
    reason: str
    sample_keys: str | None = None


def read_check(manifest: Any, node_id: str, status: str, failing_count: int | None) -> DbtCheck:
    """Describe the test `node_id` of the parsed project, which ended as `status`."""
    node = manifest.nodes[node_id]
    is_warning = status == "warn" or (status != "fail" and str(node.config.severity).lower() == "warn")
    verdict = status if status == "pass" else "fail" if status in {"warn", "fail"} else "error"
    table = _tables(manifest, node)
    meaning = " ".join(str(node.description).split())
    meta = dict(node.config.meta) | dict(node.meta)
    return DbtCheck(
        check_name=node.name,
        table_name=table,
        column_name=getattr(node, "column_name", None),
        severity="warn" if is_warning else "block",
        verdict=verdict,
        observed="not evaluated: see ops.dbt_results" if verdict == "error" else f"{failing_count} rows fail",
        expected=meaning or _meaning(node),
        threshold=f"fails if {node.config.warn_if if is_warning else node.config.error_if}",
        failing_count=None if verdict == "error" else failing_count,
        owner=str(meta.get("owner", DEFAULT_OWNER)),
        reason=str(meta.get("reason", meaning or f"The YAML of {table} states it.")),
    )


def record_check(warehouse: Connection, run_id: str, layer: str, check: DbtCheck) -> None:
    """Write `check` as a row of ``ops.validation_results``; its suite is the layer."""
    columns = {"run_id": run_id, "tool": "dbt", "suite": layer, **vars(check)}
    warehouse.execute(
        SQL("insert into ops.validation_results ({}) values ({})").format(
            SQL(", ").join(map(Identifier, columns)), SQL(", ").join(map(Value, columns.values()))
        )
    )


def sample_keys(warehouse: Connection, session: Mapping[str, str], failing_rows: str | None) -> str | None:
    """Return the keys of up to twenty rows that `failing_rows`, a test's own query, gives.

    None where the query names no key or cannot be run. `session` are the settings it was built with.
    """
    if not failing_rows:
        return None
    query = SQL("select {columns} from ({query}\n) as failing limit {limit}")
    rows_of_test = SQL(failing_rows)
    try:
        with warehouse.transaction():
            for name, value in session.items():
                warehouse.execute("select set_config(%s, %s, true)", [name, value])
            every = query.format(columns=SQL("*"), query=rows_of_test, limit=Value(0))
            given = [column.name for column in warehouse.execute(every).description or ()]
            keys = [name for name in given if name in _KEY_COLUMNS or name.endswith("_key")]
            if not keys:
                return None
            columns = SQL(", ").join(map(Identifier, keys))
            some = query.format(columns=columns, query=rows_of_test, limit=Value(_MOST_KEYS))
            found = warehouse.execute(some).fetchall()
    except PostgresError as error:
        log.warning("the failing rows of a test cannot be read: %s", type(error).__name__)
        return None
    named = (zip(keys, row, strict=True) for row in found)
    return "; ".join(", ".join(f"{name} {value}" for name, value in pairs) for pairs in named)


def _meaning(node: Any) -> str:
    """Say what a test without a description holds: its own name and what it was given."""
    generic = getattr(node, "test_metadata", None)
    if generic is None:
        return f"{node.name} holds"
    if generic.name in _MEANINGS:
        return _MEANINGS[generic.name].format_map(defaultdict(str, generic.kwargs))
    given = {name: value for name, value in generic.kwargs.items() if name != "model"}
    return " ".join([generic.name, *(f"{name} {value}" for name, value in given.items())])


def _tables(manifest: Any, node: Any) -> str:
    """Return the relation that a test was written for, or all that it reads."""
    attached = getattr(node, "attached_node", None)
    parents = [attached] if attached else [name for name in node.depends_on.nodes if name in manifest.nodes]
    found = [manifest.nodes[name] for name in parents]
    return ", ".join(sorted(f"{parent.schema}.{parent.alias}" for parent in found)) or "none"
