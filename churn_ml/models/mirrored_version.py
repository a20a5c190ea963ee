"""What the MLflow mirror is to show of a registered version, as plain data."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from churn_ml.errors import ModelError
from churn_ml.warehouse.connection import Connection

_PLOT = re.compile(r'<figure id="([a-z_]+)"[^>]*>\s*(<svg .*?</svg>)', re.DOTALL)
_COMPARED_METRICS = ("log_loss", "brier", "roc_auc", "pr_auc")
_VERSION = """
select
    versions.model_version, versions.run_id, versions.dataset, versions.label_definition, versions.family,
    versions.validation, versions.as_of_date::text, versions.known_as_of, versions.seed, versions.fold_count,
    versions.row_count, versions.churned_count, versions.metrics, versions.parameters, versions.calibration,
    versions.value_family, versions.training_sha256, versions.artifact_sha256, versions.card,
    (extract(epoch from versions.recorded_at) * 1000)::bigint as recorded_ms,
    (
        select coalesce(
            jsonb_agg(jsonb_build_array(gate, subject, observed, verdict) order by gate, subject), '[]'
        )
        from ml.gate_results
        where gate_results.model_version = versions.model_version
    ) as gates
from ml.model_versions as versions
where versions.model_version = %s
"""


@dataclass(frozen=True)
class MirroredVersion:
    """One model version as MLflow is to show it; `files` maps a path to its text."""

    model_version: str
    dataset: str
    recorded_ms: int
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Mapping[str, str]


def read_version(trainer: Connection, model_version: str) -> MirroredVersion:
    """Read `model_version` from the registry, with the plots of its card as files of their own.

    Raises
    ------
    ModelError
        If there is no such version.
    """
    cursor = trainer.execute(_VERSION, [model_version])
    row = cursor.fetchone()
    if row is None:
        raise ModelError(
            f"Expected model version {model_version!r} in ml.model_versions, found no such row. "
            "List them with `churn-ml model list`."
        )
    version = dict(zip([column.name for column in cursor.description or []], row, strict=True))
    gates = {
        _key(gate, subject): (observed, verdict) for gate, subject, observed, verdict in version["gates"]
    }
    metrics = _numbers(version["metrics"]) | {
        f"gate/{key}": float(observed) for key, (observed, _) in gates.items() if observed is not None
    }
    tags = {
        name: str(version[name])
        for name in ("run_id", "dataset", "label_definition", "family", "validation", "calibration",
                     "value_family", "as_of_date", "training_sha256", "artifact_sha256")
        if version[name] is not None
    }  # fmt: skip
    tags |= {f"gate/{key}": verdict for key, (_, verdict) in gates.items()}
    tags["known_as_of"] = version["known_as_of"].isoformat()
    card = version["card"]
    return MirroredVersion(
        model_version,
        version["dataset"],
        version["recorded_ms"],
        parameters={
            _key(name): value if isinstance(value, str) else json.dumps(value)
            for name, value in version["parameters"].items()
        } | {name: str(version[name]) for name in ("seed", "fold_count")},
        metrics=metrics | {name: float(version[name]) for name in ("row_count", "churned_count")},
        tags=tags,
        files={} if card is None else {"card.html": card} | {
            f"plots/{name}.svg": plot for name, plot in plots_of(card).items()
        },
    )  # fmt: skip


def plots_of(card: str) -> dict[str, str]:
    """Return the drawings of a card by name, each a whole SVG."""
    return dict(_PLOT.findall(card))


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers with their paths: of the other candidates those that families are compared by."""
    found = dict(_leaves(metrics))
    compared = {f"{name}{end}" for name in _COMPARED_METRICS for end in ("", "_low", "_high")}
    return {
        path: value
        for path, value in found.items()
        if not path.startswith("candidates/") or path.split("/", 2)[2] in compared
    }


def _leaves(metrics: Mapping[str, Any], *path: str) -> Iterator[tuple[str, float]]:
    """Give each number with its path; what is not a number has no place among MLflow's metrics."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, *path, name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield _key(*path, name), float(value)


def _key(*path: str) -> str:
    """Return a name that MLflow takes: few signs, and at most 250 characters with a prefix."""
    return "/".join(re.sub(r"[^A-Za-z0-9_. -]", "_", part) for part in path if part)[:240]
