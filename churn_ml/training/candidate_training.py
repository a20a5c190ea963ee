"""One family's part in a training: search its parameters, validate the best, choose its calibration."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from churn_ml.measurement import peak_memory_mb
from churn_ml.models.calibration import choose_calibrator
from churn_ml.models.candidates import Candidate
from churn_ml.settings import Settings
from churn_ml.training.candidate_results import (
    CandidateResult,
    candidate_lock,
    has_result,
    read_results,
    store_result,
)
from churn_ml.training.metrics import evaluate_repeats, fold_deviation, point_metrics
from churn_ml.training.plan import Training, TrainingPlan, reread_training
from churn_ml.training.search import Budget, Score, Tuned, parameters_of, tune
from churn_ml.training.validation import (
    FloatArray,
    Probabilities,
    Splits,
    calibrate_splits,
    customer_groups,
    plan_splits,
    validate,
)

log = logging.getLogger(__name__)


def train_candidate(
    settings: Settings,
    plan: TrainingPlan | Mapping[str, Any],
    family: str,
    *,
    workers: int = 1,
    training: Training | None = None,
) -> CandidateResult:
    """Search and validate `family`, and leave the result in ``ml.candidates``; a retry finds it there.

    Parameters
    ----------
    plan : TrainingPlan or mapping
        The mapping is its `to_json`, as it passes between tasks.
    workers : int
        Fits that run side by side; 1 where several families do.
    training : Training, optional
        What the plan was made of, where it was read already.

    Raises
    ------
    TrainingError
        If the rows or the configuration are no longer those of the plan.
    """
    plan = TrainingPlan.of(plan)
    with candidate_lock(settings, plan, family):
        if has_result(settings, plan, family):
            log.info("%s has finished in training %s already", family, plan.training_sha256[:16])
            return read_results(settings, plan)[family]
        result = _train(settings, plan, training or reread_training(settings, plan), family, workers)
        store_result(settings, plan, result)
    log.info("%s: log loss %.4f, AUC %.4f, calibration %s, %d trials in %.1f s", family,
             result.metrics["log_loss"], result.metrics["roc_auc"], result.calibration, result.trial_count,
             result.seconds)  # fmt: skip
    return result


def calibrate_repeats(
    training: Training, repeats: Sequence[Splits], raw: FloatArray, method: str
) -> list[Probabilities]:
    """Return what each repeat of a validation said, calibrated by `method` on other rows.

    Parameters
    ----------
    raw : float array of shape (repeats, n_rows)
    """
    return [
        calibrate_splits(training.panel, splits, said, method)
        for splits, said in zip(repeats, raw, strict=True)
    ]


def describe_validation(
    training: Training, repeats: Sequence[Splits], probabilities: Sequence[Probabilities], seed: int
) -> dict[str, Any]:
    """Return the metrics of calibrated probabilities, with intervals and deviations between folds."""
    panel = training.panel
    rows = np.flatnonzero(~np.isnan(probabilities[0].calibrated))
    values, churned = panel.monthly_values, panel.churned
    by_fold = [
        point_metrics(churned[split.validation], one.calibrated[split.validation],
                      values[split.validation], decision=training.decision)
        for splits, one in zip(repeats, probabilities, strict=True)
        for split in splits
    ]  # fmt: skip
    raw = point_metrics(churned[rows], probabilities[0].raw[rows], values[rows], decision=training.decision)
    return {
        **evaluate_repeats(
            churned[rows],
            np.stack([one.calibrated[rows] for one in probabilities]),
            values[rows],
            groups=customer_groups(panel, rows),
            decision=training.decision,
            seed=seed,
        ),
        **fold_deviation(by_fold),
        "uncalibrated": raw,
        "repeat_count": len(repeats),
        "fold_count": len(repeats[0]),
    }


def _train(
    settings: Settings, plan: TrainingPlan, training: Training, family: str, workers: int
) -> CandidateResult:
    started = time.monotonic()
    declared = training.candidate(family)
    repeats = plan_splits(
        training.panel, repeats=declared.validation_repeats, fold_count=plan.fold_count, seed=plan.seed
    )
    tuned, first = _search(settings, plan, training, declared, repeats[0], workers)
    others = [validate(tuned.candidate, training.panel, splits, plan.seed, workers=workers)
              for splits in repeats[1:]]  # fmt: skip
    raw = np.stack([first, *others])
    rows = np.flatnonzero(~np.isnan(first))
    calibrator, log_losses = choose_calibrator(
        first[rows],
        training.panel.churned[rows],
        groups=customer_groups(training.panel, rows),
        seed=plan.seed,
    )
    probabilities = calibrate_repeats(training, repeats, raw, calibrator.method)
    metrics = describe_validation(training, repeats, probabilities, plan.seed)
    return CandidateResult(
        family=family,
        parameters=parameters_of(tuned.candidate),
        calibration=calibrator.method,
        metrics=metrics | {"calibration_log_losses": log_losses},
        raw=raw,
        trial_count=tuned.trial_count,
        seconds=time.monotonic() - started,
        peak_memory_mb=peak_memory_mb(),
    )


def _search(
    settings: Settings,
    plan: TrainingPlan,
    training: Training,
    declared: Candidate,
    splits: Splits,
    workers: int,
) -> tuple[Tuned, FloatArray]:
    """Return the best candidate and its raw probabilities for the rows of `splits`."""
    panel = training.panel
    lowest, kept = math.inf, (declared, np.zeros(0))

    def score(candidate: Candidate) -> Score:
        nonlocal lowest, kept
        raw = validate(candidate, panel, splits, plan.seed, workers=workers)
        seen = ~np.isnan(raw)
        churned = panel.churned[seen]
        loss = float(log_loss(churned, raw[seen]))
        if loss < lowest:
            lowest, kept = loss, (candidate, raw)
        return Score(loss, float(roc_auc_score(churned, raw[seen])))

    tuned = tune(
        settings,
        f"{plan.training_sha256[:16]}/{declared.family}",
        declared,
        score,
        Budget(plan.trials, plan.seconds),
        seed=plan.seed,
        run_id=plan.run_id,
    )
    if lowest < math.inf and kept[0] == tuned.candidate:
        return tuned, kept[1]
    # An earlier attempt tried it.
    return tuned, validate(tuned.candidate, panel, splits, plan.seed, workers=workers)
