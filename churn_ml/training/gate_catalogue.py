"""Every gate of a model: what it looks at, where its limits are and where they come from."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from churn_ml.models.registration import GateResult

Severity = Literal["block", "warn"]

CALIBRATION_LOW, CALIBRATION_HIGH = 0.9, 1.1
LEAST_GAIN_NATS = 1e-6
LEAK_AUC = 0.9
STABLE_AUC_DEVIATION = 0.03
STABLE_LOSS_DEVIATION = 0.05
FOUR_FIFTHS = 0.8
GOLDEN_TOLERANCE = 1e-9


@dataclass(frozen=True)
class GateDescription:
    """One gate in words; `source` is where its measure or its limit comes from."""

    gate: str
    what: str
    threshold: str
    severity: Severity
    source: str


_PAIRED = "paired, customers resampled"
_DESCRIPTIONS = (
    GateDescription(
        "too_little_data",
        "Labelled rows, customers of each outcome, and as-of dates that a dated model learns from.",
        "at least 300 rows, 50 of each outcome, and the dates that the dataset declares",
        "block",
        "at least 10 events per parameter: Peduzzi et al. 1996",
    ),
    GateDescription(
        "calibration_overall",
        "Churned customers over expected ones. Money is a sum of probabilities and is off by as much.",
        f"{CALIBRATION_LOW} to {CALIBRATION_HIGH}; forward in time widened by two standard errors",
        "block",
        "calibration in the large: Cox 1958; Van Calster et al. 2019",
    ),
    GateDescription(
        "calibration_segment",
        "The same in every segment that is large enough for a tenth to be two standard errors.",
        f"{CALIBRATION_LOW} to {CALIBRATION_HIGH}, widened by two standard errors",
        "block",
        "calibration by subgroup: Hebert-Johnson et al. 2018",
    ),
    GateDescription(
        "log_loss",
        f"Log loss less that of the constant churn rate, in nats ({_PAIRED}).",
        "its 90 % interval below 0",
        "block",
        "Good 1952",
    ),
    GateDescription(
        "log_loss_against_champion",
        f"Log loss less the champion's on the same rows, in nats ({_PAIRED}).",
        "not significantly above 0: its 90 % interval reaches 0",
        "block",
        "Davison and Hinkley 1997, section 3.8",
    ),
    GateDescription(
        "roc_auc_against_champion",
        "ROC-AUC less the champion's on the same rows.",
        "not significantly below 0: its 90 % interval reaches 0",
        "block",
        "DeLong et al. 1988; customers resampled where they have several rows",
    ),
    GateDescription(
        "profit_against_champion",
        f"Profit per customer of the model's decisions less the champion's ({_PAIRED}).",
        "not significantly below 0: its 90 % interval reaches 0",
        "block",
        "Verbraken et al. 2013",
    ),
    GateDescription(
        "profit",
        "Profit per customer of the model's decisions less that of treating nobody or, if better, everybody.",
        "at least 0, less two standard errors",
        "block",
        "Neslin et al. 2006",
    ),
    GateDescription(
        "leakage_column",
        "ROC-AUC of one column alone, in its better direction.",
        f"at most {LEAK_AUC}",
        "block",
        "a column that nearly tells the outcome was written after it: Kaufman et al. 2012",
    ),
    GateDescription(
        "leakage_shuffled",
        "ROC-AUC that a quick model reaches on shuffled labels.",
        "0.5 within 3.3 standard errors: an honest training fails once in a thousand",
        "block",
        "permutation test: Ojala and Garriga 2010",
    ),
    GateDescription(
        "stability",
        "Standard deviation between folds of ROC-AUC, and of log loss over that of the fold's churn rate.",
        f"{STABLE_AUC_DEVIATION} and {STABLE_LOSS_DEVIATION} beyond what chance gives at 95 %",
        "block",
        "limits of this project, three times the deviations of the reference data",
    ),
    GateDescription(
        "fairness_calibration",
        "Churned over expected customers in each group of a sensitive attribute.",
        f"{CALIBRATION_LOW} to {CALIBRATION_HIGH}, widened by two standard errors",
        "warn",
        "calibration within groups: Kleinberg et al. 2017",
    ),
    GateDescription(
        "fairness_selection",
        "Share of a group that is acted on over that of the group most often acted on.",
        f"at least {FOUR_FIFTHS}",
        "warn",
        "four-fifths rule: 29 CFR 1607.4 D",
    ),
    GateDescription(
        "golden_rows",
        "Greatest difference between the stored artifact's predictions of the golden rows and the model's.",
        f"at most {GOLDEN_TOLERANCE:.0e}",
        "block",
        "limit of this project",
    ),
)
GATES = MappingProxyType({description.gate: description for description in _DESCRIPTIONS})


def gate_result(
    gate: str,
    observed: float,
    low: float | None = None,
    high: float | None = None,
    *,
    subject: str = "",
    interval: tuple[float, float] | None = None,
    detail: str | None = None,
) -> GateResult:
    """Return the result of a gate of `GATES`, which gives its severity; an interval of NaN is none."""
    ends = (None, None) if interval is None or not np.isfinite(interval).all() else interval
    numbers = [None if number is None else float(number) for number in (low, high, *ends)]
    return GateResult(
        gate,
        float(observed),
        numbers[0],
        numbers[1],
        subject,
        GATES[gate].severity,
        numbers[2],
        numbers[3],
        detail,
    )


def not_applicable(gate: str, detail: str, *, subject: str = "") -> GateResult:
    """Return that a gate of `GATES` had nothing to look at, and why."""
    return GateResult(gate, None, None, None, subject, GATES[gate].severity, detail=detail)


def is_blocking(result: GateResult) -> bool:
    """Return whether a gate failed that keeps the model from being selected."""
    return result.severity == "block" and result.verdict == "fail"
