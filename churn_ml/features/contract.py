"""The feature contract: which columns a model reads, of which type, in which order.

dbt writes one row per feature to ``features.feature_contract``. A contract holds the columns that
may enter a model; everything else is left out (sensitive, tenure proxies) or refused (outcome-coded).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa

from churn_ml.declarations import Dataset
from churn_ml.errors import FeatureContractError
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.sql import SQL, Composed, Identifier


class Kind(StrEnum):
    """How a model treats a column."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"


_ARROW_TYPES: dict[str, tuple[Kind, pa.DataType]] = {
    "smallint": (Kind.NUMERIC, pa.int32()),
    "integer": (Kind.NUMERIC, pa.int32()),
    "bigint": (Kind.NUMERIC, pa.int64()),
    "real": (Kind.NUMERIC, pa.float64()),
    "double precision": (Kind.NUMERIC, pa.float64()),
    "numeric": (Kind.NUMERIC, pa.float64()),
    "text": (Kind.CATEGORICAL, pa.dictionary(pa.int32(), pa.string())),
    "character varying": (Kind.CATEGORICAL, pa.dictionary(pa.int32(), pa.string())),
    "boolean": (Kind.BOOLEAN, pa.bool_()),
}
_NEVER_IN_A_MODEL = {"outcome_coded", "tenure_proxy"}
# Words that only an outcome carries: a column named with one of them was written after the fact.
_OUTCOME_WORDS = re.compile(
    r"(^|_)(churn|churned|exited|complain|complaint|attrition|cancell?ation_reason)(_|$)"
)


