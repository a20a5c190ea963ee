"""Every candidate before its gates, on the same rows, and beside the champion."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from churn_ml.models.candidates import candidate_of
from churn_ml.models.registration import GateResult
from churn_ml.training.candidate_results import CandidateResult
from churn_ml.training.candidate_training import calibrate_repeats
from churn_ml.training.champion import ChampionProbabilities
from churn_ml.training.dated_panel import DatedPanel
from churn_ml.training.folds import IntArray
from churn_ml.training.gates import (
    calibration_gate,
    champion_gates,
    log_loss_gate,
    profit_gate,
    stability_gates,
    too_little_data_gates,
)
from churn_ml.training.group_gates import fairness_gates, segment_gates
from churn_ml.training.leakage import leakage_column_gates, leakage_shuffled_gate
from churn_ml.training.metrics import row_losses, row_profits
from churn_ml.training.panel import LEAST_OF_EACH_OUTCOME, LEAST_ROWS
from churn_ml.training.plan import Training, TrainingPlan
from churn_ml.training.selection import CandidateScore
from churn_ml.training.validation import (
    BoolArray,
    FloatArray,
    Probabilities,
    Splits,
    customer_groups,
    fold_of_rows,
    plan_splits,
    validate,
)

log = logging.getLogger(__name__)

# Chance alone makes a true model miss a tenth of few who leave, and earn less than nothing at costs that
# hardly pay: limits forward in time, and those of profit, are widened by so much.
_STANDARD_ERRORS = 2.0
_SCREEN = "decision_tree"


@dataclass(frozen=True)
class Judged:
    """A candidate that was validated; `probabilities` has one entry per repeat, `gates` are of the first."""

    result: CandidateResult
    repeats: Sequence[Splits]
    probabilities: Sequence[Probabilities]
    gates: Sequence[GateResult]
    score: CandidateScore

    @property
    def failed(self) -> list[GateResult]:
        """The blocking gates that failed."""
        return [gate for gate in self.gates if gate.severity == "block" and gate.verdict == "fail"]


@dataclass(frozen=True)
class ValidatedRows:
    """The rows that all candidates are judged on; shapes (n_validated,), `positions` in the panel."""

    positions: IntArray
    churned: BoolArray
    monthly_values: FloatArray
    groups: IntArray | None
    folds: IntArray
    base_probabilities: FloatArray


def judge_candidates(
    training: Training,
    plan: TrainingPlan,
    results: Sequence[CandidateResult],
    champion: ChampionProbabilities,
    *,
    workers: int = 1,
) -> list[Judged]:
    """Hold every candidate against its gates; those of the data itself are the same for all."""
    [splits] = plan_splits(training.panel, repeats=1, fold_count=plan.fold_count, seed=plan.seed)
    rows = _validated_rows(training, splits)
    shared = data_gates(training, plan, splits, workers=workers)
    judged = []
    for result in results:
        repeats = plan_splits(
            training.panel, repeats=len(result.raw), fold_count=plan.fold_count, seed=plan.seed
        )
        probabilities = calibrate_repeats(training, repeats, result.raw, result.calibration)
        said = np.stack([one.calibrated[rows.positions] for one in probabilities])
        gates = [*shared, *candidate_gates(training, rows, said[0], champion, plan.seed)]
        losses = row_losses(rows.churned, said)
        profits = row_profits(rows.churned, said, rows.monthly_values, training.decision)
        score = CandidateScore(result.family, gates, losses, profits)
        judged.append(Judged(result, repeats, probabilities, gates, score))
        failed = ", ".join(f"{gate.gate} {gate.subject}".strip() for gate in judged[-1].failed)
        log.info("%s: %s", result.family, f"failed {failed}" if failed else "passed its gates")
    return judged


def data_gates(
    training: Training, plan: TrainingPlan, splits: Splits, *, workers: int = 1
) -> list[GateResult]:
    """Return the gates of the data: enough of it, and no leak in its columns or in the validation."""
    panel, declared = training.panel, training.dataset.panel
    dates = len(panel.dates) if isinstance(panel, DatedPanel) else None
    everyone = customer_groups(panel, np.arange(panel.row_count))
    screen = candidate_of(_SCREEN)
    return [
        *too_little_data_gates(
            row_count=panel.row_count,
            churned_count=int(panel.churned.sum()),
            least_rows=LEAST_ROWS,
            least_of_each_outcome=LEAST_OF_EACH_OUTCOME,
            date_count=dates,
            least_dates=declared.least_dates if declared else None,
        ),
        *leakage_column_gates(panel.frame, panel.churned, groups=everyone, seed=plan.seed),
        leakage_shuffled_gate(
            lambda labels: validate(screen, panel, splits, plan.seed, workers=workers, churned=labels),
            panel.churned,
            fold_of_rows(splits, panel.row_count),
            seed=plan.seed,
        ),
    ]


def candidate_gates(
    training: Training,
    rows: ValidatedRows,
    calibrated: FloatArray,
    champion: ChampionProbabilities,
    seed: int,
) -> list[GateResult]:
    """Return the gates of one candidate's calibrated probabilities for the validated rows."""
    slack = _STANDARD_ERRORS if isinstance(training.panel, DatedPanel) else 0.0
    churned, values, groups = rows.churned, rows.monthly_values, rows.groups
    attributes, sensitive = (
        {str(name): frame[name].to_numpy(object)[rows.positions] for name in frame}
        for frame in (training.panel.attributes, training.panel.sensitive)
    )
    return [
        calibration_gate(churned, calibrated, standard_errors=slack, groups=groups, seed=seed),
        *segment_gates(churned, calibrated, attributes, groups=groups, seed=seed),
        log_loss_gate(churned, calibrated, rows.base_probabilities, groups=groups, seed=seed),
        profit_gate(
            churned,
            calibrated,
            values,
            training.decision,
            standard_errors=_STANDARD_ERRORS,
            groups=groups,
            seed=seed,
        ),
        *stability_gates(churned, calibrated, rows.folds),
        *fairness_gates(churned, calibrated, values, training.decision, sensitive, groups=groups, seed=seed),
        *_champion_gates(training, rows, calibrated, champion, seed),
    ]


