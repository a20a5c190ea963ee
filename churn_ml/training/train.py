"""Train a run's model by the way of its dataset, and register it."""

import logging
import time
from dataclasses import dataclass
from typing import Any

from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import TrainingError
from churn_ml.models.registration import NewModel, register
from churn_ml.models.registry import version_of_run
from churn_ml.settings import Settings
from churn_ml.training.cross_sectional import train_cross_sectional
from churn_ml.training.out_of_time import train_out_of_time
from churn_ml.warehouse.runs import Run, close_run, read_run

log = logging.getLogger(__name__)

_CUSTOMER_FOLDS = 5


@dataclass(frozen=True)
class TrainingSummary:
    """What a training registered."""

    model_version: str
    family: str
    metrics: dict[str, Any]


def train_model(
    settings: Settings, run_id: str, *, seed: int, fold_count: int | None = None
) -> TrainingSummary:
    """Train, select and register a model on the features and labels of the run `run_id`.

    The same rows and seed give the same model. A retry of a run that has registered its model
    returns that one.

    Parameters
    ----------
    fold_count : int, optional
        Folds of customers, for snapshot datasets only; 5 where not given.

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
        log.info("run %s has registered %s already", run_id, registered.model_version)
        close_run(settings, run_id, "succeeded")
        return TrainingSummary(registered.model_version, registered.family, registered.metrics)
    started = time.monotonic()
    new = _train(settings, load_dataset(settings), read_run(settings, run_id), seed, fold_count)
    model_version = register(settings, new)
    close_run(settings, run_id, "succeeded")
    log.info(
        "trained %s on %d rows (%d churned) in %.1f s: %s, log loss %.4f",
        model_version, new.training_rows.num_rows, new.churned_count, time.monotonic() - started,
        new.family, new.metrics["log_loss"],
    )  # fmt: skip
    return TrainingSummary(model_version, new.family, dict(new.metrics))


def _train(settings: Settings, dataset: Dataset, run: Run, seed: int, fold_count: int | None) -> NewModel:
    if dataset.kind == "snapshot":
        folds = _CUSTOMER_FOLDS if fold_count is None else fold_count
        return train_cross_sectional(settings, dataset, run, seed=seed, fold_count=folds)
    if fold_count is not None:
        raise TrainingError(
            f"Expected no fold_count for {dataset.dataset!r}, which is dated, found {fold_count}: its rows "
            "are split forward in time by ForwardFolds and never at random. Leave fold_count out."
        )
    return train_out_of_time(settings, dataset, run, seed=seed)
