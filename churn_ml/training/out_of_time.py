"""Dated datasets: every candidate is validated on later dates, and the best is refit on all of them."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.declarations import Dataset
from churn_ml.errors import TrainingError
from churn_ml.models.candidates import DATED_CANDIDATES, Candidate
from churn_ml.models.crossfit import CrossFittedModel
from churn_ml.models.registration import NewModel
from churn_ml.settings import Settings
from churn_ml.training.dated_panel import CUSTOMER_GROUPS, DatedPanel, read_dated_panel
from churn_ml.training.evaluation import FloatArray, evaluate
from churn_ml.training.folds import ForwardFold, ForwardFolds, IntArray
from churn_ml.training.gates import calibration_gate
from churn_ml.training.trials import WORKERS, Trial, fit_rows, select
from churn_ml.warehouse.runs import Run

log = logging.getLogger(__name__)

_STANDARD_ERRORS = 2.0
NOT_VALIDATED = -1


def train_out_of_time(settings: Settings, dataset: Dataset, run: Run, *, seed: int) -> NewModel:
    """Validate the candidates forward in time; return the best, refit once on every closed date.

    Raises
    ------
    TrainingError
        If there is too little to learn from, or no candidate passes its gates.
    """
    panel = read_dated_panel(settings, dataset, run, seed)
    folds = ForwardFolds(panel.spans).folds(panel.as_of_dates)
    _check_learnable(panel, folds)
    trials = validate(panel, folds, seed)
    best = select(trials)
    candidate = next(item for item in DATED_CANDIDATES if item.family == best.family)
    metrics = best.metrics | {
        "candidates": {trial.family: trial.metrics for trial in trials},
        "folds": describe_folds(panel, folds, best.probabilities),
        "panel": describe_panel(panel),
        "customer_disjoint": compare_disjoint(panel, folds[-1], candidate, best.probabilities, seed),
    }
    return NewModel(
        run_id=run.run_id,
        dataset=dataset.dataset,
        label_definition=dataset.label_definition,
        family=best.family,
        validation="out_of_time",
        as_of_date=run.as_of_date,
        known_as_of=run.known_as_of,
        seed=seed,
        contract=panel.contract,
        pipelines=_fit_all(panel, [(candidate, np.arange(panel.row_count))], seed),
        metrics=metrics,
        training_rows=_training_rows(panel, folds, best.probabilities),
        gates=best.gates,
    )


def validate(
    panel: DatedPanel,
    folds: Sequence[ForwardFold],
    seed: int,
    candidates: Sequence[Candidate] = DATED_CANDIDATES,
) -> list[Trial]:
    """Fit every candidate on each fold's training dates and predict the fold's validation date."""
    rows = [fold.training_rows(panel.as_of_dates) for fold in folds]
    # The newest folds are the largest: begun first, none of them is left running alone at the end.
    jobs = [(candidate, fold.fold) for fold in reversed(folds) for candidate in candidates]
    fitted = _fit_all(panel, [(candidate, rows[fold]) for candidate, fold in jobs], seed)
    by_job = {(candidate.family, fold): fit for (candidate, fold), fit in zip(jobs, fitted, strict=True)}
    return [
        _evaluate_trial(
            candidate.family, [by_job[candidate.family, fold.fold] for fold in folds], panel, folds
        )
        for candidate in candidates
    ]


def compare_disjoint(
    panel: DatedPanel, fold: ForwardFold, candidate: Candidate, forward: FloatArray, seed: int
) -> dict[str, Any]:
    """Return how much of the fold's score comes from having seen the same customers earlier.

    Each group of customers is predicted by a pipeline that was trained on the fold's dates without
    them (``disjoint``). The ordinary fold had seen them, and had more rows (``forward``); the
    pipeline trained without the next group had seen them too and is of the same size
    (``same_size``). What memorising gains is ``same_size`` less ``disjoint``.
    """
    rows = fold.validation_rows(panel.as_of_dates)
    training = fold.training_rows(panel.as_of_dates)
    groups = panel.customer_groups
    jobs = [(candidate, training[groups[training] != group]) for group in range(CUSTOMER_GROUPS)]
    pipelines = _fit_all(panel, jobs, seed)
    model, frame, own = CrossFittedModel(pipelines), panel.frame.take(rows), groups[rows]
    scores = {
        "forward": forward[rows],
        "same_size": model.predict(frame, (own + 1) % CUSTOMER_GROUPS),
        "disjoint": model.predict(frame, own),
    }
    churned = panel.churned[rows]
    auc = {name: float(roc_auc_score(churned, score)) for name, score in scores.items()}
    loss = {name: float(log_loss(churned, score)) for name, score in scores.items()}
    return {
        "as_of_date": fold.validation_date.isoformat(),
        "group_count": CUSTOMER_GROUPS,
        "roc_auc": auc,
        "log_loss": loss,
        "roc_auc_difference": auc["forward"] - auc["disjoint"],
        "log_loss_difference": loss["disjoint"] - loss["forward"],
        "roc_auc_memorised": auc["same_size"] - auc["disjoint"],
        "log_loss_memorised": loss["disjoint"] - loss["same_size"],
    }


def describe_folds(
    panel: DatedPanel, folds: Sequence[ForwardFold], probabilities: FloatArray
) -> list[dict[str, Any]]:
    """Return one entry per validation date: what it was trained on, its base rate and its metrics."""
    described = []
    for fold in folds:
        rows = fold.validation_rows(panel.as_of_dates)
        described.append(
            {
                "fold": fold.fold,
                "as_of_date": fold.validation_date.isoformat(),
                "training_dates": [day.isoformat() for day in fold.training_dates],
                "training_row_count": len(fold.training_rows(panel.as_of_dates)),
                "row_count": len(rows),
                "churned_count": int(panel.churned[rows].sum()),
                "base_rate": float(panel.churned[rows].mean()),
            }
            | evaluate(panel.churned[rows], probabilities[rows], panel.monthly_values[rows])
        )
    return described


def describe_panel(panel: DatedPanel) -> dict[str, Any]:
    """Return what the panel was made of: label spans, sample, and the counts and base rate per date."""
    rows_of = {day: panel.churned[panel.as_of_dates == np.datetime64(day, "D")] for day in panel.dates}
    nights = []
    for night in panel.nights:
        churned = rows_of.get(night.as_of_date, np.array([], bool))
        rate = {"base_rate": float(churned.mean())} if len(churned) else {}
        counts = {"row_count": len(churned), "churned_count": int(churned.sum())}
        nights.append(night.describe() | counts | rate)
    return {
        "gap_days": panel.spans.gap_days,
        "horizon_days": panel.spans.horizon_days,
        "grace_days": panel.spans.grace_days,
        "late_allowance_days": panel.spans.late_allowance_days,
        "date_count": len(rows_of),
        "row_count": panel.row_count,
        "customer_count": panel.customer_count,
        "sampled_customer_count": len(panel.customer_ids.unique()),
        "dates": nights,
    }


def _check_learnable(panel: DatedPanel, folds: Sequence[ForwardFold]) -> None:
    for fold in folds:
        training = panel.churned[fold.training_rows(panel.as_of_dates)]
        validation = panel.churned[fold.validation_rows(panel.as_of_dates)]
        if not all(rows.any() and not rows.all() for rows in (training, validation)):
            raise TrainingError(
                f"Expected customers who churned and who stayed on {fold.validation_date} and on the "
                f"{len(fold.training_dates)} dates trained on before it, found {validation.sum()} of "
                f"{len(validation)} churned and {training.sum()} of {len(training)}. Land more history, or "
                "check features.customer_labels."
            )
    known = panel.frame.notna().any()
    if not known.all():
        raise TrainingError(
            "Expected every feature to have a known value among the training rows, found none in: "
            f"{', '.join(known.index[~known])}. Take the column out of customer_features, or mend its source."
        )


def _fit_all(panel: DatedPanel, jobs: Sequence[tuple[Candidate, IntArray]], seed: int) -> list[Pipeline]:
    # One native thread per fit: sums in another order would give other last digits.
    with threadpool_limits(limits=1, user_api="blas"):
        fitted: list[Pipeline] = Parallel(n_jobs=WORKERS, prefer="threads")(
            delayed(fit_rows)(candidate, panel.contract, panel.frame, panel.churned, rows, seed)
            for candidate, rows in jobs
        )
    return fitted


def _evaluate_trial(
    family: str, pipelines: Sequence[Pipeline], panel: DatedPanel, folds: Sequence[ForwardFold]
) -> Trial:
    probabilities = np.full(panel.row_count, np.nan)
    for pipeline, fold in zip(pipelines, folds, strict=True):
        rows = fold.validation_rows(panel.as_of_dates)
        frame = panel.frame.take(rows)
        probabilities[rows] = CrossFittedModel([pipeline]).predict(frame, np.zeros(len(rows), int))
    pooled = ~np.isnan(probabilities)
    churned, out_of_time = panel.churned[pooled], probabilities[pooled]
    metrics = evaluate(churned, out_of_time, panel.monthly_values[pooled])
    gates = (calibration_gate(churned, out_of_time, standard_errors=_STANDARD_ERRORS),)
    log.info("%s: out-of-time log loss %.4f, AUC %.4f, observed/expected %.3f", family, metrics["log_loss"],
             metrics["roc_auc"], metrics["observed_expected_ratio"])  # fmt: skip
    return Trial(family, pipelines, probabilities, metrics, gates)


def _training_rows(panel: DatedPanel, folds: Sequence[ForwardFold], probabilities: FloatArray) -> pa.Table:
    fold_of: npt.NDArray[np.int16] = np.full(panel.row_count, NOT_VALIDATED, np.int16)
    for fold in folds:
        fold_of[fold.validation_rows(panel.as_of_dates)] = fold.fold
    unseen = fold_of == NOT_VALIDATED
    days = np.array(list(panel.known_as_of), "datetime64[D]")
    cut_offs = pa.array(list(panel.known_as_of.values()), pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "customer_id": panel.customer_ids,
            "fold": pa.array(fold_of, mask=unseen),
            "churned": panel.churned,
            "churn_probability": pa.array(probabilities, mask=unseen),
            "as_of_date": panel.as_of_dates,
            "known_as_of": cut_offs.take(pa.array(np.searchsorted(days, panel.as_of_dates))),
        }
    )
