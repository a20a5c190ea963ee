"""Questions to the marts: one file of SQL each, run as ``bi_reader``.

Only aggregates and the first rows of a list leave Postgres. An answer is kept under the question, its
parameters and the published runs that it was read from: what is published or taken back is seen at once.
"""

from collections.abc import Hashable, Mapping
from contextvars import ContextVar
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from churn_ml.errors import WarehouseError
from churn_ml.settings import Settings, load_settings
from churn_ml.warehouse.connection import DatabaseError, Role, UndefinedColumn, UndefinedTable, connect

Parameter = int | float | str | bool | date | datetime | tuple[Any, ...] | None

QUESTIONS = Path(__file__).with_name("questions")

# Postgres' numbers for its types: smallint, integer, bigint; real, double precision, numeric.
_WHOLE_NUMBERS = {21, 23, 20}
_NUMBERS = _WHOLE_NUMBERS | {700, 701, 1700}

# What the running page may see: set once per page run by `nights.published_nights`.
_publications: ContextVar[tuple[int, ...] | None] = ContextVar("publications", default=None)


def ask(name: str, **parameters: Parameter) -> pd.DataFrame:
    """Return the answer to ``questions/<name>.sql``, one row per row of Postgres.

    Parameters
    ----------
    name
        File name without its ending.
    parameters
        What the SQL names as ``%(parameter)s``; a tuple is given as an array.

    Returns
    -------
    pandas.DataFrame
        Numbers as int64 or float64 (whole numbers too where one is null; null is NaN), everything else as
        psycopg gives it (dates as ``datetime.date``; null is None).

    Raises
    ------
    WarehouseError
        If Postgres does not answer in time, or lacks what the question reads.
    """
    seen = _publications.get()
    return _answer(name, tuple(sorted(parameters.items())), note_publications() if seen is None else seen,
                   _warehouse())  # fmt: skip


def note_publications(keys: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Keep for this page run which published runs there are, newest first; read them where not given."""
    if keys is None:
        keys = tuple(int(key) for key in read("published_nights")["scoring_run_key"])
    _publications.set(keys)
    return keys


def read(name: str, parameters: Mapping[str, Parameter] | None = None) -> pd.DataFrame:
    """Ask Postgres now, whatever is kept; for what changes without a publication."""
    values = {key: list(value) if isinstance(value, tuple) else value
              for key, value in (parameters or {}).items()}  # fmt: skip
    with connect(_settings(), Role.READER) as reader:
        try:
            cursor = reader.execute(question(name).encode(), values)
        except (UndefinedTable, UndefinedColumn) as error:
            raise WarehouseError(
                f"Expected what {name}.sql reads in schema marts, found: {_first_line(error)}. Older code "
                "built these marts: run `churn-ml warehouse migrate`, then `churn-ml night`."
            ) from None
        except DatabaseError as error:
            raise WarehouseError(
                f"Expected an answer to {name}.sql from Postgres, found: {_first_line(error)}. "
                "Run `churn-ml status`."
            ) from None
        columns = cursor.description or []
        rows = cursor.fetchall()
    return pd.DataFrame(
        {column.name: _series([row[n] for row in rows], column.type_code) for n, column in enumerate(columns)}
    )


@lru_cache(maxsize=256)
def question(name: str) -> str:
    """Return the SQL of a question."""
    return (QUESTIONS / f"{name}.sql").read_text(encoding="utf-8")


# An hour: what a page has shown of customers is not kept in memory for longer.
@st.cache_data(ttl=3600, max_entries=500, show_spinner=False)
def _answer(
    name: str,
    parameters: tuple[tuple[str, Hashable], ...],
    publications: tuple[int, ...],  # noqa: ARG001 - part of what an answer is kept under
    warehouse: str,  # noqa: ARG001 - the same
) -> pd.DataFrame:
    return read(name, dict(parameters))  # type: ignore[arg-type]


def _settings() -> Settings:
    return load_settings()


def _warehouse() -> str:
    settings = _settings()
    return f"{settings.home}/{settings.warehouse_database}"


def _series(values: list[Any], type_code: int) -> pd.Series:
    if type_code not in _NUMBERS:
        return pd.Series(values, dtype=object)
    if type_code in _WHOLE_NUMBERS and None not in values:
        return pd.Series(values, dtype="int64")
    return pd.Series([None if value is None else float(value) for value in values], dtype="float64")


def _first_line(error: DatabaseError) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
