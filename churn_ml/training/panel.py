"""The rows a model learns from: labelled customers of one as-of date and cut-off."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from churn_ml.declarations import Dataset
from churn_ml.errors import TrainingError
from churn_ml.features.contract import FeatureColumn, FeatureContract, Kind, read_contract
from churn_ml.features.stream import read_table
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run
from churn_ml.warehouse.sql import SQL, Composed, Identifier

LEAST_ROWS = 300
LEAST_OF_EACH_OUTCOME = 50
ATTRIBUTES = ("segment", "region", "plan", "contract", "tenure_group")

_BANDS = 4
_OWN_TYPES = {
    "customer_id": pa.string(),
    "fold": pa.int16(),
    "churned": pa.bool_(),
    "monthly_value_amount": pa.float64(),
}
# A customer whose outcome is not known is no stayer: they are left out here, once.
_QUERY = SQL(
    """
    select
        customer_features.customer_id,
        ml.customer_fold(customer_features.customer_id, %s, %s) as fold,
        customer_labels.churned,
        case
            when customer_values.value_status = 'known' then customer_values.monthly_value_amount
        end as monthly_value_amount,
        {columns}
    from features.customer_features
    join features.customer_population using (customer_id, as_of_date, known_as_of)
    join features.customer_labels using (customer_id, as_of_date, known_as_of)
    left join features.customer_values using (customer_id, as_of_date, known_as_of)
    left join features.customer_attributes using (customer_id, as_of_date, known_as_of)
    where as_of_date = %s and known_as_of = %s
        and customer_labels.label_definition = %s
        and customer_labels.churned is not null
    order by customer_features.customer_id collate "C"
    """
)


@dataclass(frozen=True)
class LabelledRows:
    """What the pipelines read, and what is known beside it; one entry per row in each.

    `monthly_values` is NaN where the value is not known. `attributes` (what the business slices by) and
    `sensitive` (sensitive columns of the contract that models do not read; numbers in quarters) hold
    categories, missing where not known.
    """

    contract: FeatureContract
    customer_ids: pa.ChunkedArray
    frame: pd.DataFrame
    churned: npt.NDArray[np.bool_]
    monthly_values: npt.NDArray[np.float64]
    attributes: pd.DataFrame
    sensitive: pd.DataFrame

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return len(self.frame)


@dataclass(frozen=True)
class Panel(LabelledRows):
    """Labelled customers, one row each; `folds` is a seeded hash of the customer.

    Raises
    ------
    TrainingError
        If a customer has several rows: those of dated datasets are never split by customer fold.
    """

    folds: npt.NDArray[np.int16]

    def __post_init__(self) -> None:
        customer_count = len(self.customer_ids.unique())
        if customer_count != len(self.frame):
            raise TrainingError(
                f"Expected one row per customer, found {len(self.frame)} rows of {customer_count} customers: "
                "rows of several as-of dates are split forward in time, never by customer fold. Use "
                "churn_ml.training.dated_panel.read_dated_panel and ForwardFolds."
            )


@dataclass(frozen=True)
class PanelColumns:
    """Which columns a panel reads: those of the contract, the attributes and the sensitive ones."""

    contract: FeatureContract
    sensitive: FeatureContract

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Arrow type of each column, under the names of `select_list`."""
        text = pa.dictionary(pa.int32(), pa.string())
        return (
            self.contract.arrow_types
            | {f"attribute_{name}": text for name in ATTRIBUTES}
            | {f"sensitive_{name}": kind for name, kind in self.sensitive.arrow_types.items()}
        )

    def select_list(self) -> Composed:
        """Return the columns of ``customer_features`` and ``customer_attributes`` as a SQL list."""
        beside = [("customer_attributes", name, f"attribute_{name}") for name in ATTRIBUTES]
        beside += [("customer_features", name, f"sensitive_{name}") for name in self.sensitive.names]
        columns = [
            SQL("{} as {}").format(Identifier(table, name), Identifier(alias))
            for table, name, alias in beside
        ]
        return SQL(", ").join([self.contract.select_list("customer_features"), *columns])

    def attributes(self, table: pa.Table) -> pd.DataFrame:
        """Return the attributes as categories."""
        return pd.DataFrame({name: table.column(f"attribute_{name}").to_pandas() for name in ATTRIBUTES})

    def groups(self, table: pa.Table) -> pd.DataFrame:
        """Return the sensitive columns as categories; numbers as the quarter they fall into."""
        values = self.sensitive.to_frame(
            table.select([f"sensitive_{name}" for name in self.sensitive.names]).rename_columns(
                self.sensitive.names
            )
        )
        return pd.DataFrame(
            {column.name: _groups(values[column.name], column.kind) for column in self.sensitive.columns},
            index=values.index,
        )


