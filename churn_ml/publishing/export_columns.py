"""The columns of a mart: which there are, and what each becomes in a file with types."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_ml.errors import PublishingError
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.sql import SQL, Composed, Identifier, Literal

if TYPE_CHECKING:
    import pyarrow as pa

_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_WIDEST_DECIMAL = (38, 12)
_FORMULA = r"^[=+\-@\t\r]"


@dataclass(frozen=True)
class Column:
    """One column of a mart; `data_type` as Postgres writes it, say ``numeric(18,2)``."""

    name: str
    data_type: str

    def expression(self, escape_formulas: bool) -> Composed:
        """Return the column as it is selected from ``mart``, under its own name."""
        column: Composed = SQL("{}").format(Identifier("mart", self.name))
        if self.data_type == "numeric":
            column = SQL("{}::numeric({}, {})").format(column, *map(Literal, _WIDEST_DECIMAL))
        elif escape_formulas and self.data_type in {"text", "character varying"}:
            column = SQL("case when {0} ~ {1} then '''' || {0} else {0} end").format(
                column, Literal(_FORMULA)
            )
        return SQL("{} as {}").format(column, Identifier(self.name))

    def arrow_type(self) -> "pa.DataType":
        """Return the Arrow type that holds the column without loss; other than known types are text."""
        import pyarrow as pa

        plain = {
            "boolean": pa.bool_(),
            "smallint": pa.int16(),
            "integer": pa.int32(),
            "bigint": pa.int64(),
            "real": pa.float32(),
            "double precision": pa.float64(),
            "date": pa.date32(),
            "timestamp without time zone": pa.timestamp("us"),
            "timestamp with time zone": pa.timestamp("us", tz="UTC"),
            "numeric": pa.decimal128(*_WIDEST_DECIMAL),
        }
        if match := _NUMERIC.fullmatch(self.data_type):
            return pa.decimal128(int(match[1]), int(match[2]))
        return plain.get(self.data_type, pa.string())


def read_columns(reader: Connection, mart: str, chosen: Sequence[str]) -> tuple[Column, ...]:
    """Return the `chosen` columns of `mart` in that order, or all of them.

    Raises
    ------
    PublishingError
        If there is no such mart or column; the message names those there are.
    """
    rows = reader.execute(
        "select relname, attname, format_type(atttypid, atttypmod)"
        " from pg_class join pg_attribute on attrelid = pg_class.oid"
        " where relnamespace = 'marts'::regnamespace and relkind in ('r', 'p', 'v')"
        " and attnum > 0 and not attisdropped and has_table_privilege(pg_class.oid, 'select')"
        " order by relname, attnum"
    ).fetchall()
    columns = {name: Column(name, data_type) for table, name, data_type in rows if table == mart}
    if not columns:
        marts = ", ".join(sorted({str(table) for table, _, _ in rows}))
        raise PublishingError(f"Expected one of the marts {marts or '(none is built yet)'}, found {mart!r}.")
    unknown = [name for name in chosen if name not in columns]
    if unknown or len(set(chosen)) < len(chosen):
        raise PublishingError(
            f"Expected columns of marts.{mart}, each once, found {', '.join(unknown or chosen)}. "
            f"There are: {', '.join(columns)}."
        )
    return tuple(columns[name] for name in chosen) if chosen else tuple(columns.values())
