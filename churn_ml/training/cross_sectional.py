"""Snapshot datasets: every candidate is cross-fitted over seeded folds of customers."""

import logging
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.declarations import Dataset
from churn_ml.errors import TrainingError
from churn_ml.models.candidates import CANDIDATES, Candidate
from churn_ml.models.crossfit import CrossFittedModel
from churn_ml.models.registration import NewModel
from churn_ml.settings import Settings
from churn_ml.training.evaluation import evaluate
from churn_ml.training.gates import calibration_gate
from churn_ml.training.panel import Panel, read_panel
from churn_ml.training.trials import WORKERS, Trial, fit_rows, select
from churn_ml.warehouse.runs import Run

log = logging.getLogger(__name__)


def train_cross_sectional(
    settings: Settings, dataset: Dataset, run: Run, *, seed: int, fold_count: int
) -> NewModel:
    """Cross-fit the candidates on the run's labelled customers and return the best, not yet registered.

    Raises
    ------
    TrainingError
        If there is too little to learn from, or no candidate passes its gates.
    """
    if fold_count < 2:
        raise TrainingError(f"Expected at least 2 folds, found {fold_count}. Choose 5.")
    panel = read_panel(settings, dataset, run, seed, fold_count)
    trials = cross_fit(panel, seed, fold_count)
    best = select(trials)
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
        metrics=best.metrics | {"candidates": {trial.family: trial.metrics for trial in trials}},
        training_rows=_training_rows(panel, best),
        gates=best.gates,
    )


def cross_fit(
    panel: Panel, seed: int, fold_count: int, candidates: Sequence[Candidate] = CANDIDATES
) -> list[Trial]:
    """Fit every candidate on all folds but one, in turn, and predict the one left out.

    Raises
    ------
    TrainingError
        If `panel` holds rows of several as-of dates.
    """
    if not isinstance(panel, Panel):
        raise TrainingError(
            f"Expected a Panel of one row per customer, found {type(panel).__name__}: rows of several as-of "
            "dates are split forward in time. Use churn_ml.training.out_of_time.validate."
        )
    jobs = [(candidate, fold) for candidate in candidates for fold in range(fold_count)]
    # One native thread per fit: sums in another order would give other last digits.
    with threadpool_limits(limits=1, user_api="blas"):
        fitted = Parallel(n_jobs=WORKERS, prefer="threads")(
            delayed(_fit_fold)(candidate, panel, fold, seed) for candidate, fold in jobs
        )
        return [
            _evaluate_trial(candidate.family, fitted[i * fold_count : (i + 1) * fold_count], panel)
            for i, candidate in enumerate(candidates)
        ]


def _fit_fold(candidate: Candidate, panel: Panel, fold: int, seed: int) -> Pipeline:
    rows = np.flatnonzero(panel.folds != fold)
    return fit_rows(candidate, panel.contract, panel.frame, panel.churned, rows, seed)


def _evaluate_trial(family: str, pipelines: Sequence[Pipeline], panel: Panel) -> Trial:
    probabilities = CrossFittedModel(pipelines).predict(panel.frame, panel.folds)
    metrics = evaluate(panel.churned, probabilities, panel.monthly_values)
    gates = (calibration_gate(panel.churned, probabilities),)
    log.info("%s: log loss %.4f, AUC %.4f, observed/expected %.3f", family, metrics["log_loss"],
             metrics["roc_auc"], metrics["observed_expected_ratio"])  # fmt: skip
    return Trial(family, pipelines, probabilities, metrics, gates)


def _training_rows(panel: Panel, best: Trial) -> pa.Table:
    return pa.table(
        {
            "customer_id": panel.customer_ids,
            "fold": panel.folds,
            "churned": panel.churned,
            "churn_probability": best.probabilities,
        }
    )
