"""The words and number formats of a model card."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from churn_ml.models.registration import GateResult
from churn_ml.training.gate_catalogue import GATES

NOTHING = "\N{EN DASH}"
_COUNTS_FROM, _SMALLEST_DECIMAL = 10, 1e-4

# Name, unit or kind, and what it says to somebody who did not build the model.
_METRICS = (
    ("roc_auc", "ROC-AUC", "Share of pairs of a leaver and a stayer in the right order; 0.5 is chance."),
    ("log_loss", "Log loss", "Cost of being sure and wrong, in nats; models are chosen by it. Low is good."),
    ("brier", "Brier score", "Mean squared error of the probability. Low is good."),
    ("pr_auc", "PR-AUC", "Precision averaged over recall; chance is the churn rate."),
    ("ece", "ECE", "Distance of predicted from churned share in ten bins; chance gives more than 0."),
    ("calibration_slope", "Calibration slope", "1 is right; below 1 the probabilities are too extreme."),
    ("calibration_intercept", "Calibration intercept", "0 is right; above 0 more leave than expected."),
    ("observed_expected_ratio", "Observed / expected customers", "1 is right; below 1 the model overstates."),
    ("observed_expected_money_ratio", "Observed / expected money", "The same, weighed by monthly value."),
    ("top_decile_lift", "Top-decile lift", "Churn rate of the highest tenth over that of all."),
    ("precision", "Precision when acting", "Share of customers acted on who would leave."),
    ("recall", "Recall when acting", "Share of leavers who are acted on."),
    ("f1", "F1 when acting", "Harmonic mean of the two."),
    ("expected_profit_amount", "Profit of acting", "What its decisions would have earned per customer."),
    ("empc", "EMPC", "Expected maximum profit per customer by Verbraken et al. 2013."),
)  # fmt: skip


@dataclass(frozen=True)
class MetricRow:
    """A metric in words with its figures."""

    name: str
    label: str
    meaning: str
    value: float | None
    interval_low: float | None
    interval_high: float | None
    deviation: float | None


@dataclass(frozen=True)
class GateGroup:
    """All results of one gate, and what it looks at."""

    gate: str
    what: str
    threshold: str
    severity: str
    source: str
    results: tuple[GateResult, ...]

    @property
    def verdict(self) -> str:
        """``blocked`` or ``warned`` if a result failed, ``passed``, or ``nothing`` if none applied."""
        if any(result.verdict == "fail" for result in self.results):
            return "blocked" if self.severity == "block" else "warned"
        return "passed" if any(result.verdict == "pass" for result in self.results) else "nothing"

    def count(self, verdict: str) -> int:
        """Return how many results have `verdict`."""
        return sum(result.verdict == verdict for result in self.results)


def gate_groups(gates: Sequence[GateResult]) -> list[GateGroup]:
    """Return the gates with their descriptions, what failed first, else in the catalogue's order."""
    names = dict.fromkeys([*(name for name in GATES), *(gate.gate for gate in gates)])
    groups = [
        _gate_group(name, found)
        for name in names
        if (found := tuple(gate for gate in gates if gate.gate == name))
    ]
    order = ("blocked", "warned", "passed", "nothing")
    return sorted(groups, key=lambda group: order.index(group.verdict))


def _gate_group(name: str, found: tuple[GateResult, ...]) -> GateGroup:
    described = GATES.get(name)
    severity = "block" if any(gate.severity == "block" for gate in found) else "warn"
    if described is None:
        return GateGroup(name, "", "", severity, "", found)
    return GateGroup(name, described.what, described.threshold, severity, described.source, found)


def verdict_of(gates: Sequence[GateResult]) -> tuple[str, str]:
    """Return the card's verdict as (``blocked``, ``warned`` or ``passed``, a sentence)."""
    failed = [gate for gate in gates if gate.verdict == "fail"]
    blocking = [gate for gate in failed if gate.severity == "block"]
    judged = sum(gate.verdict != "not_applicable" for gate in gates)
    if blocking:
        return "blocked", f"Failed {_names(blocking)}: it may not be deployed without a recorded override"
    if failed:
        return "warned", f"Every blocking gate passed; {_names(failed)} should be looked at"
    if not judged:
        return "blocked", "No gate has judged it"
    return "passed", f"All {judged} results of {len({gate.gate for gate in gates})} gates that applied passed"


def _names(gates: Sequence[GateResult]) -> str:
    return ", ".join(dict.fromkeys(gate.gate for gate in gates))


