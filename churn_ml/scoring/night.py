"""Score one night: eligible customers out by COPY, predicted with reasons in chunks, back by COPY."""

import io
import logging
import resource
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import ScoringError
from churn_ml.features.contract import FeatureContract, read_contract
from churn_ml.features.stream import read_ahead, stream_tables
from churn_ml.models.contributions import Explainer
from churn_ml.models.crossfit import NOT_TRAINED_ON, Predictions
from churn_ml.models.deployments import champion_at
from churn_ml.models.registry import LoadedModel, load_model
from churn_ml.scoring.reasons import REASON_COLUMNS, REASON_COUNT, reason_columns
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.copying import ByteSink, open_copy_in
from churn_ml.warehouse.runs import Run, read_run
from churn_ml.warehouse.sql import SQL, Identifier

log = logging.getLogger(__name__)

IntArray = npt.NDArray[np.integer[Any]]

_ROWS_PER_CHUNK = 50_000
_ROWS_COMPARED = 100
_TOLERANCE = 1e-6
# Of contributions that a library adds up in single precision; 4e-7 was the most seen.
_SINGLE_TOLERANCE = 1e-5
_OWN_TYPES = {"customer_id": pa.string(), "fold": pa.int16(), "feature_row_sha256": pa.string()}
# The order makes chunks the same in every run of a night, and so the last digit of every score.
_QUERY = SQL(
    """
    select
        customer_features.customer_id,
        training_customers.fold,
        encode(sha256(convert_to(row({columns})::text, 'UTF8')), 'hex') as feature_row_sha256,
        {columns}
    from features.customer_features
    join features.customer_population using (customer_id, as_of_date, known_as_of)
    left join ml.training_customers
        on training_customers.customer_id = customer_features.customer_id
        and training_customers.model_version = %s
    where as_of_date = %s and known_as_of = %s and customer_population.is_eligible
    order by customer_features.customer_id collate "C"
    """
)
_COUNT_QUERY = """
    select
        count(*),
        count(customer_features.customer_id),
        count(distinct customer_population.customer_id)
    from features.customer_population
    left join features.customer_features using (customer_id, as_of_date, known_as_of)
    where as_of_date = %s and known_as_of = %s and customer_population.is_eligible
"""
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


@dataclass(frozen=True)
class Scorer:
    """A loaded model with what tells its reasons."""

    model: LoadedModel
    explainer: Explainer


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
    return score_with(settings, run, champion_at(settings, run.champion_cut_off))


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
    started = time.monotonic()
    model = load_model(settings, model_version)
    scorer = Scorer(model, Explainer(model.model, model.contract, model.reference))
    _prepare(settings, run)
    with connect(settings, Role.SCORER) as source, connect(settings, Role.SCORER) as target:
        source.execute("set transaction isolation level repeatable read")
        _check_fit(model, load_dataset(settings), source)
        expected = _count_eligible(source, run)
        with threadpool_limits(limits=1):
            written = _write_scores(source, target, run, scorer)
        if written != expected:
            raise ScoringError(
                f"Expected {expected} scores, one per eligible customer of {run.as_of_date}, wrote "
                f"{written}. "
                "None was kept. Rebuild the features with dbt and retry."
            )
        target.execute("select ops.record_run_model(%s, %s)", [run.run_id, model_version])
    seconds, peak = time.monotonic() - started, peak_memory_mb()
    log.info("scored %d customers by %s in %.1f s, peak memory %.0f MB, reasons: %s", written, model_version,
             seconds, peak, scorer.explainer.method)  # fmt: skip
    return ScoringSummary(written, model_version, seconds, peak)


def peak_memory_mb() -> float:
    """Return the most memory this process has held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage this does not count what a parent held before a fork
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _prepare(settings: Settings, run: Run) -> None:
    """Make the month's partition and discard an earlier attempt, each in a transaction of its own."""
    with connect(settings, Role.SCORER, autocommit=True) as scorer:
        published = scorer.execute("select from ops.publications where run_id = %s", [run.run_id]).fetchone()
        if published is not None:  # the row has no columns, so it is falsy
            raise ScoringError(
                f"Expected a run that was never published, found {run.run_id} published once: its scores "
                "stay. "
                "Run the night again; it gets a run of its own."
            )
        scorer.execute("select ops.ensure_score_partition(%s)", [run.as_of_date])
        scorer.execute("select ops.choose_bases(%s)", [run.run_id])
        earlier = scorer.execute(
            "select from scores.customer_scores where as_of_date = %s and run_id = %s limit 1",
            [run.as_of_date, run.run_id],
        ).fetchone()
        if earlier is not None:
            row = scorer.execute("select ops.discard_run(%s)", [run.run_id]).fetchone()
            log.warning("discarded %s rows of an earlier attempt of %s", row and row[0], run.run_id)


