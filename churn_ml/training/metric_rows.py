"""Rows prepared once, so that their metrics under many weightings are cheap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logit  # type: ignore[import-untyped]
from scipy.stats import rankdata  # type: ignore[import-untyped]

from churn_ml.errors import TrainingError
from churn_ml.training.profit import (
    BoolArray,
    DecisionParameters,
    FloatArray,
    TreatmentProfits,
    acted_on,
    expected_maximum_profit,
    treatment_profits,
)
from churn_ml.training.ranking import RankedRows, Ranking
from churn_ml.training.recalibration import fit_intercept, fit_recalibration
from churn_ml.training.statistics import CustomerBootstrap

ECE_BINS = 10
LEAST_PROBABILITY = 1e-6


def row_losses(churned: BoolArray, probabilities: FloatArray) -> FloatArray:
    """Return ``-log p(outcome)`` of each row in nats; the mean over repeats where (repeats, n) is given."""
    least = np.finfo(np.float64).eps
    losses: FloatArray = -np.log(np.clip(np.where(churned, probabilities, 1 - probabilities), least, 1.0))
    return losses if losses.ndim == 1 else losses.mean(axis=0)


@dataclass(frozen=True)
class MetricRows:
    """Rows of one or several repeats of a validation.

    Most metrics are functions of sums of `columns`, so their values over resamples are one matrix
    product; those of the order of the rows are taken from rows sorted once.
    """

    columns: FloatArray
    names: tuple[str, ...]
    recalibrations: list[tuple[float, float]]
    ranked: list[RankedRows]

    @classmethod
    def of(
        cls,
        churned: BoolArray,
        probabilities: FloatArray,
        monthly_values: FloatArray,
        decision: DecisionParameters | None,
    ) -> "MetricRows":
        """Prepare rows; `probabilities` has the shape (repeats, n)."""
        _check(churned, probabilities, monthly_values)
        profits = treatment_profits(monthly_values, decision)
        columns: list[dict[str, FloatArray]] = []
        recalibrations = []
        for repeat in probabilities:
            recalibration, derivatives = _recalibration_columns(churned, repeat)
            recalibrations.append(recalibration)
            acted = acted_on(repeat, monthly_values, decision)
            columns.append(
                _accuracy_columns(churned, repeat, monthly_values)
                | _decision_columns(churned, acted, profits)
                | derivatives
                | _bin_columns(churned, repeat)
            )
        names = tuple(columns[0])
        return cls(
            np.stack([repeat[name] for repeat in columns for name in names], axis=1),
            names,
            recalibrations,
            [RankedRows(churned, repeat) for repeat in probabilities],
        )

    def point(self) -> dict[str, FloatArray]:
        """Return the metrics of the rows as they are, (1,) each: the mean over repeats."""
        ranks = _stacked([self._rank_metrics(None)])
        return self._sum_metrics(self.columns.sum(axis=0, keepdims=True)) | ranks

    def resampled(self, bootstrap: CustomerBootstrap) -> dict[str, FloatArray]:
        """Return the metrics in each resample, (resamples,) each."""
        ranks = _stacked([self._rank_metrics(weights) for weights in bootstrap.row_weights()])
        return self._sum_metrics(bootstrap.sums(self.columns)) | ranks

    def _sum_metrics(self, sums: FloatArray) -> dict[str, FloatArray]:
        by_repeat = sums.reshape(len(sums), len(self.ranked), len(self.names))
        repeats = []
        for repeat, recalibration in enumerate(self.recalibrations):
            named = {name: by_repeat[:, repeat, i] for i, name in enumerate(self.names)}
            repeats.append(_metrics_of_sums(named, recalibration))
        return {name: np.mean([repeat[name] for repeat in repeats], axis=0) for name in repeats[0]}

    def _rank_metrics(self, weights: FloatArray | None) -> dict[str, float]:
        repeats = [_metrics_of_ranking(ranked.counted(weights)) for ranked in self.ranked]
        return {name: float(np.mean([repeat[name] for repeat in repeats])) for name in repeats[0]}


def _accuracy_columns(churned: BoolArray, p: FloatArray, monthly_values: FloatArray) -> dict[str, FloatArray]:
    values = np.nan_to_num(monthly_values, nan=0.0)
    return {
        "rows": np.ones(len(p)),
        "churned": churned.astype(np.float64),
        "expected": p,
        "loss": row_losses(churned, p),
        "squared_error": (p - churned) ** 2,
        "churned_value": values * churned,
        "expected_value": values * p,
    }


def _decision_columns(
    churned: BoolArray, acted: BoolArray | None, profits: TreatmentProfits | None
) -> dict[str, FloatArray]:
    none = np.full(len(churned), np.nan)
    columns = {"acted": none, "acted_churned": none, "profit": none, "valued": none}
    if acted is not None:
        columns |= {"acted": acted.astype(np.float64), "acted_churned": (acted & churned).astype(np.float64)}
    if acted is not None and profits is not None:
        realised = profits.realised(churned, acted)
        known = ~np.isnan(realised)
        columns |= {"profit": np.where(known, realised, 0.0), "valued": known.astype(np.float64)}
    return columns


def _recalibration_columns(
    churned: BoolArray, p: FloatArray
) -> tuple[tuple[float, float], dict[str, FloatArray]]:
    """Return the slope and the intercept alone of all rows, and the derivatives of each row there."""
    log_odds = logit(np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
    both, alone = fit_recalibration(churned, log_odds), fit_intercept(churned, log_odds)
    columns = {
        "score_a": both.residuals,
        "score_b": both.residuals * log_odds,
        "information_aa": both.variances,
        "information_ab": both.variances * log_odds,
        "information_bb": both.variances * log_odds**2,
        "score_alone": alone.residuals,
        "information_alone": alone.variances,
    }
    return (both.slope, alone.intercept), columns


def _bin_columns(churned: BoolArray, p: FloatArray) -> dict[str, FloatArray]:
    bins = np.floor(ECE_BINS * (rankdata(p) - 0.5) / len(p)).astype(int)
    return {f"bin_{one}": np.where(bins == one, p - churned, 0.0) for one in range(ECE_BINS)}


def _metrics_of_sums(s: dict[str, FloatArray], fitted: tuple[float, float]) -> dict[str, FloatArray]:
    slope, alone = fitted
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = s["information_aa"] * s["information_bb"] - s["information_ab"] ** 2
        step = (s["information_aa"] * s["score_b"] - s["information_ab"] * s["score_a"]) / determinant
        return {
            "log_loss": s["loss"] / s["rows"],
            "brier": s["squared_error"] / s["rows"],
            "precision": s["acted_churned"] / s["acted"],
            "recall": s["acted_churned"] / s["churned"],
            "f1": 2 * s["acted_churned"] / (s["acted"] + s["churned"]),
            "ece": np.sum([abs(s[f"bin_{one}"]) for one in range(ECE_BINS)], axis=0) / s["rows"],
            "calibration_slope": slope + step,
            "calibration_intercept": alone + s["score_alone"] / s["information_alone"],
            "observed_expected_ratio": s["churned"] / s["expected"],
            "observed_expected_money_ratio": s["churned_value"] / s["expected_value"],
            "expected_profit_amount": s["profit"] / s["valued"],
        }


def _metrics_of_ranking(ranking: Ranking) -> dict[str, float]:
    return {
        "roc_auc": ranking.roc_auc(),
        "pr_auc": ranking.average_precision(),
        "top_decile_lift": ranking.top_lift(),
        "empc": expected_maximum_profit(ranking.churned, ranking.stayed),
    }


def _stacked(samples: Sequence[dict[str, float]]) -> dict[str, FloatArray]:
    return {name: np.array([sample[name] for sample in samples]) for name in samples[0]}


def _check(churned: BoolArray, probabilities: FloatArray, monthly_values: FloatArray) -> None:
    count = len(churned)
    if probabilities.ndim != 2 or probabilities.shape[1] != count or len(monthly_values) != count:
        raise TrainingError(
            f"Expected probabilities and monthly values of {count} rows, found shapes {probabilities.shape} "
            f"and {monthly_values.shape}. Give one per labelled row."
        )
    outside = int((~((probabilities >= 0) & (probabilities <= 1))).sum())
    if outside:
        raise TrainingError(
            f"Expected probabilities within 0 and 1, found {outside} others or none at all among "
            f"{probabilities.size}. Evaluate only rows that were validated on, after the calibration."
        )
    if churned.all() or not churned.any():
        raise TrainingError(
            f"Expected rows that churned and rows that stayed, found {int(churned.sum())} churned of "
            f"{count}. Take a longer span of time or larger folds."
        )
