"""Metrics and gates of one model, or of two, as tables for people."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from churn_ml.cli.output import print_table

if TYPE_CHECKING:
    from churn_ml.models.comparison import Comparison, Measured


def print_model(metrics: Mapping[str, Any], gates: Sequence[Mapping[str, Any]]) -> None:
    """Print one model's metrics with their 90 % intervals, and its gates, failed ones first."""
    ends = ("", "_low", "_high", "_deviation")
    rows = [(name, *(metrics.get(name + end) for end in ends)) for name in _in_order(metrics)]
    columns = ["metric", "value", "low", "high", "deviation of folds"]
    print_table("Metrics (low to high: 90 % interval)", columns, rows)
    order = ("fail", "pass", "not_applicable")
    judged = [
        (
            gate["verdict"].replace("_", " "), gate["gate"], gate["subject"] or None, gate["severity"],
            gate["observed"], _span(gate["interval_low"], gate["interval_high"]),
            _span(gate["threshold_low"], gate["threshold_high"]), gate["detail"],
        )
        for gate in sorted(gates, key=lambda gate: order.index(gate["verdict"]))
    ]  # fmt: skip
    names = ["verdict", "gate", "subject", "severity", "observed", "interval", "limits", "detail"]
    print_table("Gates", names, judged)


def print_comparison(comparison: "Comparison") -> None:
    """Print two models beside each other."""
    about = [(name, str(comparison.first[name]), str(comparison.second[name])) for name in comparison.first]
    print_table("Models", ["", "first", "second"], about)
    measured = {row.metric: row for row in comparison.metrics}
    rows = [_compared(measured[name]) for name in _in_order(measured)]
    columns = ["metric", "first", "interval", "second", "interval", "difference"]
    print_table("Metrics (difference: second less first)", columns, rows)
    print_dicts("Gates", [vars(row) for row in comparison.gates])
    same = comparison.is_measured_on_same_rows
    print(f"Measured on {'the same rows' if same else 'other rows: part of a difference may be theirs'}.")


def print_dicts(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of the same names, or nothing where there are none."""
    if rows:
        columns = [name.replace("_", " ") for name in rows[0]]
        print_table(title, columns, [tuple(row.values()) for row in rows])


def _compared(row: "Measured") -> tuple[object, ...]:
    first, second = _span(row.first_low, row.first_high), _span(row.second_low, row.second_high)
    return row.metric, row.first, first, row.second, second, row.difference


def _in_order(metrics: Mapping[str, Any]) -> list[str]:
    """Return the names of the metrics, the known ones first; bounds and deviations are beside theirs."""
    from churn_ml.training.metrics import METRICS

    beside = ("_low", "_high", "_deviation")
    others = [
        name
        for name, value in metrics.items()
        if name not in METRICS and not name.endswith(beside) and not isinstance(value, Mapping | list)
    ]
    return [name for name in METRICS if name in metrics] + sorted(others)


def _span(low: float | None, high: float | None) -> str | None:
    if low is None and high is None:
        return None
    if low is None or high is None:
        return f"at least {low:.4g}" if high is None else f"at most {high:.4g}"
    return f"{low:.4g} to {high:.4g}"
