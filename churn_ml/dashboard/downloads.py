"""Rows as a file to take along: CSV in UTF-8, read row by row as ``bi_reader``."""

import csv
import io
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from churn_ml.dashboard.asking import Parameter, question
from churn_ml.settings import load_settings
from churn_ml.warehouse.connection import Role, connect

MOST_ROWS = 50_000
"""Rows that one file holds at most; `churn-ml export` has no limit."""

_ROWS_AT_ONCE = 2_000
# What a spreadsheet takes for a formula; `churn-ml export --escape-formulas` does the same.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_file(name: str, parameters: Mapping[str, Parameter], without: Iterable[str] = ()) -> bytes:
    """Return the answer to ``questions/<name>.sql`` as the bytes of a file, less the columns `without`.

    Numbers are plain; text that a spreadsheet would take for a formula begins with an apostrophe; what
    is not known is empty.
    """
    dropped = set(without)
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items()}
    text = io.StringIO(newline="")
    with connect(load_settings(), Role.READER) as reader, reader.cursor(name="download") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute(question(name).encode(), values)
        columns = [column.name for column in cursor.description or ()]
        kept = [place for place, column in enumerate(columns) if column not in dropped]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([columns[place] for place in kept])
        for row in cursor:
            writer.writerow([_plain(row[place]) for place in kept])
    return text.getvalue().encode()


def _plain(value: Any) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
    return f"{value:f}" if isinstance(value, Decimal) else value
