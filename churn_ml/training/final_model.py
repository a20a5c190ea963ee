"""The model that is registered: the chosen candidate fitted anew, with its calibrators and its card."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.pipeline import Pipeline

from churn_ml.models.artifacts import (
    Artifact,
    dump_artifact,
    libraries_of,
    load_artifact,
    running_versions,
    sha256_of,
)
from churn_ml.models.calibration import calibrated, fit_calibrator
from churn_ml.models.candidates import Candidate, candidate_of
from churn_ml.models.contributions import Explainer, Reference, build_reference
from churn_ml.models.crossfit import NOT_TRAINED_ON, CrossFittedModel
from churn_ml.models.golden_rows import GoldenRows, choose_golden_rows
from churn_ml.models.registration import GateResult, NewModel
from churn_ml.settings import Settings
from churn_ml.training.card import ModelFacts, card_content, render_card
from churn_ml.training.dated_metrics import compare_disjoint, describe_folds, describe_panel
from churn_ml.training.dated_panel import DatedPanel
from churn_ml.training.folds import IntArray
from churn_ml.training.gates import golden_rows_gate
from churn_ml.training.judgement import Judged
from churn_ml.training.panel import Panel
from churn_ml.training.plan import Training, TrainingPlan
from churn_ml.training.retention import ValueModel, train_value_model
from churn_ml.training.validation import (
    NOT_VALIDATED,
    FloatArray,
    calibrate_splits,
    customer_groups,
    customer_splits,
    fit_all,
    fold_of_rows,
    forward_folds,
    predict_splits,
    split_calibrators,
    validation_of,
)

_EXPLAINED_ROWS = 1000


@dataclass(frozen=True)
class FinalModel:
    """Fitted pipelines with their calibrators, and what is known of the rows that they learned from.

    `folds` is the pipeline that has not seen each row, `NOT_TRAINED_ON` where there is one pipeline
    for all; `training_rows` is what `NewModel` registers.
    """

    pipelines: Sequence[Pipeline]
    rows_per_pipeline: Sequence[IntArray]
    folds: IntArray
    training_rows: pa.Table


def fit_final(training: Training, plan: TrainingPlan, best: Judged, *, workers: int = 1) -> FinalModel:
    """Fit the chosen candidate as it is going to score.

    Snapshots: a pipeline per fold of customers, calibrated on the other folds' rows. Dated rows: one
    pipeline on all of them, calibrated on those it was validated on out of time.
    """
    candidate = candidate_of(best.result.family, best.result.parameters)
    if isinstance(training.panel, DatedPanel):
        return _fit_dated(training.panel, plan, candidate, best, workers)
    return _fit_snapshot(training.panel, plan, candidate, best, workers)


def describe_model(
    settings: Settings,
    training: Training,
    plan: TrainingPlan,
    judged: Sequence[Judged],
    best: Judged,
    *,
    workers: int = 1,
) -> NewModel:
    """Fit the chosen candidate and return everything that is registered of it."""
    final = fit_final(training, plan, best, workers=workers)
    value = train_value_model(settings, training.dataset, training.run, plan.seed)
    reference = build_reference(final.pipelines, training.panel.frame, final.rows_per_pipeline)
    artifact = Artifact(final.pipelines, reference, value.pipeline if value else None)
    content = dump_artifact(artifact)
    one_pipeline = isinstance(training.panel, DatedPanel)
    golden = choose_golden_rows(training.panel.frame, None if one_pipeline else final.folds, seed=plan.seed)
    gates = [*best.gates, _stored_as_fitted(artifact, content, best.result.family, value, golden)]
    metrics = _metrics(training, plan, judged, best, value, workers)
    card = _card(training, plan, best, final, reference, gates, metrics, value)
    return NewModel(
        run_id=plan.run_id,
        dataset=training.dataset.dataset,
        label_definition=training.dataset.label_definition,
        family=best.result.family,
        validation=validation_of(training.panel),
        as_of_date=training.run.as_of_date,
        known_as_of=training.run.known_as_of,
        seed=plan.seed,
        contract=training.panel.contract,
        pipelines=final.pipelines,
        metrics=metrics,
        training_rows=final.training_rows,
        gates=gates,
        parameters=best.result.parameters,
        calibration=best.result.calibration,
        training_sha256=plan.training_sha256,
        reference=reference,
        golden_rows=golden,
        value_pipeline=value.pipeline if value else None,
        value_family=value.family if value else None,
        card=card,
        artifact=content,
    )


def _fit_snapshot(
    panel: Panel, plan: TrainingPlan, candidate: Candidate, best: Judged, workers: int
) -> FinalModel:
    splits = customer_splits(panel, plan.fold_count or 0)
    rows = [split.training for split in splits]
    pipelines = fit_all(candidate, panel, rows, plan.seed, workers=workers)
    raw = predict_splits(panel, splits, pipelines)
    calibrators = split_calibrators(panel, splits, raw, best.result.calibration, plan.seed)
    probabilities = calibrate_splits(panel, splits, raw, best.result.calibration).calibrated
    table = pa.table(
        {
            "customer_id": panel.customer_ids,
            "fold": panel.folds,
            "churned": panel.churned,
            "churn_probability": probabilities,
        }
    )
    fitted = [calibrated(*pair) for pair in zip(pipelines, calibrators, strict=True)]
    return FinalModel(fitted, rows, panel.folds.astype(np.intp), table)


def _fit_dated(
    panel: DatedPanel, plan: TrainingPlan, candidate: Candidate, best: Judged, workers: int
) -> FinalModel:
    everything = np.arange(panel.row_count)
    [pipeline] = fit_all(candidate, panel, [everything], plan.seed, workers=workers)
    said = best.probabilities[0]
    fold_of = fold_of_rows(best.repeats[0], panel.row_count)
    unseen = fold_of == NOT_VALIDATED
    rows = np.flatnonzero(~unseen)
    calibrator = fit_calibrator(
        best.result.calibration, said.raw[rows], panel.churned[rows],
        groups=customer_groups(panel, rows), seed=plan.seed,
    )  # fmt: skip
    days = np.array(list(panel.known_as_of), "datetime64[D]")
    cut_offs = pa.array(list(panel.known_as_of.values()), pa.timestamp("us", "UTC"))
    table = pa.table(
        {
            "customer_id": panel.customer_ids,
            "fold": pa.array(fold_of, mask=unseen),
            "churned": panel.churned,
            "churn_probability": pa.array(said.calibrated, mask=unseen),
            "as_of_date": panel.as_of_dates,
            "known_as_of": cut_offs.take(pa.array(np.searchsorted(days, panel.as_of_dates))),
        }
    )
    strangers = np.full(panel.row_count, NOT_TRAINED_ON)
    return FinalModel([calibrated(pipeline, calibrator)], [everything], strangers, table)


def _stored_as_fitted(
    artifact: Artifact, content: bytes, family: str, value: ValueModel | None, golden: GoldenRows
) -> GateResult:
    stored = load_artifact(
        content,
        sha256_of(content),
        family,
        running_versions(libraries_of(family, value.family if value else None)),
        value.family if value else None,
    )
    expected, found = (
        model.predict(golden.frame, golden.folds).calibrated for model in (artifact.model, stored.model)
    )
    return golden_rows_gate(expected, found)


def _metrics(
    training: Training,
    plan: TrainingPlan,
    judged: Sequence[Judged],
    best: Judged,
    value: ValueModel | None,
    workers: int,
) -> dict[str, Any]:
    metrics = dict(best.result.metrics)
    metrics["candidates"] = {
        one.result.family: {
            **one.result.metrics,
            "parameters": one.result.parameters,
            "calibration": one.result.calibration,
            "trial_count": one.result.trial_count,
            "failed_gates": [f"{gate.gate} {gate.subject}".strip() for gate in one.failed],
        }
        for one in judged
    }
    if value is not None:
        metrics["value_model"] = value.metrics
    panel = training.panel
    if isinstance(panel, DatedPanel):
        folds = forward_folds(panel)
        candidate = candidate_of(best.result.family, best.result.parameters)
        said = best.probabilities[0]
        metrics["folds"] = describe_folds(panel, folds, said.calibrated, training.decision)
        metrics["panel"] = describe_panel(panel)
        metrics["customer_disjoint"] = compare_disjoint(
            panel, folds[-1], candidate, said.raw, plan.seed, workers=workers
        )
    return metrics


def _card(
    training: Training,
    plan: TrainingPlan,
    best: Judged,
    final: FinalModel,
    reference: Reference,
    gates: Sequence[GateResult],
    metrics: dict[str, Any],
    value: ValueModel | None,
) -> "partial[str]":
    panel, result = training.panel, best.result
    facts = ModelFacts(
        dataset=training.dataset.dataset,
        title=training.dataset.title,
        label_definition=training.dataset.label_definition,
        family=result.family,
        parameters=result.parameters,
        calibration=result.calibration,
        calibration_log_losses=result.metrics["calibration_log_losses"],
        validation=validation_of(panel),
        fold_count=len(best.repeats[0]),
        repeat_count=len(best.repeats),
        as_of_date=training.run.as_of_date,
        known_as_of=training.run.known_as_of,
        run_id=plan.run_id,
        seed=plan.seed,
        training_sha256=plan.training_sha256,
        row_count=panel.row_count,
        churned_count=int(panel.churned.sum()),
        features=panel.contract.names,
        library_versions=running_versions(libraries_of(result.family, value.family if value else None)),
    )
    said = best.probabilities[0]
    rows = np.flatnonzero(~np.isnan(said.calibrated))
    importance, method = _importance(training, final, reference, rows, plan.seed)
    content = card_content(
        facts,
        churned=panel.churned[rows],
        raw=said.raw[rows],
        calibrated=said.calibrated[rows],
        monthly_values=panel.monthly_values[rows],
        decision=training.decision,
        metrics=metrics,
        gates=gates,
        candidates=metrics["candidates"],
        importance=importance,
        contribution_method=method,
        as_of_dates=panel.as_of_dates[rows] if isinstance(panel, DatedPanel) else None,
        sensitive={str(name): panel.sensitive[name].to_numpy(object)[rows] for name in panel.sensitive},
        value_family=value.family if value else None,
        value_metrics=value.metrics if value else None,
    )
    return partial(render_card, content)


def _importance(
    training: Training, final: FinalModel, reference: Reference, rows: IntArray, seed: int
) -> tuple[dict[str, float], str]:
    """Return each feature's mean absolute contribution over some of `rows`, and what contributions are."""
    drawn = np.random.default_rng(seed).permutation(rows)[:_EXPLAINED_ROWS]
    drawn.sort()
    explainer = Explainer(CrossFittedModel(final.pipelines), training.panel.contract, reference)
    contributions: FloatArray
    _, contributions = explainer.contributions(training.panel.frame.take(drawn), final.folds[drawn])
    means = np.abs(contributions).mean(axis=0)
    return dict(zip(training.panel.contract.names, means.tolist(), strict=True)), explainer.method
