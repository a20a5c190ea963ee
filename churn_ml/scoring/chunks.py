"""The customers of a night in chunks: out of Postgres by COPY, predicted, back by COPY, in flat memory."""

import io
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from churn_ml.errors import ScoringError
from churn_ml.features.stream import read_ahead, stream_tables
from churn_ml.models.contributions import Explainer
from churn_ml.models.crossfit import NOT_TRAINED_ON, Predictions
from churn_ml.models.registry import LoadedModel, load_model
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.copying import ByteSink, open_copy_in
from churn_ml.warehouse.runs import Run
from churn_ml.warehouse.sql import SQL, Composed

IntArray = npt.NDArray[np.integer[Any]]

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


@dataclass(frozen=True)
class Scorer:
    """A loaded model with what tells its reasons."""

    model: LoadedModel
    explainer: Explainer


def load_scorer(settings: Settings, model_version: str) -> Scorer:
    """Load a model and make its explainer; see `load_model` for what is refused."""
    model = load_model(settings, model_version)
    return Scorer(model, Explainer(model.model, model.contract, model.reference))


def count_eligible(source: Connection, night: Run) -> int:
    """Return how many customers are to be scored on the day and with the cut-off of `night`.

    Raises
    ------
    ScoringError
        If there is none, or not exactly one row of features for each.
    """
    row = source.execute(_COUNT_QUERY, [night.as_of_date, night.known_as_of]).fetchone()
    rows, with_features, customers = (int(str(count)) for count in row or (0, 0, 0))
    if customers == 0 or not rows == with_features == customers:
        raise ScoringError(
            f"Expected one feature row for each eligible customer of {night.as_of_date} known as of "
            f"{night.known_as_of.isoformat()}, and at least one customer; found {customers} eligible "
            "customers, "
            f"{rows} rows of them, {with_features} with features. Rebuild the features with dbt and retry."
        )
    return customers


def read_customers(source: Connection, night: Run, model: LoadedModel) -> Generator[pa.Table]:
    """Yield the eligible customers of `night` with their features, a chunk ahead; close it when done."""
    with closing(_read_chunks(source, night, model)) as chunks, closing(read_ahead(chunks)) as ahead:
        yield from ahead


def read_features(chunk: pa.Table, model: LoadedModel) -> tuple[IntArray, pa.Table, pd.DataFrame]:
    """Return the fold of each customer, their features as read, and as the pipelines read them."""
    folds = pa.compute.fill_null(chunk.column("fold"), NOT_TRAINED_ON).to_numpy()
    features = chunk.select(model.contract.names)
    return folds, features, model.contract.to_frame(features)


def check_probabilities(predictions: Predictions, model: LoadedModel) -> None:
    """Raise a ScoringError where a prediction is no probability."""
    for name in ("raw", "calibrated"):
        found = getattr(predictions, name)
        is_probability = (found >= 0) & (found <= 1)
        if not is_probability.all():
            bad = int(np.sum(~is_probability))
            raise ScoringError(
                f"Expected {name} probabilities between 0 and 1, found {bad} of {len(found)} that are not "
                f"(NaN counts). {model.model_version} cannot score these features: promote another version."
            )


def write_tables(target: Connection, copy: Composed, tables: Iterable[pa.Table]) -> int:
    """Send `tables` by the statement `copy`, each while the next one is made; return their rows."""
    writing: list[Future[int]] = []
    with open_copy_in(target, copy) as sink, ThreadPoolExecutor(1, "write-scores") as writer:
        written = 0
        for table in tables:
            written += sum(sent.result() for sent in writing)
            writing = [writer.submit(_send, sink, table)]
        return written + sum(sent.result() for sent in writing)


def _read_chunks(source: Connection, night: Run, model: LoadedModel) -> Generator[pa.Table]:
    contract = model.contract
    return stream_tables(
        source,
        _QUERY.format(columns=contract.select_list("customer_features")),
        [model.model_version, night.as_of_date, night.known_as_of],
        _OWN_TYPES | contract.arrow_types,
        _ROWS_PER_CHUNK,
    )


def _send(sink: ByteSink, table: pa.Table) -> int:
    content = io.BytesIO()
    pyarrow.csv.write_csv(table, content, pyarrow.csv.WriteOptions(include_header=False))
    sink.write(content.getvalue())
    return int(table.num_rows)