def metric_rows(metrics: Mapping[str, Any], currency: str | None) -> list[MetricRow]:
    """Return the metrics that are known by name, in the order in which they are read."""
    return [
        MetricRow(
            name,
            f"{label}, {currency}" if name == "expected_profit_amount" and currency else label,
            meaning,
            *(metrics.get(f"{name}{ending}") for ending in ("", "_low", "_high", "_deviation")),
        )
        for name, label, meaning in _METRICS
        if name in metrics
    ]


def limits_of(
    *,
    validation: str,
    unread: Sequence[str],
    read: Sequence[str],
    unknown_value_count: int,
    candidate_count: int,
    has_money: bool,
) -> list[str]:
    """Return what a reader must not conclude, as sentences that follow from the training."""
    return list(_limits(validation, unread, read, unknown_value_count, candidate_count, has_money))


def _limits(
    validation: str,
    unread: Sequence[str],
    read: Sequence[str],
    unknown_value_count: int,
    candidate_count: int,
    has_money: bool,
) -> Iterator[str]:
    if validation == "cross_sectional":
        yield (
            "Validated on other customers of the same snapshot, not on a later date: nothing here shows how "
            "the model ages. Compare its scores with what happens once the window has closed."
        )
    else:
        yield (
            "Validated on later dates than it learned from. A change of prices, plans or competition after "
            "the last date is in none of these figures."
        )
    yield (
        "Contributions and reasons say what moves the score, not what would change the customer's mind: the "
        "effect of an offer is measured with a holdout, not read from this card."
    )
    if candidate_count > 1:
        yield (
            f"It was chosen among {candidate_count} candidates on the rows that these figures are of: "
            "they flatter it slightly."
        )
    if has_money:
        yield (
            "Profit assumes the declared acceptance, margin and costs for everyone; it is no more certain "
            "than they are."
        )
    if unknown_value_count:
        yield (
            f"The monthly value of {unknown_value_count:,} validated rows is not known: they count in no "
            "money figure and are not acted on by profit."
        )
    if unread:
        yield f"It does not read {', '.join(unread)}; other columns may stand in for them, see Fairness."
    if read:
        yield f"It reads {', '.join(read)}, which the dataset's declaration lets in with a reason."


def _number(value: float | None, digits: int = 3) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _count(value: int) -> str:
    return f"{value:,}"


def _percent(value: float | None, digits: int = 1) -> str:
    return NOTHING if value is None else f"{value:.{digits}%}"


def _interval(low: float | None, high: float | None = None, digits: int = 3) -> str:
    return "" if low is None or high is None else f"{_number(low, digits)} to {_number(high, digits)}"


def _limits_text(gate: GateResult) -> str:
    low, high = gate.threshold_low, gate.threshold_high
    if low is not None and high is not None:
        return f"{_short(low)} to {_short(high)}"
    if low is not None:
        return f"at least {_short(low)}"
    return NOTHING if high is None else f"at most {_short(high)}"


def _short(value: float) -> str:
    """Return a limit: whole where it is whole, else with four digits that count."""
    text = f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _figure(value: float | None) -> str:
    """Return what was observed: counts whole, four decimals, and tiny values by their power of ten."""
    if value is None:
        return NOTHING
    if value == 0 or (abs(value) >= _COUNTS_FROM and float(value).is_integer()):
        return _short(value)
    if abs(value) < _SMALLEST_DECIMAL:
        return f"{value:.1e}".replace("-", "\N{MINUS SIGN}")
    return _number(value, 4 if abs(value) < _COUNTS_FROM else 2)


def _bounds(result: GateResult | MetricRow) -> str:
    if result.interval_low is None or result.interval_high is None:
        return ""
    return f"{_figure(result.interval_low)} to {_figure(result.interval_high)}"


def _told(group: GateGroup) -> str:
    """Return a gate's results in a line: the figure of a single one, else how many passed."""
    [first, *others] = group.results
    if others:
        words = (("pass", "passed"), ("fail", "failed"), ("not_applicable", "not applicable"))
        return ", ".join(f"{group.count(verdict)} {word}" for verdict, word in words if group.count(verdict))
    if first.observed is None:
        return first.detail or "not applicable"
    return f"{_figure(first.observed)}, limit {_limits_text(first)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


FORMATS = {
    "number": _number,
    "count": _count,
    "percent": _percent,
    "interval": _interval,
    "limits": _limits_text,
    "short": _short,
    "figure": _figure,
    "told": _told,
    "bounds": _bounds,
    "words": _words,
}
"""What the template calls to write a figure."""
