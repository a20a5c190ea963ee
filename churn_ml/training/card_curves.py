"""The numbers behind the plots and tables of a model card, each a few points of plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve, roc_curve

from churn_ml.training.group_gates import groups_of
from churn_ml.training.profit import (
    BoolArray,
    DecisionParameters,
    FloatArray,
    TreatmentProfits,
    acted_on,
    treatment_profits,
)
from churn_ml.training.statistics import STANDARD_ERRORS_OF_INTERVAL

BIN_COUNT = 10
POINT_COUNT = 200


@dataclass(frozen=True)
class Bin:
    """A tenth of the rows by probability: what was predicted, what happened, its 90 % interval."""

    row_count: int
    mean_probability: float
    churned_share: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A line of at most `POINT_COUNT` points."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Decile:
    """A tenth of the rows, highest probability first; the gain is the share of all churned so far."""

    row_count: int
    churned_count: int
    lift: float
    cumulative_gain: float


@dataclass(frozen=True)
class ProfitCurve:
    """Profit per customer of known value when treating the best by expected profit, share by share.

    `realised` is what happened, `expected` what the model said; both in `currency` per customer. The
    acting point is what the declared decision treats: everyone of positive expected profit.
    """

    realised: Curve
    expected: Curve
    acting_share: float
    acting_amount: float
    currency: str


@dataclass(frozen=True)
class Distribution:
    """Rows between each two `edges` of probability, by outcome."""

    edges: tuple[float, ...]
    stayed: tuple[int, ...]
    churned: tuple[int, ...]


@dataclass(frozen=True)
class DateRows:
    """Rows of one as-of date: how many, how many churned, and what was expected."""

    as_of_date: str
    row_count: int
    churned_count: int
    mean_probability: float

    @property
    def churned_share(self) -> float:
        """Share of the rows that churned."""
        return self.churned_count / self.row_count


@dataclass(frozen=True)
class FairnessRow:
    """One group of a sensitive attribute, such as ``gender=female``; the shares are of the group.

    `acted_on_share` is None where nothing was decided about acting.
    """

    subject: str
    row_count: int
    churned_share: float
    mean_probability: float
    observed_expected_ratio: float
    acted_on_share: float | None


def reliability_bins(churned: BoolArray, probabilities: FloatArray) -> tuple[Bin, ...]:
    """Return tenths of equal size by probability, lowest first, with Wilson's interval (Wilson 1927)."""
    order = np.argsort(probabilities, kind="stable")
    return tuple(
        _bin(churned[rows], probabilities[rows]) for rows in np.array_split(order, BIN_COUNT) if len(rows)
    )


def _bin(churned: BoolArray, probabilities: FloatArray) -> Bin:
    count, share, z = len(churned), float(churned.mean()), STANDARD_ERRORS_OF_INTERVAL
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # At 0 and 1 the end is the share itself, but for the last digit.
    low, high = min(float(middle - reach), share), max(float(middle + reach), share)
    return Bin(count, float(probabilities.mean()), share, low, high)


def distribution(churned: BoolArray, probabilities: FloatArray) -> Distribution:
    """Return how many rows lie in each of 25 equal spans up to the highest probability."""
    edges = np.linspace(0, max(float(probabilities.max()), 1e-6), 26)
    stayed, _ = np.histogram(probabilities[~churned], edges)
    left, _ = np.histogram(probabilities[churned], edges)
    return Distribution(tuple(edges.tolist()), tuple(stayed.tolist()), tuple(left.tolist()))


def roc_points(churned: BoolArray, probabilities: FloatArray) -> Curve:
    """Return the share of churned found (y) over the share of stayers disturbed (x)."""
    disturbed, found, _ = roc_curve(churned, probabilities)
    return _thinned(disturbed, found)


def precision_recall_points(churned: BoolArray, probabilities: FloatArray) -> Curve:
    """Return precision (y) over recall (x), from the highest probability on."""
    precision, recall, _ = precision_recall_curve(churned, probabilities)
    # The last point is a convention (recall 0, precision 1) and no threshold of the model.
    return _thinned(recall[-2::-1], precision[-2::-1])


def deciles(churned: BoolArray, probabilities: FloatArray) -> tuple[Decile, ...]:
    """Return tenths of equal size by probability, highest first."""
    order = np.argsort(-probabilities, kind="stable")
    total, found = int(churned.sum()), 0
    rows: list[Decile] = []
    for members in np.array_split(order, BIN_COUNT):
        if len(members):
            count = int(churned[members].sum())
            found += count
            rows.append(Decile(len(members), count, count / len(members) / churned.mean(), found / total))
    return tuple(rows)


def profit_curve(
    churned: BoolArray,
    probabilities: FloatArray,
    monthly_values: FloatArray,
    decision: DecisionParameters | None,
) -> ProfitCurve | None:
    """Return profit over the share of customers treated, or None where no profit can be told."""
    profits = treatment_profits(monthly_values, decision)
    acted = acted_on(probabilities, monthly_values, decision)
    if profits is None or acted is None or decision is None:
        return None
    known = ~np.isnan(monthly_values)
    profits = TreatmentProfits(profits.if_churning[known], profits.if_staying[known])
    expected = profits.expected(probabilities[known])
    earned = np.where(churned[known], profits.if_churning, profits.if_staying)
    order, count = np.argsort(-expected, kind="stable"), int(known.sum())
    shares = np.arange(count + 1) / count
    return ProfitCurve(
        realised=_thinned(shares, np.concatenate([[0.0], np.cumsum(earned[order]) / count])),
        expected=_thinned(shares, np.concatenate([[0.0], np.cumsum(expected[order]) / count])),
        acting_share=float(acted[known].mean()),
        acting_amount=float(earned[acted[known]].sum() / count),
        currency=decision.currency or "",
    )


def rows_by_date(
    churned: BoolArray, probabilities: FloatArray, as_of_dates: npt.NDArray[np.datetime64]
) -> tuple[DateRows, ...]:
    """Return counts by as-of date, oldest first."""
    days, codes = np.unique(as_of_dates.astype("datetime64[D]"), return_inverse=True)
    counts = np.bincount(codes)
    churned_counts = np.bincount(codes, weights=churned)
    means = np.bincount(codes, weights=probabilities) / counts
    return tuple(
        DateRows(str(day), int(count), int(churned_count), float(mean))
        for day, count, churned_count, mean in zip(days, counts, churned_counts, means, strict=True)
    )


def fairness_rows(
    churned: BoolArray,
    probabilities: FloatArray,
    acted: BoolArray | None,
    sensitive: Mapping[str, npt.NDArray[Any]],
) -> tuple[FairnessRow, ...]:
    """Return each group of each attribute, divided as the fairness gates divide them."""
    return tuple(
        FairnessRow(
            subject,
            int(rows.sum()),
            float(churned[rows].mean()),
            float(probabilities[rows].mean()),
            float(churned[rows].sum() / probabilities[rows].sum()),
            None if acted is None else float(acted[rows].mean()),
        )
        for attribute, labels in sensitive.items()
        for subject, rows in groups_of(attribute, labels)
    )


def _thinned(x: FloatArray, y: FloatArray) -> Curve:
    """Keep the ends and evenly spaced points between them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINT_COUNT)).round().astype(int))
    return Curve(tuple(x[kept].tolist()), tuple(y[kept].tolist()))
