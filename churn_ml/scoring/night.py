"""Score one night: eligible customers out by COPY, predicted in chunks, back by COPY."""

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

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import ScoringError
from churn_ml.features.contract import FeatureContract, read_contract
from churn_ml.features.stream import read_ahead, stream_tables
from churn_ml.models.crossfit import NOT_TRAINED_ON
from churn_ml.models.registry import LoadedModel, champion_at, load_model
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.copying import ByteSink, open_copy_in
from churn_ml.warehouse.runs import Run, read_run
from churn_ml.warehouse.sql import SQL, Identifier

log = logging.getLogger(__name__)

_ROWS_PER_CHUNK = 50_000
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

    All scores of a run are written in one transaction; a retry discards what an earlier attempt
    of the same run wrote. Nothing is fitted and memory does not grow with the customers.

    Raises
    ------
    NoChampion
        If no model is deployed at the cut-off of the run's night.
    FeatureContractError
        If the features are not the ones that the champion was trained on.
    ScoringError
        If an eligible customer would get no score, two, or one that is not a probability.
    """
    started = time.monotonic()
    run = read_run(settings, run_id)
    champion = load_model(settings, champion_at(settings, run.champion_cut_off))
    _prepare(settings, run)
    with connect(settings, Role.SCORER) as source, connect(settings, Role.SCORER) as target:
        source.execute("set transaction isolation level repeatable read")
        _check_fit(champion, load_dataset(settings), source)
        expected = _count_eligible(source, run)
        with threadpool_limits(limits=1):
            written = _write_scores(source, target, run, champion)
        if written != expected:
            raise ScoringError(
                f"Expected {expected} scores, one per eligible customer of {run.as_of_date}, wrote "
                f"{written}. "
                "None was kept. Rebuild the features with dbt and retry."
            )
        target.execute("select ops.record_run_model(%s, %s)", [run_id, champion.model_version])
    seconds, peak = time.monotonic() - started, peak_memory_mb()
    log.info("scored %d customers by %s in %.1f s, peak memory %.0f MB", written, champion.model_version,
             seconds, peak)  # fmt: skip
    return ScoringSummary(written, champion.model_version, seconds, peak)


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
        earlier = scorer.execute(
            "select from scores.customer_scores where as_of_date = %s and run_id = %s limit 1",
            [run.as_of_date, run.run_id],
        ).fetchone()
        if earlier is not None:
            row = scorer.execute("select ops.discard_run(%s)", [run.run_id]).fetchone()
            log.warning("discarded %s rows of an earlier attempt of %s", row and row[0], run.run_id)


def _check_fit(champion: LoadedModel, dataset: Dataset, source: Connection) -> None:
    if champion.label_definition != dataset.label_definition:
        raise ScoringError(
            f"Expected a champion that predicts {dataset.label_definition}, which "
            f"datasets/{dataset.dataset}.yml "
            f"declares, found {champion.model_version} trained on {champion.label_definition}. "
            "Train and promote a model on the declared label."
        )
    champion.contract.check_against(read_contract(source, dataset))


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


def _write_scores(source: Connection, target: Connection, run: Run, champion: LoadedModel) -> int:
    """Read, predict and write at the same time, a chunk each."""
    scored_at = datetime.now(UTC)
    writing: list[Future[int]] = []
    with (
        open_copy_in(target, _COPY) as sink,
        ThreadPoolExecutor(1, "write-scores") as writer,
        closing(_read_chunks(source, run, champion)) as chunks,
        closing(read_ahead(chunks)) as ahead,
    ):
        written = 0
        for chunk in ahead:
            scores = score_chunk(chunk, run, champion, scored_at)
            written += sum(sent.result() for sent in writing)
            writing = [writer.submit(_send, sink, scores)]
        return written + sum(sent.result() for sent in writing)


def _send(sink: ByteSink, scores: pa.Table) -> int:
    content = io.BytesIO()
    pyarrow.csv.write_csv(scores, content, pyarrow.csv.WriteOptions(include_header=False))
    sink.write(content.getvalue())
    return int(scores.num_rows)


def _read_chunks(source: Connection, run: Run, champion: LoadedModel) -> Generator[pa.Table]:
    contract: FeatureContract = champion.contract
    return stream_tables(
        source,
        _QUERY.format(columns=contract.select_list("customer_features")),
        [champion.model_version, run.as_of_date, run.known_as_of],
        _OWN_TYPES | contract.arrow_types,
        _ROWS_PER_CHUNK,
    )


def score_chunk(chunk: pa.Table, run: Run, champion: LoadedModel, scored_at: datetime) -> pa.Table:
    """Return the rows of ``scores.customer_scores`` for the customers of `chunk`."""
    folds = pa.compute.fill_null(chunk.column("fold"), NOT_TRAINED_ON).to_numpy()
    frame = champion.contract.to_frame(chunk.select(champion.contract.names))
    probabilities = champion.model.predict(frame, folds)
    if not np.all((probabilities >= 0) & (probabilities <= 1)):
        bad = int(np.sum(~((probabilities >= 0) & (probabilities <= 1))))
        raise ScoringError(
            f"Expected probabilities between 0 and 1, found {bad} of {len(probabilities)} that are not (NaN "
            f"counts). {champion.model_version} cannot score these features: promote another version."
        )
    constants = {
        "as_of_date": run.as_of_date,
        "run_id": run.run_id,
        "model_version": champion.model_version,
        "scored_at": scored_at,
    }
    columns = {name: pa.repeat(pa.scalar(value), chunk.num_rows) for name, value in constants.items()}
    columns |= {
        "customer_id": chunk.column("customer_id"),
        "churn_probability_raw": pa.array(probabilities),
        "churn_probability": pa.array(probabilities),
        "is_out_of_fold": pa.array(folds != NOT_TRAINED_ON),
        "feature_row_sha256": chunk.column("feature_row_sha256"),
    }
    return pa.table(columns).select(_SCORE_COLUMNS)