def read_columns(connection: Connection, dataset: Dataset) -> PanelColumns:
    """Read the contract of `dataset` and the sensitive columns that it keeps out of its models."""
    contract = read_contract(connection, dataset)
    rows = connection.execute(
        "select feature_name, data_type from features.feature_contract"
        " where sensitivity = 'sensitive' and leakage_class = 'safe' and feature_name <> all(%s)"
        " order by position, feature_name",
        [contract.names],
    ).fetchall()
    sensitive = FeatureContract(tuple(FeatureColumn(name, kind, None, None) for name, kind in rows))
    return PanelColumns(contract, sensitive)


def read_panel(settings: Settings, dataset: Dataset, run: Run, seed: int, fold_count: int) -> Panel:
    """Read the labelled customers of the run's as-of date and cut-off.

    Raises
    ------
    TrainingError
        If the dataset is dated, or there are too few of them to learn from; the message holds the
        counts.
    """
    if dataset.kind != "snapshot":
        raise TrainingError(
            f"Expected a snapshot dataset, found {dataset.dataset!r} of kind {dataset.kind!r}: its rows have "
            "many as-of dates. Use churn_ml.training.dated_panel.read_dated_panel."
        )
    with connect(settings, Role.TRAINER) as trainer:
        columns = read_columns(trainer, dataset)
        table = read_table(
            trainer,
            _QUERY.format(columns=columns.select_list()),
            [seed, fold_count, run.as_of_date, run.known_as_of, dataset.label_definition],
            _OWN_TYPES | columns.types,
        )
    panel = Panel(
        contract=columns.contract,
        customer_ids=table.column("customer_id"),
        frame=columns.contract.to_frame(table.select(columns.contract.names)),
        churned=table.column("churned").to_numpy(),
        monthly_values=table.column("monthly_value_amount").to_numpy(),
        attributes=columns.attributes(table),
        sensitive=columns.groups(table),
        folds=table.column("fold").to_numpy(),
    )
    _check_enough(panel, run, dataset.label_definition, fold_count)
    _check_known_values(panel, fold_count)
    return panel


def _groups(values: "pd.Series[Any]", kind: Kind) -> "pd.Series[Any]":
    if kind is Kind.CATEGORICAL:
        return values
    if kind is Kind.BOOLEAN:
        return values.map({0.0: "false", 1.0: "true"}).astype("category")
    bands = pd.qcut(values, _BANDS, duplicates="drop")
    return bands.cat.rename_categories(
        [f"{band.left:.15g} to {band.right:.15g}" for band in bands.cat.categories]
    )


def _check_enough(panel: Panel, run: Run, label_definition: str, fold_count: int) -> None:
    churned = int(panel.churned.sum())
    stayed = panel.row_count - churned
    folds = len(np.unique(panel.folds))
    if (
        panel.row_count >= LEAST_ROWS
        and min(churned, stayed) >= LEAST_OF_EACH_OUTCOME
        and folds == fold_count
    ):
        return
    raise TrainingError(
        f"Expected at least {LEAST_ROWS} labelled customers, {LEAST_OF_EACH_OUTCOME} of them churned and "
        f"{LEAST_OF_EACH_OUTCOME} stayed, in {fold_count} folds; found {panel.row_count} rows, {churned} "
        "churned, "
        f"{stayed} stayed, {folds} folds for {run.as_of_date} known as of {run.known_as_of.isoformat()} "
        f"(label {label_definition}). Land more history, or check features.customer_labels."
    )


def _check_known_values(panel: Panel, fold_count: int) -> None:
    for fold in range(fold_count):
        known = panel.frame[panel.folds != fold].notna().any()
        if not known.all():
            raise TrainingError(
                "Expected every feature to have a known value among the training rows, found none in: "
                f"{', '.join(known.index[~known])}. Take the column out of customer_features, or mend its "
                "source."
            )
