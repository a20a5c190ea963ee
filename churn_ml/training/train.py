"""Train the candidates on one run's panel, select one by its out-of-fold log loss, register it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import TrainingError
from churn_ml.models.candidates import CANDIDATES, Candidate
from churn_ml.models.crossfit import CrossFittedModel, FloatArray
from churn_ml.models.registry import GateResult, NewModel, register, version_of_run
from churn_ml.settings import Settings
from churn_ml.training.evaluation import evaluate
from churn_ml.training.gates import calibration_gate
from churn_ml.training.panel import Panel, read_panel
from churn_ml.warehouse.runs import Run, close_run, read_run

log = logging.getLogger(__name__)

_WORKERS = 2


@dataclass(frozen=True)
class TrainingSummary:
    """What a training registered."""

    model_version: str
    family: str
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One candidate, cross-fitted: its fold pipelines and what they predict out of fold."""

    family: str
    pipelines: Sequence[Pipeline]
    probabilities: FloatArray
    metrics: dict[str, float]
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.verdict == "pass" for gate in self.gates)


def train_model(settings: Settings, run_id: str, *, seed: int, fold_count: int = 5) -> TrainingSummary:
    """Train, select and register a model on the features and labels of the run `run_id`.

    The same rows and seed give the same model. A retry of a run that has registered its model
    returns that one.

    Raises
    ------
    TrainingError
        If the dataset is dated, there is too little to learn from, or no candidate passes its gates.
    FeatureContractError
        If the features are not what models may read.
    """
    registered = version_of_run(settings, run_id)
    if registered is not None:
        log.info("run %s has registered %s already", run_id, registered.model_version)
        close_run(settings, run_id, "succeeded")
        return TrainingSummary(registered.model_version, registered.family, registered.metrics)
    started = time.monotonic()
    dataset, run = load_dataset(settings), read_run(settings, run_id)
    _check_trainable(dataset, fold_count)
    panel = read_panel(settings, dataset, run, seed, fold_count)
    trials = cross_fit(panel, seed, fold_count)
    best = select(trials)
    metrics: dict[str, Any] = best.metrics | {"candidates": {trial.family: trial.metrics for trial in trials}}
    model_version = register(settings, _new_model(dataset, run, panel, best, metrics, seed))
    close_run(settings, run_id, "succeeded")
    log.info(
        "trained %s on %d customers (%d churned) in %.1f s: %s, log loss %.4f",
        model_version, panel.row_count, panel.churned.sum(), time.monotonic() - started, best.family,
        best.metrics["log_loss"],
    )  # fmt: skip
    return TrainingSummary(model_version, best.family, metrics)


def cross_fit(
    panel: Panel, seed: int, fold_count: int, candidates: Sequence[Candidate] = CANDIDATES
) -> list[Trial]:
    """Fit every candidate on all folds but one, in turn, and predict the one left out."""
    jobs = [(candidate, fold) for candidate in candidates for fold in range(fold_count)]
    # One native thread per fit: sums in another order would give other last digits.
    with threadpool_limits(limits=1, user_api="blas"):
        fitted = Parallel(n_jobs=_WORKERS, prefer="threads")(
            delayed(_fit_fold)(candidate, panel, fold, seed) for candidate, fold in jobs
        )
        return [
            _evaluate_trial(candidate.family, fitted[i * fold_count : (i + 1) * fold_count], panel)
            for i, candidate in enumerate(candidates)
        ]


def select(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the lowest out-of-fold log loss among those that passed their gates.

    Raises
    ------
    TrainingError
        If none passed.
    """
    passed = [trial for trial in trials if trial.passed]
    if not passed:
        found = "; ".join(
            f"{trial.family}: {gate.gate} {gate.observed:.3f} (limits {gate.threshold_low} to "
            f"{gate.threshold_high})"
            for trial in trials
            for gate in trial.gates
        )
        raise TrainingError(
            f"Expected a candidate that passes its gates, found none: {found}. Nothing was registered; "
            "the champion stays. Check the labels of this as-of date."
        )
    return min(passed, key=lambda trial: trial.metrics["log_loss"])


def _check_trainable(dataset: Dataset, fold_count: int) -> None:
    if dataset.kind != "snapshot":
        raise TrainingError(
            f"Expected a snapshot dataset, found {dataset.dataset!r} of kind {dataset.kind!r}: folds over "
            "dated rows "
            "need a purged split, which comes with the subscriptions dataset."
        )
    if fold_count < 2:
        raise TrainingError(f"Expected at least 2 folds, found {fold_count}. Choose 5.")


def _fit_fold(candidate: Candidate, panel: Panel, fold: int, seed: int) -> Pipeline:
    rows = np.flatnonzero(panel.folds != fold)
    with threadpool_limits(limits=1, user_api="openmp"):
        return candidate.build(panel.contract, seed).fit(panel.frame.take(rows), panel.churned[rows])


def _evaluate_trial(family: str, pipelines: Sequence[Pipeline], panel: Panel) -> Trial:
    probabilities = CrossFittedModel(pipelines).predict(panel.frame, panel.folds)
    metrics = evaluate(panel.churned, probabilities, panel.monthly_values)
    gates = (calibration_gate(panel.churned, probabilities),)
    log.info("%s: log loss %.4f, AUC %.4f, observed/expected %.3f", family, metrics["log_loss"],
             metrics["roc_auc"], metrics["observed_expected_ratio"])  # fmt: skip
    return Trial(family, pipelines, probabilities, metrics, gates)


def _new_model(
    dataset: Dataset, run: Run, panel: Panel, best: Trial, metrics: dict[str, Any], seed: int
) -> NewModel:
    customers = pa.table(
        {
            "customer_id": panel.customer_ids,
            "fold": panel.folds,
            "churned": panel.churned,
            "churn_probability": best.probabilities,
        }
    )
    return NewModel(
        run_id=run.run_id,
        dataset=dataset.dataset,
        label_definition=dataset.label_definition,
        family=best.family,
        validation="cross_sectional",
        as_of_date=run.as_of_date,
        known_as_of=run.known_as_of,
        seed=seed,
        contract=panel.contract,
        pipelines=best.pipelines,
        metrics=metrics,
        training_customers=customers,
        gates=best.gates,
    )
