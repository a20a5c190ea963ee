"""Two registered models side by side: metrics, gates, and whether both were measured on the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from churn_ml.models.registry import show_version
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

_BOUNDS = ("_low", "_high")
# The rows that a metric was measured on, as a sum of hashes: the order does not matter.
_MEASURED_ROWS = """
    select count(*), sum(hashtextextended(concat_ws(':', customer_id, as_of_date, fold, churned), 0))
    from (
        select customer_id, null::date as as_of_date, fold, churned
        from ml.training_customers where model_version = %(version)s
        union all
        select customer_id, as_of_date, fold, churned
        from ml.training_observations
        where model_version = %(version)s and churn_probability is not null
    ) as measured
"""


@dataclass(frozen=True)
class Measured:
    """One metric of two models with its 90 % intervals; `difference` is the second less the first."""

    metric: str
    first: float | None
    first_low: float | None
    first_high: float | None
    second: float | None
    second_low: float | None
    second_high: float | None
    difference: float | None


@dataclass(frozen=True)
class JudgedGate:
    """One gate of two models; a verdict is None where the model was not put to it."""

    gate: str
    subject: str
    first: float | None
    first_verdict: str | None
    second: float | None
    second_verdict: str | None


@dataclass(frozen=True)
class Comparison:
    """Two models; metrics of other rows differ for that reason alone.

    `same_training` says whether rows, configuration, seed and libraries were equal, and
    `is_measured_on_same_rows` whether the metrics are of the same customers, days, folds and outcomes.
    """

    first: dict[str, Any]
    second: dict[str, Any]
    same_training: bool
    is_measured_on_same_rows: bool
    metrics: list[Measured]
    gates: list[JudgedGate]


def compare_versions(settings: Settings, first: str, second: str) -> Comparison:
    """Compare two registered models.

    Raises
    ------
    ModelError
        If one of them is unknown.
    """
    one, other = show_version(settings, first), show_version(settings, second)
    return Comparison(
        _summary(one),
        _summary(other),
        one["training_sha256"] is not None and one["training_sha256"] == other["training_sha256"],
        _measured_rows(settings, first) == _measured_rows(settings, second),
        _metrics(one["metrics"], other["metrics"]),
        _gates(one["gates"], other["gates"]),
    )


def _summary(details: Mapping[str, Any]) -> dict[str, Any]:
    names = ("model_version", "status", "family", "calibration", "value_family", "validation", "as_of_date",
             "known_as_of", "row_count", "churned_count", "training_sha256")  # fmt: skip
    return {name: details[name] for name in names}


def _measured_rows(settings: Settings, model_version: str) -> object:
    with connect(settings, Role.TRAINER) as trainer:
        return trainer.execute(_MEASURED_ROWS, {"version": model_version}).fetchone()


def _metrics(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Measured]:
    def number(metrics: Mapping[str, Any], name: str) -> float | None:
        value = metrics.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    measured = []
    for name in dict.fromkeys([*one, *other]):
        a, b = number(one, name), number(other, name)
        if name.endswith(_BOUNDS) or (a is None and b is None):
            continue
        low, high = _BOUNDS
        measured.append(
            Measured(
                name,
                a, number(one, name + low), number(one, name + high),
                b, number(other, name + low), number(other, name + high),
                None if a is None or b is None else b - a,
            )
        )  # fmt: skip
    return measured


def _gates(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[JudgedGate]:
    a, b = ({(row["gate"], row["subject"]): row for row in rows} for rows in (one, other))
    nothing: dict[str, Any] = {"observed": None, "verdict": None}
    pairs = [(key, a.get(key, nothing), b.get(key, nothing)) for key in sorted(a.keys() | b.keys())]
    return [
        JudgedGate(*key, mine["observed"], mine["verdict"], theirs["observed"], theirs["verdict"])
        for key, mine, theirs in pairs
    ]
