"""The marts and metrics as Power BI's model needs them, read from what dbt and the seed declare."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from churn_ml.errors import DeclarationError

DataType = Literal["boolean", "dateTime", "decimal", "double", "int64", "string"]

_TYPES: dict[str, DataType] = {
    "bigint": "int64",
    "boolean": "boolean",
    "date": "dateTime",
    "double precision": "double",
    "integer": "int64",
    "smallint": "int64",
    "text": "string",
    "timestamp with time zone": "dateTime",
}
_NUMERIC = re.compile(r"numeric\(\d+, ?(\d+)\)")
# Power BI's fixed decimal has four digits behind the point; what has more would lose them there.
_DIGITS_OF_DECIMAL = 4
_REFERENCE = re.compile(r"marts\.(\w+) \((\w+)\)")
# Labels whose order stands in a column that is worth reading by itself, without `_sort` in its name.
_SORTED_BY_ANOTHER_NAME = {
    "month_label": "month_number",
    "weekday_label": "day_of_week",
    "bucket_label": "bucket_number",
}


@dataclass(frozen=True)
class Column:
    """A column of a mart, with its type in Postgres and in Power BI."""

    name: str
    sql_type: str
    data_type: DataType
    description: str


@dataclass(frozen=True)
class Reference:
    """A column that names one row of a dimension by its integer key."""

    column: str
    to_mart: str
    to_column: str


@dataclass(frozen=True)
class Mart:
    """A relation of schema marts: its columns in order, its single-column keys, what it refers to."""

    name: str
    description: str
    columns: Sequence[Column]
    unique_columns: frozenset[str]
    references: Sequence[Reference]

    def column(self, name: str) -> Column | None:
        """Return the column of that name, None where there is none."""
        return next((column for column in self.columns if column.name == name), None)

    def sort_column(self, label: str) -> str | None:
        """Return the column that holds the place of `label` in order, None where no column does."""
        stem = label.removesuffix("_label")
        candidates = [f"{label}_sort", f"{stem}_sort", _SORTED_BY_ANOTHER_NAME.get(label, "")]
        column = self.column(label)
        if column is None or column.data_type != "string":
            return None
        return next((name for name in candidates if self.column(name)), None)

    def key_to(self, dimension: str) -> Sequence[Reference]:
        """Return what refers to `dimension`."""
        return [reference for reference in self.references if reference.to_mart == dimension]


@dataclass(frozen=True)
class Metric:
    """A row of the seed `metrics`; the fields are the columns of marts.metric_definitions."""

    metric: str
    title: str
    mart: str
    column_name: str
    aggregation: str
    divisor_column: str
    weight_column: str
    filter_column: str
    filter_value: str
    over_dates: str
    low_column: str
    high_column: str
    formula: str
    unit: str
    format: str
    better_is: str
    sort_order: str
    owner: str


def read_marts(declared: Iterable[Mapping[str, Any]]) -> list[Mart]:
    """Turn what dbt declares of the marts into what Power BI is told; views get the keys of tables.

    Postgres holds no foreign key of a view. A column of a view refers to what the columns of that
    name refer to in every table that has one.

    Raises
    ------
    DeclarationError
        If a column has a type that Power BI has no counterpart for, or a reference is not on one key.
    """
    marts = [_read_mart(mart) for mart in sorted(declared, key=lambda mart: str(mart["name"]))]
    meanings: dict[str, set[tuple[str, str]]] = {}
    for reference in (reference for mart in marts for reference in mart.references):
        meanings.setdefault(reference.column, set()).add((reference.to_mart, reference.to_column))
    known = {column: next(iter(ends)) for column, ends in meanings.items() if len(ends) == 1}
    return [mart if mart.references or mart.unique_columns else _like_the_tables(mart, known)
            for mart in marts]  # fmt: skip


def read_metrics(seed: Path) -> list[Metric]:
    """Read the seed of metric definitions in its own order.

    Raises
    ------
    DeclarationError
        If the seed has other columns than those of a metric.
    """
    with seed.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = set(Metric.__dataclass_fields__)
    if not rows or set(rows[0]) != expected:
        raise DeclarationError(
            f"Expected {seed} to have the columns {', '.join(sorted(expected))}, found "
            f"{', '.join(sorted(map(str, rows[0]))) if rows else 'no row'}. Mend the seed, or `Metric`."
        )
    return sorted((Metric(**row) for row in rows), key=lambda metric: int(metric.sort_order))


def power_bi_type(mart: str, column: str, sql_type: str) -> DataType:
    """Return the type in Power BI of a column declared as `sql_type`.

    Raises
    ------
    DeclarationError
        If there is none: nothing is turned into text in silence.
    """
    numeric = _NUMERIC.fullmatch(sql_type)
    if numeric:
        return "decimal" if int(numeric[1]) <= _DIGITS_OF_DECIMAL else "double"
    if sql_type not in _TYPES:
        raise DeclarationError(
            f"Expected {mart}.{column} to have one of the types {', '.join(sorted(_TYPES))} or "
            f"numeric(p,s), found {sql_type!r}. Declare another type in dbt_project/models/marts/{mart}.yml, "
            "or add what Power BI makes of it to churn_ml/bi/power_bi_marts.py."
        )
    return _TYPES[sql_type]


def _read_mart(declared: Mapping[str, Any]) -> Mart:
    name = str(declared["name"])
    constraints = declared["constraints"]
    single = {item["columns"][0] for item in constraints
              if item["type"] in {"primary_key", "unique"} and len(item["columns"]) == 1}  # fmt: skip
    return Mart(
        name=name,
        description=_one_line(declared["description"]),
        columns=tuple(
            Column(
                name=column["name"],
                sql_type=str(column["data_type"]),
                data_type=power_bi_type(name, column["name"], str(column["data_type"])),
                description=_one_line(column["description"]),
            )
            for column in declared["columns"]
        ),
        unique_columns=frozenset(single),
        references=tuple(_read_reference(name, item) for item in constraints
                         if item["type"] == "foreign_key"),
    )  # fmt: skip


def _read_reference(mart: str, constraint: Mapping[str, Any]) -> Reference:
    found = _REFERENCE.match(constraint["expression"] or "")
    if not found or len(constraint["columns"]) != 1:
        raise DeclarationError(
            f"Expected a foreign key of {mart} to be on one column and to read `marts.<mart> (<key>)`, found "
            f"{constraint['columns']} and {constraint['expression']!r}: Power BI relates on single columns."
        )
    return Reference(column=constraint["columns"][0], to_mart=found[1], to_column=found[2])


def _like_the_tables(view: Mart, known: Mapping[str, tuple[str, str]]) -> Mart:
    references = tuple(
        Reference(column.name, *known[column.name]) for column in view.columns if column.name in known
    )
    return Mart(view.name, view.description, view.columns, view.unique_columns, references)


def _one_line(text: str) -> str:
    return " ".join(text.split())
