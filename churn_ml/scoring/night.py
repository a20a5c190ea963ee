"""Score one night: eligible customers out by COPY, predicted with reasons in chunks, back by COPY."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import ScoringError
from churn_ml.features.contract import read_contract
from churn_ml.measurement import peak_memory_mb
from churn_ml.models.crossfit import NOT_TRAINED_ON
from churn_ml.models.deployments import champion_at
from churn_ml.models.registry import LoadedModel
from churn_ml.scoring.chunks import (
    Scorer,
    check_probabilities,
    count_eligible,
    load_scorer,
    read_customers,
    read_features,
    write_tables,
)
from churn_ml.scoring.model_change import score_model_change
from churn_ml.scoring.reasons import REASON_COLUMNS, REASON_COUNT, reason_columns
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run, read_run
from churn_ml.warehouse.sql import SQL, Identifier

log = logging.getLogger(__name__)

_ROWS_COMPARED = 100
_TOLERANCE = 1e-6
# Of contributions that a library adds up in single precision; 4e-7 was the most seen.
_SINGLE_TOLERANCE = 1e-5
_SCORE_COLUMNS = [
    "as_of_date", "run_id", "customer_id", "churn_probability_raw", "churn_probability",
    "churn_probability_low", "churn_probability_high", "expected_months_retained", *REASON_COLUMNS,
    "model_version", "is_out_of_fold", "feature_row_sha256", "scored_at",
]  # fmt: skip
_COPY = SQL("copy scores.customer_scores ({}) from stdin (format csv)").format(
    SQL(", ").join(map(Identifier, _SCORE_COLUMNS))
)


@dataclass(frozen=True)
class ScoringSummary:
    """What a night's scoring wrote and what it took."""

    rows_scored: int
    model_version: str
    seconds: float
    peak_memory_mb: float


def score_night(settings: Settings, run_id: str) -> ScoringSummary:
    """Give every eligible customer of the run's night exactly one score by its champion.

    Raises
    ------
    NoChampion
        If no model is deployed at the cut-off of the run's night.
    FeatureContractError, ScoringError
        See `score_with`.
    """
    run = read_run(settings, run_id)
    scorer = load_scorer(settings, champion_at(settings, run.champion_cut_off))
    summary = _score(settings, run, scorer)
    score_model_change(settings, run, scorer)
    return summary


def score_with(settings: Settings, run: Run, model_version: str) -> ScoringSummary:
    """Give every eligible customer of the run's night exactly one score by `model_version`.

    All scores of a run are written in one transaction; a retry discards what an earlier attempt
    of the same run wrote. Nothing is fitted and memory does not grow with the customers.

    Raises
    ------
    FeatureContractError
        If the features are not the ones that the model was trained on.
    ScoringError
        If an eligible customer would get no score, two, or one that is not a probability.
    """
    return _score(settings, run, load_scorer(settings, model_version))


def _score(settings: Settings, run: Run, scorer: Scorer) -> ScoringSummary:
    started = time.monotonic()
    model = scorer.model
    _prepare(settings, run)
    with connect(settings, Role.SCORER) as source, connect(settings, Role.SCORER) as target:
        source.execute("set transaction isolation level repeatable read")
        _check_fit(model, load_dataset(settings), source)
        expected = count_eligible(source, run)
        with threadpool_limits(limits=1):
            written = _write_scores(source, target, run, scorer)
        if written != expected:
            raise ScoringError(
                f"Expected {expected} scores, one per eligible customer of {run.as_of_date}, wrote "
                f"{written}. "
                "None was kept. Rebuild the features with dbt and retry."
            )
        target.execute("select ops.record_run_model(%s, %s)", [run.run_id, model.model_version])
    seconds, peak = time.monotonic() - started, peak_memory_mb()
    log.info("scored %d customers by %s in %.1f s, peak memory %.0f MB, reasons: %s", written,
             model.model_version, seconds, peak, scorer.explainer.method)  # fmt: skip
    return ScoringSummary(written, model.model_version, seconds, peak)