@dataclass(frozen=True)
class FeatureColumn:
    """One column of ``features.customer_features`` that models may read.

    `feature_window` is the span of time that the value looks back on, `unit` what it counts;
    `is_actionable` tells whether the business can change the value, which is no part of what a model
    relies on.
    """

    name: str
    data_type: str
    feature_window: str | None
    unit: str | None
    is_actionable: bool = field(default=False, compare=False)

    @property
    def kind(self) -> Kind:
        """Whether models treat the column as a number, a category or a boolean."""
        return _ARROW_TYPES[self.data_type][0]

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type that the column is read as."""
        return _ARROW_TYPES[self.data_type][1]


@dataclass(frozen=True)
class FeatureContract:
    """The columns of a model in their order."""

    columns: tuple[FeatureColumn, ...]

    @cached_property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @cached_property
    def arrow_types(self) -> dict[str, pa.DataType]:
        """Arrow type of each column, for readers that must not infer."""
        return {column.name: column.arrow_type for column in self.columns}

    def names_of(self, kind: Kind) -> list[str]:
        """Return the names of the columns of `kind` in order."""
        return [column.name for column in self.columns if column.kind is kind]

    def select_list(self, table_alias: str) -> Composed:
        """Return the columns as a SQL list, each qualified by `table_alias`."""
        return SQL(", ").join(Identifier(table_alias, name) for name in self.names)

    def check(self, data: pd.DataFrame | pa.Table | pa.RecordBatch) -> None:
        """Refuse `data` unless it has exactly the columns of the contract, each of its kind.

        The order of the columns does not matter; an all-null column of no type is accepted.

        Raises
        ------
        FeatureContractError
            If a column is missing, extra, doubled or of another kind; the message names each.
        """
        schema = _schema(data)
        found = {name: schema.field(name).type for name in set(schema.names) if schema.names.count(name) == 1}
        doubled = sorted(set(schema.names) - set(found))
        problems = [f"{name}: present more than once" for name in doubled]
        problems += [f"{name}: missing" for name in self.names if name not in schema.names]
        problems += [f"{name}: not in the contract" for name in schema.names if name not in self.arrow_types]
        problems += [
            f"{column.name}: expected {column.kind} ({column.data_type}), found {found[column.name]}"
            for column in self.columns
            if column.name in found and not _is_of_kind(found[column.name], column.kind)
        ]
        if problems:
            raise FeatureContractError(
                f"Expected the {len(self.columns)} columns of the feature contract, found: "
                f"{'; '.join(problems)}. "
                "Rebuild the features with dbt, or train a model on the columns that are there."
            )

    def to_frame(self, data: pd.DataFrame | pa.Table | pa.RecordBatch) -> pd.DataFrame:
        """Check `data` and return what the pipelines read, in the contract's order.

        Numbers and booleans become float64 (booleans 0 and 1), text becomes categories; a missing
        value stays missing (NaN), the fitted pipelines know what to do with it.
        """
        self.check(data)
        table = _to_arrow(data)
        return pd.DataFrame(
            {
                column.name: _to_model_values(table.column(column.name), column.kind)
                for column in self.columns
            },
            copy=False,
        )

    def check_against(self, current: "FeatureContract") -> None:
        """Refuse unless `current` has the same columns with the same types, windows and units.

        Raises
        ------
        FeatureContractError
            The message names each column that differs.
        """
        mine = {column.name: column for column in self.columns}
        theirs = {column.name: column for column in current.columns}
        problems = [f"{name}: missing" for name in mine if name not in theirs]
        problems += [f"{name}: unknown to the model" for name in theirs if name not in mine]
        problems += [
            f"{name}: expected {_describe(mine[name])}, found {_describe(theirs[name])}"
            for name in mine
            if name in theirs and mine[name] != theirs[name]
        ]
        if problems:
            raise FeatureContractError(
                "Expected features.feature_contract to hold the columns that the model was trained on, "
                "found: "
                f"{'; '.join(problems)}. Bring the feature models back, or train and promote a model on "
                "the new columns."
            )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the contract as the JSON that ``ml.model_versions`` keeps."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, content: Sequence[Mapping[str, Any]]) -> "FeatureContract":
        """Rebuild a contract from `to_json`."""
        return cls(tuple(FeatureColumn(**column) for column in content))


def read_contract(connection: Connection, dataset: Dataset) -> FeatureContract:
    """Read ``features.feature_contract`` and keep what `dataset` lets into its models.

    Raises
    ------
    FeatureContractError
        If the table is empty, holds a type no model reads, calls an outcome-coded name safe, or if
        the declaration lets in a sensitive column that is not there.
    """
    rows = connection.execute(
        "select feature_name, data_type, feature_window, unit, sensitivity, leakage_class,"
        " is_actionable from features.feature_contract order by position, feature_name"
    ).fetchall()
    if not rows:
        raise FeatureContractError(
            "Expected one row per feature in features.feature_contract, found none. Build the features "
            "with dbt."
        )
    let_in = {feature.column for feature in dataset.sensitive_features}
    _check_let_in(let_in, {str(row[0]) for row in rows if row[4] == "sensitive"}, dataset.dataset)
    kept = [
        _column(row)
        for row in rows
        if row[5] not in _NEVER_IN_A_MODEL and (row[4] == "none" or row[0] in let_in)
    ]
    return FeatureContract(tuple(kept))


def _check_let_in(let_in: set[str], sensitive: set[str], dataset: str) -> None:
    unknown = sorted(let_in - sensitive)
    if unknown:
        raise FeatureContractError(
            f"Expected sensitive_features of datasets/{dataset}.yml to name sensitive columns of the "
            "contract "
            f"({', '.join(sorted(sensitive)) or 'none'}), found: {', '.join(unknown)}. Correct the "
            "declaration."
        )


def _column(row: tuple[object, ...]) -> FeatureColumn:
    name, data_type, window, unit, _, leakage_class, is_actionable = row
    if leakage_class != "safe":
        raise FeatureContractError(
            f"Expected leakage_class safe, outcome_coded or tenure_proxy for {name}, found "
            f"{leakage_class!r}. "
            "Correct the column's meta in dbt."
        )
    if _OUTCOME_WORDS.search(str(name)):
        raise FeatureContractError(
            f"Expected no outcome among the features, found {name}: a column of that name is written after "
            "the "
            "customer has left. Remove it from customer_features, or class it outcome_coded."
        )
    if data_type not in _ARROW_TYPES:
        raise FeatureContractError(
            f"Expected a type that models read ({', '.join(_ARROW_TYPES)}) for {name}, found {data_type}. "
            "Cast the column in customer_features."
        )
    return FeatureColumn(
        str(name),
        str(data_type),
        None if window is None else str(window),
        None if unit is None else str(unit),
        bool(is_actionable),
    )


def _describe(column: FeatureColumn) -> str:
    return f"{column.data_type} (window {column.feature_window}, unit {column.unit})"


def _schema(data: pd.DataFrame | pa.Table | pa.RecordBatch) -> pa.Schema:
    if isinstance(data, pd.DataFrame):
        return pa.schema([(str(name), _pandas_type(data.iloc[:, i])) for i, name in enumerate(data.columns)])
    return data.schema


def _pandas_type(column: "pd.Series[Any]") -> pa.DataType:
    try:
        return pa.Array.from_pandas(column).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a column of mixed Python objects
        return pa.binary()


def _to_arrow(data: pd.DataFrame | pa.Table | pa.RecordBatch) -> pa.Table:
    if isinstance(data, pd.DataFrame):
        return pa.Table.from_pandas(data, preserve_index=False)
    return pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data


def _is_of_kind(found: pa.DataType, kind: Kind) -> bool:
    if pa.types.is_null(found):
        return True
    if kind is Kind.NUMERIC:
        tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
        return any(test(found) for test in tests)
    if kind is Kind.BOOLEAN:
        return bool(pa.types.is_boolean(found))
    text = found.value_type if pa.types.is_dictionary(found) else found
    return bool(pa.types.is_string(text) or pa.types.is_large_string(text) or pa.types.is_null(text))


def _to_model_values(column: pa.ChunkedArray, kind: Kind) -> Any:
    if kind is Kind.CATEGORICAL:
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        return column.unify_dictionaries().to_pandas().array
    if kind is Kind.BOOLEAN:
        column = column.cast(pa.uint8())
    return column.cast(pa.float64()).to_pandas()