def _champion_gates(
    training: Training,
    rows: ValidatedRows,
    calibrated: FloatArray,
    champion: ChampionProbabilities,
    seed: int,
) -> list[GateResult]:
    said = champion.probabilities[rows.positions]
    known = ~np.isnan(said)
    both = champion.model_version is not None and 0 < rows.churned[known].sum() < known.sum()
    gates = champion_gates(
        rows.churned[known],
        calibrated[known],
        said[known] if both else None,
        rows.monthly_values[known],
        training.decision,
        groups=None if rows.groups is None else rows.groups[known],
        seed=seed,
    )
    if both:
        return [replace(gate, detail=_told(gate, champion, int(known.sum()))) for gate in gates]
    reason = champion.reason or "the rows that the champion can be compared on have one outcome only"
    return [replace(gate, detail=reason) for gate in gates]


def _told(gate: GateResult, champion: ChampionProbabilities, row_count: int) -> str:
    beside = f"; {gate.detail}" if gate.detail else ""
    return f"beside {champion.model_version} on {row_count} rows{beside}"


def _validated_rows(training: Training, splits: Splits) -> ValidatedRows:
    panel = training.panel
    fold_of = fold_of_rows(splits, panel.row_count)
    positions = np.flatnonzero(fold_of >= 0)
    base = np.full(panel.row_count, np.nan)
    for split in splits:
        base[split.validation] = panel.churned[split.training].mean()
    return ValidatedRows(
        positions=positions,
        churned=panel.churned[positions],
        monthly_values=panel.monthly_values[positions],
        groups=customer_groups(panel, positions),
        folds=fold_of[positions].astype(np.intp),
        base_probabilities=base[positions],
    )
