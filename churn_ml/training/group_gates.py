"""Gates by group: calibration in every large segment, and fairness by sensitive attribute."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from churn_ml.models.registration import GateResult
from churn_ml.training.gate_catalogue import (
    CALIBRATION_HIGH,
    CALIBRATION_LOW,
    FOUR_FIFTHS,
    gate_result,
    not_applicable,
)
from churn_ml.training.profit import BoolArray, DecisionParameters, FloatArray, acted_on
from churn_ml.training.statistics import CustomerBootstrap, Groups, percentile_interval

# A tenth off is then at least two standard errors off.
LARGE_SEGMENT_ERROR = 0.05
LEAST_GROUP_ROWS = 100
LEAST_GROUP_ACTED = 5.0
STANDARD_ERRORS = 2.0

_MOST_NUMBERS = 8
_NOT_KNOWN = "not known"


def segment_gates(
    churned: BoolArray,
    probabilities: FloatArray,
    segments: Mapping[str, npt.NDArray[Any]],
    *,
    groups: Groups = None,
    seed: int = 0,
) -> list[GateResult]:
    """Return whether churned customers are within a tenth of those expected in every large segment.

    Large means: the standard error of observed/expected under the model, ``sqrt(sum p (1 - p)) / sum p``,
    is at most 0.05, which takes about 400 expected churners. The limits are widened by two of
    them, since of many segments one misses a tenth by chance sooner than everyone does. Smaller ones
    are told as not applicable.

    Parameters
    ----------
    segments : mapping of name to array of shape (n,)
        What BI slices by, such as segment and region; the subject of a result is ``segment=fiber_optic``.
        Numbers of many values are cut at their quartiles.
    """
    return _calibration_by_group("calibration_segment", churned, probabilities, segments, groups, seed)


def fairness_gates(
    churned: BoolArray,
    probabilities: FloatArray,
    monthly_values: FloatArray,
    decision: DecisionParameters | None,
    attributes: Mapping[str, npt.NDArray[Any]],
    *,
    groups: Groups = None,
    seed: int = 0,
) -> list[GateResult]:
    """Return, for each group of each sensitive attribute, its calibration and how often it is acted on.

    Both can be had at once only where the groups' churn rates are equal (Kleinberg et al. 2017), so they
    warn. Selection is compared among groups of at least 100 rows of which 5 would be acted on at everyone's
    rate: the four-fifths rule leaves out differences of small numbers (29 CFR 1607.4 D).

    Parameters
    ----------
    attributes : mapping of name to array of shape (n,)
        As `segments` of `segment_gates`; the model need not read them.
    """
    results = _calibration_by_group("fairness_calibration", churned, probabilities, attributes, groups, seed)
    acted = acted_on(probabilities, monthly_values, decision)
    if acted is None:
        return [
            *results,
            *(
                not_applicable("fairness_selection", "nobody is acted on: no parameters", subject=name)
                for name in attributes
            ),
        ]
    for name, labels in attributes.items():
        results += _selection_gates(name, labels, acted, CustomerBootstrap(len(churned), groups, seed))
    return results


def _calibration_by_group(
    gate: str,
    churned: BoolArray,
    probabilities: FloatArray,
    attributes: Mapping[str, npt.NDArray[Any]],
    groups: Groups,
    seed: int,
) -> list[GateResult]:
    named = [
        (subject, rows) for name, labels in attributes.items() for subject, rows in groups_of(name, labels)
    ]
    if not named:
        return [not_applicable(gate, "no attribute to slice by")]
    columns = [column for _, rows in named for column in (rows * churned, rows * probabilities)]
    samples = CustomerBootstrap(len(churned), groups, seed).sums(np.stack(columns, axis=1))
    results = []
    for i, (subject, rows) in enumerate(named):
        own, expected = probabilities[rows], float(probabilities[rows].sum())
        observed, error = int(churned[rows].sum()), float(np.sqrt((own * (1 - own)).sum()) / expected)
        detail = f"{observed} churned, {expected:.1f} expected of {len(own)} rows"
        if error > LARGE_SEGMENT_ERROR:
            detail += f"; too few: one standard error is {error:.3f}"
            results.append(not_applicable(gate, detail, subject=subject))
            continue
        slack = STANDARD_ERRORS * error
        with np.errstate(invalid="ignore", divide="ignore"):
            interval = percentile_interval(samples[:, 2 * i] / samples[:, 2 * i + 1])
        limits = round(CALIBRATION_LOW - slack, 4), round(CALIBRATION_HIGH + slack, 4)
        results.append(
            gate_result(gate, observed / expected, *limits, subject=subject, interval=interval, detail=detail)
        )
    return results


def _selection_gates(
    name: str, labels: npt.NDArray[Any], acted: BoolArray, bootstrap: CustomerBootstrap
) -> list[GateResult]:
    named = list(groups_of(name, labels))
    expected = {subject: float(rows.sum() * acted.mean()) for subject, rows in named}
    large = {
        subject: float(acted[rows].mean())
        for subject, rows in named
        if rows.sum() >= LEAST_GROUP_ROWS and expected[subject] >= LEAST_GROUP_ACTED
    }
    reference = max(large, key=lambda subject: large[subject], default=None)
    if reference is None or not large[reference]:
        least = f"{LEAST_GROUP_ROWS} rows with {LEAST_GROUP_ACTED:g} expected"
        why = f"{acted.sum()} acted on: no group of {least}" if acted.any() else "nobody is acted on"
        return [not_applicable("fairness_selection", why, subject=name)]
    samples = bootstrap.sums(
        np.stack([column for _, rows in named for column in (rows * acted, rows)], axis=1).astype(np.float64)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = {subject: samples[:, 2 * i] / samples[:, 2 * i + 1] for i, (subject, _) in enumerate(named)}
        ratios = {subject: percentile_interval(rates[subject] / rates[reference]) for subject in large}
    results = [
        gate_result(
            "fairness_selection",
            rate / large[reference],
            FOUR_FIFTHS,
            subject=subject,
            interval=ratios[subject],
            detail=f"{rate:.4f} acted on, most in {reference}: {large[reference]:.4f}",
        )
        for subject, rate in large.items()
    ]
    return results + [
        not_applicable(
            "fairness_selection",
            f"{int(rows.sum())} rows, {expected[subject]:.1f} expected to be acted on: too few",
            subject=subject,
        )
        for subject, rows in named
        if subject not in large
    ]


def groups_of(name: str, labels: npt.NDArray[Any]) -> Iterator[tuple[str, BoolArray]]:
    """Yield the subject of each group and its rows, in the order of the labels."""
    values = pd.Series(labels).convert_dtypes()
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > _MOST_NUMBERS:
        bands = pd.qcut(values.astype("Float64"), 4, duplicates="drop")
        least = float(values.min())
        values = bands.cat.rename_categories(
            [f"{max(band.left, least):.15g} to {band.right:.15g}" for band in bands.cat.categories]
        )
    known = values.notna()
    for value in values[known].drop_duplicates().sort_values():
        yield f"{name}={value}", (known & (values == value)).to_numpy(bool)
    if not known.all():
        yield f"{name}={_NOT_KNOWN}", (~known).to_numpy(bool)