def _check_fit(model: LoadedModel, dataset: Dataset, source: Connection) -> None:
    if model.label_definition != dataset.label_definition:
        raise ScoringError(
            f"Expected a model that predicts {dataset.label_definition}, which "
            f"datasets/{dataset.dataset}.yml "
            f"declares, found {model.model_version} trained on {model.label_definition}. "
            "Train and promote a model on the declared label."
        )
    model.contract.check_against(read_contract(source, dataset))


def _count_eligible(source: Connection, run: Run) -> int:
    row = source.execute(_COUNT_QUERY, [run.as_of_date, run.known_as_of]).fetchone()
    rows, with_features, customers = (int(str(count)) for count in row or (0, 0, 0))
    if customers == 0 or not rows == with_features == customers:
        raise ScoringError(
            f"Expected one feature row for each eligible customer of {run.as_of_date} known as of "
            f"{run.known_as_of.isoformat()}, and at least one customer; found {customers} eligible "
            "customers, "
            f"{rows} rows of them, {with_features} with features. Rebuild the features with dbt and retry."
        )
    return customers


def _write_scores(source: Connection, target: Connection, run: Run, scorer: Scorer) -> int:
    """Read, predict and write at the same time, a chunk each."""
    scored_at = datetime.now(UTC)
    writing: list[Future[int]] = []
    with (
        open_copy_in(target, _COPY) as sink,
        ThreadPoolExecutor(1, "write-scores") as writer,
        closing(_read_chunks(source, run, scorer.model)) as chunks,
        closing(read_ahead(chunks)) as ahead,
    ):
        written = 0
        for chunk in ahead:
            if not writing:
                _check_agreement(chunk.slice(0, _ROWS_COMPARED), scorer)
            scores = score_chunk(chunk, run, scorer, scored_at)
            written += sum(sent.result() for sent in writing)
            writing = [writer.submit(_send, sink, scores)]
        return written + sum(sent.result() for sent in writing)


def _check_agreement(chunk: pa.Table, scorer: Scorer) -> None:
    """Refuse a model whose reasons do not add up to what its pipelines say of the first customers."""
    folds, _, frame = _read_features(chunk, scorer.model)
    difference = scorer.explainer.largest_difference(frame, folds)
    tolerance = _TOLERANCE if scorer.explainer.is_precise else _SINGLE_TOLERANCE
    if not difference <= tolerance:
        raise ScoringError(
            f"Expected the contributions of {scorer.model.model_version} to add up to its probabilities "
            f"within {tolerance:g}, found {difference:g} among the first {len(frame)} customers. "
            "None was kept. Promote another version and report the family."
        )


def _read_features(chunk: pa.Table, model: LoadedModel) -> tuple[IntArray, pa.Table, pd.DataFrame]:
    """Return the fold of each customer, their features as read, and as the pipelines read them."""
    folds = pa.compute.fill_null(chunk.column("fold"), NOT_TRAINED_ON).to_numpy()
    features = chunk.select(model.contract.names)
    return folds, features, model.contract.to_frame(features)


def _send(sink: ByteSink, scores: pa.Table) -> int:
    content = io.BytesIO()
    pyarrow.csv.write_csv(scores, content, pyarrow.csv.WriteOptions(include_header=False))
    sink.write(content.getvalue())
    return int(scores.num_rows)


def _read_chunks(source: Connection, run: Run, model: LoadedModel) -> Generator[pa.Table]:
    contract: FeatureContract = model.contract
    return stream_tables(
        source,
        _QUERY.format(columns=contract.select_list("customer_features")),
        [model.model_version, run.as_of_date, run.known_as_of],
        _OWN_TYPES | contract.arrow_types,
        _ROWS_PER_CHUNK,
    )


def score_chunk(chunk: pa.Table, run: Run, scorer: Scorer, scored_at: datetime) -> pa.Table:
    """Return the rows of ``scores.customer_scores`` for the customers of `chunk`."""
    model, contract = scorer.model, scorer.model.contract
    folds, features, frame = _read_features(chunk, model)
    predictions, reasons = scorer.explainer.predict(frame, folds, REASON_COUNT)
    _check_probabilities(predictions, model)
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


def _check_probabilities(predictions: Predictions, model: LoadedModel) -> None:
    for name in ("raw", "calibrated"):
        found = getattr(predictions, name)
        is_probability = (found >= 0) & (found <= 1)
        if not is_probability.all():
            bad = int(np.sum(~is_probability))
            raise ScoringError(
                f"Expected {name} probabilities between 0 and 1, found {bad} of {len(found)} that are not "
                f"(NaN counts). {model.model_version} cannot score these features: promote another version."
            )


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
