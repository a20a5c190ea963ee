"""What the training of one candidate left in ``ml.candidates``: a retry finds it and does nothing."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_ml.models.registration import insert_row
from churn_ml.settings import Settings
from churn_ml.training.plan import TrainingPlan
from churn_ml.warehouse.connection import Role, connect

_LITTLE_ENDIAN = np.dtype("<f8")


@dataclass(frozen=True)
class CandidateResult:
    """A family at its best.

    `raw` are the uncalibrated probabilities of shape (repeats, n_rows), NaN where a row was not
    validated on; `calibration` the method that had the lowest log loss on them; `seconds` and
    `peak_memory_mb` (of the whole process) are what search and validation took.
    """

    family: str
    parameters: Mapping[str, Any]
    calibration: str
    metrics: Mapping[str, Any]
    raw: npt.NDArray[np.float64]
    trial_count: int
    seconds: float
    peak_memory_mb: float

    def summary(self) -> dict[str, Any]:
        """Return what a reader of the task wants to know, as JSON."""
        return {
            "log_loss": self.metrics["log_loss"],
            "roc_auc": self.metrics["roc_auc"],
            "calibration": self.calibration,
            "trial_count": self.trial_count,
            "seconds": round(self.seconds, 1),
            "peak_memory_mb": round(self.peak_memory_mb),
        }


@contextmanager
def candidate_lock(settings: Settings, plan: TrainingPlan, family: str) -> Iterator[None]:
    """Let one process at a time train a family of a plan; the lock of a killed process is gone."""
    with connect(settings, Role.TRAINER, autocommit=True) as trainer:
        trainer.execute(
            "select pg_advisory_lock(hashtextextended(%s, 0))", [f"{plan.training_sha256}/{family}"]
        )
        yield


def read_results(settings: Settings, plan: TrainingPlan) -> dict[str, CandidateResult]:
    """Return the results of the plan's families that have finished, by family."""
    with connect(settings, Role.TRAINER) as trainer:
        rows = trainer.execute(
            "select family, parameters, calibration, metrics, raw_probabilities, trial_count, seconds,"
            " peak_memory_mb from ml.candidates where training_sha256 = %s and family = any(%s)",
            [plan.training_sha256, list(plan.families)],
        ).fetchall()
    return {row[0]: _result(row) for row in rows}


def has_result(settings: Settings, plan: TrainingPlan, family: str) -> bool:
    """Return whether `family` has finished."""
    with connect(settings, Role.TRAINER) as trainer:
        row = trainer.execute(
            "select from ml.candidates where training_sha256 = %s and family = %s",
            [plan.training_sha256, family],
        ).fetchone()
    return row is not None


def store_result(settings: Settings, plan: TrainingPlan, result: CandidateResult) -> None:
    """Store what the family came to."""
    values = {
        "training_sha256": plan.training_sha256,
        "family": result.family,
        "run_id": plan.run_id,
        "parameters": json.dumps(result.parameters),
        "calibration": result.calibration,
        "metrics": json.dumps(result.metrics, allow_nan=False),
        "raw_probabilities": result.raw.astype(_LITTLE_ENDIAN).tobytes(),
        "trial_count": result.trial_count,
        "seconds": result.seconds,
        "peak_memory_mb": result.peak_memory_mb,
    }
    with connect(settings, Role.TRAINER) as trainer:
        insert_row(trainer, "candidates", values)


def _result(row: tuple[Any, ...]) -> CandidateResult:
    family, parameters, calibration, metrics, raw, *rest = row
    probabilities = np.frombuffer(raw, _LITTLE_ENDIAN).astype(np.float64)
    # Its shape follows from the number of repeats, which the metrics hold.
    return CandidateResult(
        family, parameters, calibration, metrics, probabilities.reshape(metrics["repeat_count"], -1), *rest
    )
