"""Train a run's model: plan, train each candidate, select one and register it."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.errors import TrainingError
from churn_ml.models.deployments import promote_automatically
from churn_ml.models.mirror import mirror_version
from churn_ml.models.registration import register
from churn_ml.models.registry import ModelVersion, read_version, show_version, version_of_run
from churn_ml.settings import Settings
from churn_ml.training.candidate_results import CandidateResult, read_results
from churn_ml.training.candidate_training import train_candidate
from churn_ml.training.champion import champion_probabilities
from churn_ml.training.final_model import describe_model
from churn_ml.training.judgement import Judged, judge_candidates
from churn_ml.training.plan import Training, TrainingPlan, plan_training, read_training, reread_training
from churn_ml.training.selection import choose
from churn_ml.training.validation import WORKERS, customer_groups
from churn_ml.warehouse.runs import close_run

__all__ = [
    "TrainingPlan",
    "TrainingSummary",
    "plan_parts",
    "plan_training",
    "select_model",
    "train_candidate",
    "train_model",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSummary:
    """What a training registered, or the model of the same rows that was there before."""

    model_version: str
    family: str
    row_count: int
    metrics: dict[str, Any]

    def headline(self) -> dict[str, Any]:
        """Return what a reader of the task wants to know, as JSON."""
        figures = {name: self.metrics[name] for name in ("log_loss", "roc_auc", "observed_expected_ratio")}
        return {"model_version": self.model_version, "family": self.family} | figures


def plan_parts(settings: Settings, run_id: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Plan a training as the DAG's parameters ask, and return what each candidate's task is called with.

    Parameters
    ----------
    params : mapping
        ``seed``, ``force``, ``trials``, ``seconds`` and ``candidates``; see `plan_training`. Others are
        not looked at.
    """
    asked = {name: params[name] for name in ("force", "trials", "seconds", "candidates")}
    return plan_training(settings, run_id, params["seed"], **asked).parts()


def train_model(
    settings: Settings, run_id: str, *, seed: int, fold_count: int | None = None, force: bool = False
) -> TrainingSummary:
    """Train, select and register a model on the features and labels of the run `run_id`, in this process.

    The same rows and seed give the same model. A retry of a run that has registered its model
    returns that one, and rows that were trained on before return the model of then. MLflow is left alone:
    ``churn-ml model sync`` shows it the model.

    Parameters
    ----------
    fold_count : int, optional
        Folds of customers, for snapshot datasets only; 5 where not given.
    force : bool
        Train again although nothing has changed.

    Raises
    ------
    TrainingError
        If there is too little to learn from, no candidate passes its gates, or folds of customers
        are asked for on a dated dataset.
    FeatureContractError
        If the features are not what models may read.
    """
    registered = version_of_run(settings, run_id)
    if registered is not None:
        return _follow_up(settings, registered)
    training = read_training(settings, run_id, seed=seed, fold_count=fold_count)
    plan = plan_training(settings, run_id, seed, force=force, fold_count=fold_count, training=training)
    if plan.known_version is not None:
        shown = show_version(settings, plan.known_version)
        return TrainingSummary(plan.known_version, shown["family"], shown["row_count"], shown["metrics"])
    for family in plan.families:
        train_candidate(settings, plan, family, workers=WORKERS, training=training)
    return select_model(settings, plan, training=training, is_mirrored=False)


def select_model(
    settings: Settings,
    plan: TrainingPlan | Mapping[str, Any],
    *,
    workers: int = WORKERS,
    training: Training | None = None,
    is_mirrored: bool = True,
) -> TrainingSummary:
    """Choose among the plan's candidates by their gates, fit the chosen one and register it.

    Where none passes, the one of the lowest log loss is registered as rejected, for people to look at.

    Parameters
    ----------
    plan : TrainingPlan or mapping
        The mapping is its `to_json`, as it passes between tasks.
    training : Training, optional
        What the plan was made of, where it was read already.
    is_mirrored : bool
        Whether MLflow is to show what was registered.

    Raises
    ------
    TrainingError
        If no candidate passes its gates, or one of the plan's has not finished.
    """
    plan = TrainingPlan.of(plan)
    registered = version_of_run(settings, plan.run_id)
    if registered is None:
        training = training or reread_training(settings, plan)
        registered = _register_best(settings, training, plan, workers)
    if is_mirrored:
        mirror_version(settings, registered.model_version)
    return _follow_up(settings, registered)


def _register_best(settings: Settings, training: Training, plan: TrainingPlan, workers: int) -> ModelVersion:
    started = time.monotonic()
    with threadpool_limits(limits=1):  # as candidates are fitted
        judged = _judge(settings, training, plan, workers)
        best = _best(training, judged, plan.seed)
        new = describe_model(settings, training, plan, judged, best, workers=workers)
        version = register(settings, new)
    log.info("selected %s among %d candidates in %.1f s: %s, log loss %.4f", new.family, len(judged),
             time.monotonic() - started, version, new.metrics["log_loss"])  # fmt: skip
    return read_version(settings, version)


def _judge(settings: Settings, training: Training, plan: TrainingPlan, workers: int) -> list[Judged]:
    results = _finished(settings, plan)
    validated = ~np.isnan(results[0].raw[0])
    champion = champion_probabilities(settings, training, validated)
    return judge_candidates(training, plan, results, champion, workers=workers)


def _finished(settings: Settings, plan: TrainingPlan) -> list[CandidateResult]:
    results = read_results(settings, plan)
    missing = [family for family in plan.families if family not in results]
    if missing:
        raise TrainingError(
            f"Expected a result of every candidate of {plan.run_id} in ml.candidates, found none of "
            f"{', '.join(missing)}. Clear their tasks, so that they finish."
        )
    return [results[family] for family in plan.families]


def _best(training: Training, judged: Sequence[Judged], seed: int) -> Judged:
    """Return the candidate to register: the chosen one, or where none passes the lowest log loss."""
    if not any(one.score.passed for one in judged):
        return min(judged, key=lambda one: float(one.score.row_losses.mean()))
    rows = np.flatnonzero(~np.isnan(judged[0].probabilities[0].raw))
    groups = customer_groups(training.panel, rows)
    return judged[choose([one.score for one in judged], groups=groups, seed=seed)]


def _follow_up(settings: Settings, registered: ModelVersion) -> TrainingSummary:
    """Refuse what a run registered if it is rejected, else promote it if that is wanted."""
    if registered.status == "rejected":
        raise TrainingError(_no_champion_of(settings, registered))
    promote_automatically(settings, registered.model_version, registered.known_as_of)
    close_run(settings, registered.run_id, "succeeded")
    return TrainingSummary(
        registered.model_version, registered.family, registered.row_count, registered.metrics
    )


def _no_champion_of(settings: Settings, registered: ModelVersion) -> str:
    failed = "; ".join(
        f"{gate['gate']}{gate['subject'] and ' ' + gate['subject']} {gate['observed']:.4g} (limits "
        f"{gate['threshold_low']} to {gate['threshold_high']})"
        for gate in show_version(settings, registered.model_version)["gates"]
        if gate["severity"] == "block" and gate["verdict"] == "fail"
    )
    return (
        f"Expected a candidate that passes its gates, found none: the best of them, {registered.family}, was "
        f"registered as {registered.model_version} and rejected for {failed}. The champion stays. Look at "
        f"`churn-ml model show {registered.model_version}`, and check the labels and features of "
        f"{registered.as_of_date}."
    )
