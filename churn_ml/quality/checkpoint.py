"""One Great Expectations checkpoint, run from the project's files, as plain rows.

Importing Great Expectations takes seconds, so it happens inside `run_checkpoint`.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy.engine import URL

from churn_ml.errors import SettingsError

if TYPE_CHECKING:
    from great_expectations.data_context import FileDataContext

log = logging.getLogger(__name__)

_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Check:
    """What one expectation found; holds counts and bounds, never a value of a customer."""

    suite: str
    name: str
    table: str
    column: str | None
    severity: Literal["block", "warn"]
    verdict: Literal["pass", "fail", "error"]
    expected: str
    observed: str | None
    failing_count: int | None
    owner: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} on {self.table}: expected {self.expected}, found {self.observed}"


def run_checkpoint(folder: Path, name: str, url: URL, output: Path) -> list[Check]:
    """Run checkpoint `name` of the context in `folder` and return one check per expectation.

    Parameters
    ----------
    folder
        The folder of ``great_expectations.yml``; it is only read.
    name
        The checkpoint, a file in ``checkpoints/``.
    url
        Where the queries run; reaches Great Expectations as a runtime value, never a file.
    output
        Folder for the stored results and for Data Docs.

    Raises
    ------
    SettingsError
        If the files do not load, or a suite of the checkpoint holds no expectation.
    """
    values = {"CHURN_GX_URL": url.render_as_string(hide_password=False), "CHURN_GX_OUTPUT": str(output)}
    with _quiet_library():
        import great_expectations
        from great_expectations.exceptions import GreatExpectationsError

        try:
            context = great_expectations.get_context(
                mode="file", context_root_dir=str(folder), runtime_environment=values
            )
            result = context.checkpoints.get(name).run()
        except (GreatExpectationsError, ValueError) as error:
            raise SettingsError(
                f"Expected checkpoint {name!r} to load from {folder}, found: {_short(str(error), url)}. "
                "Correct the named file; great_expectations/README.md says how they hang together."
            ) from None
        _dispose_engine(context)
    return [check for suite_result in result.run_results.values() for check in _read_suite(suite_result, url)]


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Keep the library's own lines, which may quote data, below errors."""
    library_log = logging.getLogger("great_expectations")
    level = library_log.level
    library_log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        library_log.setLevel(level)


def _dispose_engine(context: "FileDataContext") -> None:
    for source in context.data_sources.all().values():
        source.get_execution_engine().close()


def _read_suite(suite_result: Any, url: URL) -> list[Check]:
    if not suite_result.results:
        raise SettingsError(
            f"Expected expectations in suite {suite_result.suite_name!r}, found none: nothing was checked. "
            "Add expectations to the file, or take the suite out of its checkpoint."
        )
    return [_read_expectation(suite_result.suite_name, result, url) for result in suite_result.results]


def _read_expectation(suite: str, result: Any, url: URL) -> Check:
    configuration = result.expectation_config
    exception = _first_exception(result.exception_info)
    details = result.result or {}
    meta = configuration.meta
    return Check(
        suite=suite,
        name=meta["check"],
        table=meta["table"],
        column=configuration.kwargs.get("column"),
        severity=meta["severity"],
        verdict="error" if exception else "pass" if result.success else "fail",
        expected=configuration.description,
        observed=_short(exception, url) if exception else _observed(details),
        failing_count=None if exception else _failing_count(details, bool(result.success)),
        owner=meta["owner"],
        reason=meta["reason"],
    )


def _first_exception(information: dict[str, Any] | None) -> str | None:
    """Return the message of what was raised; the library nests it by metric or not at all."""
    if not information:
        return None
    entries = [information] if "raised_exception" in information else list(information.values())
    for entry in entries:
        if entry.get("raised_exception"):
            return str(entry.get("exception_message") or "an exception without a message")
    return None


def _observed(details: dict[str, Any]) -> str:
    if "unexpected_count" in details:
        return f"{details['unexpected_count'] or 0} of {details['element_count']} rows do not hold"
    return _number(details.get("observed_value"))


def _number(value: object) -> str:
    """Write a number; anything that is not one could be a customer's data and is not written."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "no value"
    if isinstance(value, float | Decimal) and value != int(value):
        return f"{value:.6g}"
    return str(int(value)) if isinstance(value, int | float | Decimal) else "not a number"


def _failing_count(details: dict[str, Any], succeeded: bool) -> int:
    if "unexpected_count" in details:
        return int(details["unexpected_count"] or 0)
    return 0 if succeeded else 1


def _short(message: str, url: URL) -> str:
    """Cut a message to its first line, without SQL, parameters or the password."""
    lines = [line for line in message.splitlines() if line.strip()] or [""]
    return lines[0].replace(str(url.password), "***")[:_LONGEST_TEXT]
