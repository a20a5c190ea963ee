"""The second model: how many months a customer who does not leave now is expected to stay.

Under truncated_clv, value at risk is the monthly value times the months that leaving would cost, and the
expected loss is value at risk times the probability of leaving within the label window. Lost are the
months that the customer would have stayed otherwise, counted from the opening of the window (as-of date
and gap) and cut at the horizon; so the model learns from customers who did not leave within the window.
Learning from those who did as well would count their leaving twice: in the probability, and again
in the months.

Most customers have not left yet at the cut-off: their months are censored. The model is a regression on
pseudo-observations of the restricted mean (`survival`), which stand in for months that nobody knows yet.
Censoring comes from the calendar alone, since everyone of one as-of date is followed equally long; the
estimate supposes that customers of recent dates stay as long as those of earlier dates with the same
features.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.declarations import Dataset
from churn_ml.errors import DeclarationError, TrainingError
from churn_ml.features.contract import FeatureContract
from churn_ml.models.value_models import VALUE_CANDIDATES, Constant, ValueCandidate
from churn_ml.settings import Settings
from churn_ml.training.retention_data import CUSTOMER_GROUPS, RetentionPanel, read_retention_panel
from churn_ml.training.statistics import mean_interval
from churn_ml.training.survival import FloatArray, pseudo_observations, restricted_mean
from churn_ml.warehouse.runs import Run

log = logging.getLogger(__name__)

LEAST_CUSTOMERS = 200
LEAST_ENDED = 50
LEAST_FOLLOWED = 50
# Survival is carried forward where nobody is followed: over d months at a hazard h that adds about
# h * d * d / 2 months, one hundredth of a month at d = 1 and 2 % a month.
MOST_CARRIED_MONTHS = 1.0

_DECILES = 10


@dataclass(frozen=True)
class ValueModel:
    """A fitted value model; `pipeline` predicts months within ``[0, horizon_months]``.

    `metrics` is what ``ml.model_versions.metrics`` keeps under ``value_model``.
    """

    family: str
    pipeline: Pipeline
    horizon_months: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class ValueTrial:
    """One family: what it expects of rows whose customers it has not seen, and the seconds it took."""

    candidate: ValueCandidate
    months: FloatArray
    squared_errors: FloatArray
    seconds: float

    @property
    def rmse(self) -> float:
        """Root of the mean squared error on pseudo-observations, in months."""
        return float(np.sqrt(self.squared_errors.mean()))


def train_value_model(settings: Settings, dataset: Dataset, run: Run, seed: int) -> ValueModel | None:
    """Train the model of expected months retained on the nights that `run` has labelled.

    The families compete on squared error out of sample, in folds of customers: no customer is in
    the fit that predicts them. A split forward in time, as for churn, is not to be had: what is learned
    from must have been followed for the whole horizon before the date that is validated on, which
    takes a panel twice as long as the horizon. Drift between dates is therefore not in the errors.

    Returns
    -------
    ValueModel or None
        None where there is nothing to learn it from and the dataset declares another value definition;
        the log says why.

    Raises
    ------
    DeclarationError
        If a snapshot dataset declares truncated_clv.
    TrainingError
        If truncated_clv is declared and there is too little to learn from; the message has the counts.
    """
    is_needed = dataset.value_definition == "truncated_clv"
    if dataset.kind == "snapshot":
        if is_needed:
            raise DeclarationError(
                f"Expected a value_definition other than truncated_clv for {dataset.dataset!r}: a snapshot "
                "dataset holds no times of leaving, from which months retained could be learned. Declare "
                "mrr_horizon, balance_margin, fixed_amount or none in "
                f"datasets/{dataset.dataset}.yml, or deliver the history as a dated dataset."
            )
        return None
    panel = read_retention_panel(settings, dataset, run, seed)
    lacking = describe_lacking(panel, run)
    if lacking and is_needed:
        raise TrainingError(
            f"{lacking} Land more history, let panel.most_dates of datasets/{dataset.dataset}.yml reach "
            "further back, shorten value_horizon_months, or declare value_definition mrr_horizon."
        )
    if lacking:
        log.info("no model of months retained: %s value_definition is %s", lacking, dataset.value_definition)
        return None
    return fit_value_model(panel, seed)


def describe_lacking(panel: RetentionPanel, run: Run) -> str | None:
    """Say with numbers what is missing for a value model, or return None."""
    everyone = np.ones(panel.row_count, bool)
    nearly = panel.horizon_months - MOST_CARRIED_MONTHS
    customers = panel.count_customers(everyone)
    ended = panel.count_customers(panel.has_ended)
    followed = panel.count_customers(panel.retained_months >= nearly)
    if customers >= LEAST_CUSTOMERS and ended >= LEAST_ENDED and followed >= LEAST_FOLLOWED:
        return None
    longest = panel.retained_months.max(initial=0.0)
    return (
        f"Expected at least {LEAST_CUSTOMERS} retained customers, {LEAST_ENDED} of whom left within "
        f"{panel.horizon_months} months and {LEAST_FOLLOWED} of whom were followed for {nearly:g}; found "
        f"{customers}, {ended} and {followed} in {panel.row_count} rows of {len(panel.dates)} dates, "
        f"followed for up to {longest:.1f} months, for {run.run_id} known as of "
        f"{run.known_as_of.isoformat()}."
    )


def fit_value_model(panel: RetentionPanel, seed: int) -> ValueModel:
    """Validate the families in folds of customers; refit the best on every row."""
    months = pseudo_observations(panel.retained_months, panel.is_censored, panel.horizon_months)
    trials = [_validate(candidate, panel, months, seed) for candidate in VALUE_CANDIDATES]
    best = min(trials, key=lambda trial: trial.rmse)
    everyone = np.arange(panel.row_count)
    return ValueModel(
        family=best.candidate.family,
        pipeline=_fit(best.candidate, panel, months, everyone, seed),
        horizon_months=panel.horizon_months,
        metrics=_describe_panel(panel) | _evaluate(best, trials, panel, months, seed),
    )


def _validate(candidate: ValueCandidate, panel: RetentionPanel, months: FloatArray, seed: int) -> ValueTrial:
    started = time.monotonic()
    predicted = np.empty(panel.row_count)
    for group in range(CUSTOMER_GROUPS):
        own = panel.customer_groups == group
        pipeline = _fit(candidate, panel, months, np.flatnonzero(~own), seed)
        if own.any():
            predicted[own] = _predict(pipeline, panel, np.flatnonzero(own))
    trial = ValueTrial(candidate, predicted, (months - predicted) ** 2, time.monotonic() - started)
    log.info("%s: %.3f months of error out of sample, %.1f s", candidate.family, trial.rmse, trial.seconds)
    return trial


def _fit(
    candidate: ValueCandidate,
    panel: RetentionPanel,
    months: FloatArray,
    rows: npt.NDArray[np.intp],
    seed: int,
) -> Pipeline:
    """Fit on the given rows in one native thread; a feature that no row knows is left out."""
    data = panel.frame.take(rows)
    known = data.notna().any()
    present = FeatureContract(tuple(column for column in panel.contract.columns if known[column.name]))
    with threadpool_limits(limits=1):
        return candidate.build(present, panel.horizon_months, seed).fit(data, months[rows])


def _predict(pipeline: Pipeline, panel: RetentionPanel, rows: npt.NDArray[np.intp]) -> FloatArray:
    with threadpool_limits(limits=1):
        predicted: FloatArray = pipeline.predict(panel.frame.take(rows))
    return predicted


def _describe_panel(panel: RetentionPanel) -> dict[str, Any]:
    ended = panel.has_ended
    longest = float(panel.retained_months.max())
    dates = panel.dates
    return {
        "horizon_months": panel.horizon_months,
        "first_date": dates[0].isoformat(),
        "last_date": dates[-1].isoformat(),
        "date_count": len(dates),
        "total_row_count": panel.total_row_count,
        "row_count": panel.row_count,
        "customer_count": panel.count_customers(np.ones(panel.row_count, bool)),
        "ended_count": int(ended.sum()),
        "ended_customer_count": panel.count_customers(ended),
        "censored_count": int((~ended & (panel.retained_months < panel.horizon_months)).sum()),
        "longest_followed_months": longest,
        "carried_months": max(0.0, panel.horizon_months - longest),
        "restricted_mean_months": restricted_mean(
            panel.retained_months, panel.is_censored, panel.horizon_months
        ),
    }


def _evaluate(
    best: ValueTrial, trials: Sequence[ValueTrial], panel: RetentionPanel, months: FloatArray, seed: int
) -> dict[str, Any]:
    """Return the metrics of the best family, all out of sample and in months, with 90 % intervals.

    ``rmse`` holds the noise of the pseudo-observations, which no model can predict:
    ``squared_error_gain`` against the constant is what a family explains of the months themselves.
    ``residual_months`` is the mean pseudo-observation less the mean prediction.
    """
    constant = next(trial for trial in trials if trial.candidate.family == Constant.family)

    def interval(name: str, values: FloatArray) -> dict[str, float]:
        mean, low, high = mean_interval(values, groups=panel.customers, seed=seed)
        return {name: mean, f"{name}_low": low, f"{name}_high": high}

    squared = interval("squared_error", best.squared_errors)
    return {
        "rmse": best.rmse,
        "rmse_low": float(np.sqrt(squared["squared_error_low"])),
        "rmse_high": float(np.sqrt(squared["squared_error_high"])),
        "rmse_constant": constant.rmse,
        **interval("squared_error_gain", constant.squared_errors - best.squared_errors),
        **interval("residual_months", months - best.months),
        "mean_predicted_months": float(best.months.mean()),
        "mean_pseudo_months": float(months.mean()),
        "deciles": _describe_deciles(best.months, months),
        "families": {
            trial.candidate.family: {
                "rmse": trial.rmse,
                "mean_predicted_months": float(trial.months.mean()),
                "seconds": round(trial.seconds, 3),
            }
            for trial in trials
        },
    }


def _describe_deciles(predicted: FloatArray, months: FloatArray) -> list[dict[str, float]]:
    """Return the mean prediction and mean pseudo-observation by tenths of the prediction, lowest first."""
    order = np.argsort(predicted, kind="stable")
    return [
        {
            "decile": number,
            "row_count": len(rows),
            "mean_predicted_months": float(predicted[rows].mean()),
            "mean_pseudo_months": float(months[rows].mean()),
        }
        for number, rows in enumerate(np.array_split(order, _DECILES), start=1)
    ]
