"""Small real models in the registry, fitted in a moment and without a training run's tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from feature_tables import FEATURES, SENSITIVE, synthetic_customers

from churn_ml.declarations import load_dataset
from churn_ml.features.contract import FeatureColumn, FeatureContract, read_contract
from churn_ml.features.stream import read_table
from churn_ml.models.calibration import calibrated, fit_calibrator
from churn_ml.models.candidates import candidate_of
from churn_ml.models.contributions import build_reference
from churn_ml.models.golden_rows import choose_golden_rows
from churn_ml.models.registration import GateResult, NewModel, register
from churn_ml.models.value_models import SplineRidge
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_run
from churn_ml.warehouse.sql import SQL

CONTRACT = FeatureContract(
    tuple(
        FeatureColumn(name, data_type, "point", "none")
        for name, data_type in FEATURES.items()
        if name not in SENSITIVE
    )
)
PASSED = GateResult("calibration_overall", 1.0, 0.9, 1.1, interval_low=0.95, interval_high=1.05)
FOLD_COUNT = 3


@dataclass(frozen=True)
class Rows:
    """What a model is fitted on: shapes (n_rows, n_features) and (n_rows,)."""

    contract: FeatureContract
    customer_ids: pa.ChunkedArray
    frame: pd.DataFrame
    churned: npt.NDArray[np.bool_]


@cache
def training_customers(count: int = 300) -> pd.DataFrame:
    return synthetic_customers(count)


@cache
def synthetic_rows() -> Rows:
    customers = training_customers()
    frame = CONTRACT.to_frame(customers[CONTRACT.names])
    ids = pa.chunked_array([pa.array(customers["customer_id"].tolist(), pa.string())])
    return Rows(CONTRACT, ids, frame, customers["churned"].to_numpy())


def rows_of_features(settings: Settings) -> Rows:
    """Read everyone in ``features.customer_features``, with a made-up outcome."""
    with connect(settings, Role.TRAINER) as trainer:
        contract = read_contract(trainer, load_dataset(settings))
        query = SQL("select customer_id, {} from features.customer_features order by customer_id").format(
            contract.select_list("customer_features")
        )
        table = read_table(trainer, query, [], {"customer_id": pa.string()} | contract.arrow_types)
    churned = np.arange(table.num_rows) % 4 == 0
    return Rows(
        contract, table.column("customer_id"), contract.to_frame(table.select(contract.names)), churned
    )


def new_model(
    settings: Settings,
    known_as_of: datetime,
    *,
    rows: Rows | None = None,
    family: str = "spline_logistic",
    seed: int = 1,
    gates: Sequence[GateResult] = (PASSED,),
    training_sha256: str = "a" * 64,
) -> NewModel:
    """Fit a model of `family` on `rows`, synthetic ones if none are given; `seed` draws their folds."""
    run = open_run(settings, "training", known_as_of)
    rows = rows or synthetic_rows()
    folds = np.random.default_rng(seed).integers(0, FOLD_COUNT, len(rows.frame))
    pipelines, probabilities = [], np.empty(len(rows.frame))
    for fold in range(FOLD_COUNT):
        held_out = folds == fold
        frame, churned = rows.frame[held_out], rows.churned[held_out]
        pipeline = candidate_of(family).build(rows.contract, seed)
        pipeline.fit(rows.frame[~held_out], rows.churned[~held_out])
        calibrator = fit_calibrator("sigmoid", pipeline.predict_proba(frame)[:, 1], churned, seed=seed)
        pipelines.append(calibrated(pipeline, calibrator))
        probabilities[held_out] = pipelines[-1].predict_proba(frame)[:, 1]
    training_rows = pa.table(
        {"customer_id": rows.customer_ids, "fold": pa.array(folds, pa.int16()), "churned": rows.churned,
         "churn_probability": probabilities}
    )  # fmt: skip
    seen = [np.flatnonzero(folds != fold) for fold in range(FOLD_COUNT)]
    return NewModel(
        run_id=run.run_id,
        dataset=settings.dataset,
        label_definition="telco_30d",
        family=family,
        validation="cross_sectional",
        as_of_date=run.as_of_date,
        known_as_of=run.known_as_of,
        seed=seed,
        contract=rows.contract,
        pipelines=pipelines,
        metrics={"roc_auc": 0.8 + seed / 100, "roc_auc_low": 0.78, "roc_auc_high": 0.86, "log_loss": 0.4,
                 "candidates": {family: {"log_loss": 0.4}}},
        training_rows=training_rows,
        gates=gates,
        parameters={"inverse_penalty": 3.0},
        calibration="sigmoid",
        training_sha256=training_sha256,
        reference=build_reference(pipelines, rows.frame, seen),
        golden_rows=choose_golden_rows(rows.frame, folds, seed=seed),
        value_pipeline=SplineRidge().build(rows.contract, 12.0, seed).fit(rows.frame, 12.0 * ~rows.churned),
        value_family="spline_ridge",
        card=lambda version: f"<!doctype html><title>{version}</title>",
    )  # fmt: skip


def register_model(settings: Settings, known_as_of: datetime, **changes: object) -> str:
    """Register what `new_model` makes and return its version."""
    return register(settings, new_model(settings, known_as_of, **changes))  # type: ignore[arg-type]