def _prepare(settings: Settings, run: Run) -> None:
    """Make the month's partition, discard an earlier attempt, choose the bases: a transaction each."""
    with connect(settings, Role.SCORER, autocommit=True) as scorer:
        published = scorer.execute("select from ops.publications where run_id = %s", [run.run_id]).fetchone()
        if published is not None:  # the row has no columns, so it is falsy
            raise ScoringError(
                f"Expected a run that was never published, found {run.run_id} published once: its scores "
                "stay. "
                "Run the night again; it gets a run of its own."
            )
        scorer.execute("select ops.ensure_score_partition(%s)", [run.as_of_date])
        earlier = scorer.execute(
            "select from scores.customer_scores where as_of_date = %s and run_id = %s limit 1",
            [run.as_of_date, run.run_id],
        ).fetchone()
        if earlier is not None:
            row = scorer.execute("select ops.discard_run(%s)", [run.run_id]).fetchone()
            log.warning("discarded %s rows of an earlier attempt of %s", row and row[0], run.run_id)
        scorer.execute("select ops.choose_bases(%s)", [run.run_id])


def _check_fit(model: LoadedModel, dataset: Dataset, source: Connection) -> None:
    if model.label_definition != dataset.label_definition:
        raise ScoringError(
            f"Expected a model that predicts {dataset.label_definition}, which "
            f"datasets/{dataset.dataset}.yml "
            f"declares, found {model.model_version} trained on {model.label_definition}. "
            "Train and promote a model on the declared label."
        )
    model.contract.check_against(read_contract(source, dataset))


def _write_scores(source: Connection, target: Connection, run: Run, scorer: Scorer) -> int:
    """Read, predict and write at the same time, a chunk each."""
    with closing(read_customers(source, run, scorer.model)) as chunks:
        return write_tables(target, _COPY, _score_chunks(chunks, run, scorer))


def _score_chunks(chunks: Iterable[pa.Table], run: Run, scorer: Scorer) -> Iterator[pa.Table]:
    scored_at = datetime.now(UTC)
    for number, chunk in enumerate(chunks):
        if number == 0:
            _check_agreement(chunk.slice(0, _ROWS_COMPARED), scorer)
        yield score_chunk(chunk, run, scorer, scored_at)


def _check_agreement(chunk: pa.Table, scorer: Scorer) -> None:
    """Refuse a model whose reasons do not add up to what its pipelines say of the first customers."""
    folds, _, frame = read_features(chunk, scorer.model)
    difference = scorer.explainer.largest_difference(frame, folds)
    tolerance = _TOLERANCE if scorer.explainer.is_precise else _SINGLE_TOLERANCE
    if not difference <= tolerance:
        raise ScoringError(
            f"Expected the contributions of {scorer.model.model_version} to add up to its probabilities "
            f"within {tolerance:g}, found {difference:g} among the first {len(frame)} customers. "
            "None was kept. Promote another version and report the family."
        )


def score_chunk(chunk: pa.Table, run: Run, scorer: Scorer, scored_at: datetime) -> pa.Table:
    """Return the rows of ``scores.customer_scores`` for the customers of `chunk`."""
    model, contract = scorer.model, scorer.model.contract
    folds, features, frame = read_features(chunk, model)
    predictions, reasons = scorer.explainer.predict(frame, folds, REASON_COUNT)
    check_probabilities(predictions, model)
    constants = {
        "as_of_date": run.as_of_date,
        "run_id": run.run_id,
        "model_version": model.model_version,
        "scored_at": scored_at,
    }
    columns = {name: pa.repeat(pa.scalar(value), chunk.num_rows) for name, value in constants.items()}
    columns |= {
        "customer_id": chunk.column("customer_id"),
        "churn_probability_raw": pa.array(predictions.raw),
        "churn_probability": pa.array(predictions.calibrated),
        "churn_probability_low": pa.array(predictions.low, from_pandas=True),
        "churn_probability_high": pa.array(predictions.high, from_pandas=True),
        "expected_months_retained": _months_retained(frame, model),
        "is_out_of_fold": pa.array(folds != NOT_TRAINED_ON),
        "feature_row_sha256": chunk.column("feature_row_sha256"),
    }
    columns |= reason_columns(features, reasons, predictions.calibrated, contract.columns, model.reference)
    return pa.table(columns).select(_SCORE_COLUMNS)


def _months_retained(frame: pd.DataFrame, model: LoadedModel) -> pa.Array:
    """Return the months that each customer is expected to stay, null without a model of them."""
    if model.value_pipeline is None:
        return pa.nulls(len(frame), pa.float64())
    months = np.asarray(model.value_pipeline.predict(frame), dtype=np.float64)
    is_duration = (months >= 0) & np.isfinite(months)
    if not is_duration.all():
        raise ScoringError(
            f"Expected months of at least 0 from the value model, found {int(np.sum(~is_duration))} of "
            f"{len(months)} that are not (NaN counts). {model.model_version} cannot score these features: "
            "promote another version."
        )
    return pa.array(months)
