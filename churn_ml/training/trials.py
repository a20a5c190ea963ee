"""A candidate that was validated, and which of several is taken."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.errors import TrainingError
from churn_ml.features.contract import FeatureContract
from churn_ml.models.candidates import Candidate
from churn_ml.models.registration import GateResult
from churn_ml.training.evaluation import FloatArray

WORKERS = 2


@dataclass(frozen=True)
class Trial:
    """One candidate: a pipeline per fold and what each predicts for the rows it has not seen.

    `probabilities` is NaN where a row was in no validation.
    """

    family: str
    pipelines: Sequence[Pipeline]
    probabilities: FloatArray
    metrics: dict[str, float]
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.verdict == "pass" for gate in self.gates)


def select(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the lowest log loss among those that passed their gates.

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


def fit_rows(
    candidate: Candidate,
    contract: FeatureContract,
    frame: pd.DataFrame,
    churned: npt.NDArray[np.bool_],
    rows: npt.NDArray[np.intp],
    seed: int,
) -> Pipeline:
    """Fit `candidate` on the given rows, with one native thread: `WORKERS` fits run side by side.

    A feature without any known value among them (its source began later) is left out of the fit.
    """
    data = frame.take(rows)
    known = data.notna().any()
    present = FeatureContract(tuple(column for column in contract.columns if known[column.name]))
    with threadpool_limits(limits=1, user_api="openmp"):
        return candidate.build(present, seed).fit(data, churned[rows])
