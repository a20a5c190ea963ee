"""The header of a file against the columns its entity declares."""

import csv
import difflib
from collections.abc import Sequence

from churn_ml.declarations import Entity
from churn_ml.errors import LandingError

_OTHER_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


def read_header(line: str, file_name: str, entity_name: str, entity: Entity) -> list[str]:
    """Split a header line and return its columns, which are exactly the declared ones in any order.

    Raises
    ------
    LandingError
        If the delimiter is another one, or a column is missing, extra, renamed or doubled.
    """
    columns = _split(line, entity.delimiter)
    if len(set(columns) & set(entity.columns)) < len(entity.columns):
        _refuse_other_delimiter(line, file_name, entity_name, entity)
    check_columns(columns, file_name, entity_name, entity)
    return columns


def check_columns(columns: Sequence[str], file_name: str, entity_name: str, entity: Entity) -> None:
    """Raise a `LandingError` that names every column that is missing, extra or doubled."""
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    missing = [name for name in entity.columns if name not in columns]
    extra = [name for name in dict.fromkeys(columns) if name not in entity.columns]
    problems = [f"{name!r} more than once" for name in doubled]
    problems += [f"no {name!r}{_suggest(name, extra)}" for name in missing]
    problems += [f"{name!r}, which is not declared" for name in extra]
    if problems:
        raise LandingError(
            f"{file_name}: expected the {len(entity.columns)} declared columns of {entity_name}, "
            f"found {'; '.join(problems)}. Correct the header, or declare the columns in the dataset's YAML "
            "file and run `churn-ml up`. Nothing of the file was stored."
        )


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return [line]


def _refuse_other_delimiter(line: str, file_name: str, entity_name: str, entity: Entity) -> None:
    declared = set(entity.columns)
    found = {
        delimiter: len(declared & set(_split(line, delimiter)))
        for delimiter in dict.fromkeys([entity.delimiter, *_OTHER_DELIMITERS])
    }
    likely = max(found, key=lambda delimiter: found[delimiter])
    if found[likely] > found[entity.delimiter]:
        raise LandingError(
            f"{file_name}: expected columns separated by {_name(entity.delimiter)}, found "
            f"{_name(likely)}. Declare delimiter: {likely!r} for {entity_name} in the dataset's YAML file, "
            f"or deliver the file with {_name(entity.delimiter)}. Nothing of the file was stored."
        )


def _name(delimiter: str) -> str:
    return f"{_OTHER_DELIMITERS.get(delimiter, 'the character')} ({delimiter!r})"


def _suggest(name: str, candidates: list[str]) -> str:
    folded = {candidate.strip().casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f" (is {folded[close[0]]!r} meant?)" if close else ""
