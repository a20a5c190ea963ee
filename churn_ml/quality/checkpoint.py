"""One Great Expectations checkpoint, run from the project's files, as plain rows.

Importing Great Expectations takes seconds, so it happens when a checkpoint is loaded.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from churn_ml.errors import SettingsError
from churn_ml.warehouse.sql import URL, SQLAlchemyError

if TYPE_CHECKING:
    from great_expectations import Checkpoint, RunIdentifier
    from great_expectations.data_context import FileDataContext

log = logging.getLogger(__name__)

_LONGEST_TEXT = 300
_MOST_KEYS = 20
_KEY_COLUMNS = ("run_id", "customer_id", "as_of_date")
_LIMITS = ("value", "min_value", "max_value", "mostly")


Verdict = Literal["pass", "fail", "error"]


@dataclass(frozen=True)
class Check:
    """What one expectation found; holds counts and bounds, never a value of a customer."""

    suite: str
    name: str
    table: str
    column: str | None
    severity: Literal["block", "warn"]
    verdict: Verdict
    expected: str
    observed: str
    failing_count: int | None
    owner: str
    reason: str
    threshold: str | None = None
    sample_keys: str | None = None

    def __str__(self) -> str:
        return f"{self.name} on {self.table}: expected {self.expected}, found {self.observed}"


def run_checkpoint(
    folder: Path, name: str, url: URL, output: Path, *, run_id: str, checked_at: datetime
) -> list[Check]:
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
    run_id, checked_at
        Name the results and pages of this attempt; `churn_ml.quality.index` links by them.

    Raises
    ------
    SettingsError
        If the files do not load, or a suite of the checkpoint holds no expectation.
    """
    values = {"CHURN_GX_URL": url.render_as_string(hide_password=False), "CHURN_GX_OUTPUT": str(output)}
    with _quiet_library():
        context, checkpoint = _load(folder, name, values, url)
        try:
            result = checkpoint.run(run_id=_identify(run_id, checked_at))
        except SQLAlchemyError as error:
            return _give_up(checkpoint, _first_line(str(error), url))
        finally:
            _close_connections(context)
    return [check for suite_result in result.run_results.values() for check in _read_suite(suite_result, url)]


def _load(
    folder: Path, name: str, values: dict[str, str], url: URL
) -> tuple["FileDataContext", "Checkpoint"]:
    import great_expectations
    from great_expectations.exceptions import GreatExpectationsError

    try:
        context = great_expectations.get_context(
            mode="file", context_root_dir=str(folder), runtime_environment=values
        )
        checkpoint = context.checkpoints.get(name)
    except (GreatExpectationsError, ValueError) as error:
        raise SettingsError(
            f"Expected checkpoint {name!r} to load from {folder}, found: {_hide_password(str(error), url)}. "
            "Correct the named file; the README.md beside it says how the files hang together."
        ) from None
    _require_expectations(checkpoint)
    return context, checkpoint


def _identify(run_id: str, checked_at: datetime) -> "RunIdentifier":
    from great_expectations import RunIdentifier

    return RunIdentifier(run_name=run_id, run_time=checked_at)


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


def _close_connections(context: "FileDataContext") -> None:
    for source in context.data_sources.all().values():
        source.get_execution_engine().close()


def _require_expectations(checkpoint: "Checkpoint") -> None:
    empty = [item.suite.name for item in checkpoint.validation_definitions if not item.suite.expectations]
    if empty:
        raise SettingsError(
            f"Expected expectations in every suite of checkpoint {checkpoint.name!r}, found none in "
            f"{', '.join(empty)}: nothing would be checked. Add expectations, or take the suite out."
        )


def _give_up(checkpoint: "Checkpoint", message: str) -> list[Check]:
    """Mark every check as an error: one query failed, and the library then reports on none."""
    return [
        _read_configuration(
            item.suite.name, expectation.configuration, "error", f"not evaluated: {message}", None
        )
        for item in checkpoint.validation_definitions
        for expectation in item.suite.expectations
    ]


def _read_suite(suite_result: Any, url: URL) -> list[Check]:
    return [_read_result(suite_result.suite_name, result, url) for result in suite_result.results]


def _read_result(suite: str, result: Any, url: URL) -> Check:
    exception = _first_exception(result.exception_info)
    if exception:
        message = _first_line(exception, url)
        return _read_configuration(suite, result.expectation_config, "error", message, None)
    details = result.result or {}
    verdict: Verdict = "pass" if result.success else "fail"
    count = _failing_count(details, bool(result.success))
    check = _read_configuration(suite, result.expectation_config, verdict, _observed(details), count)
    return replace(check, sample_keys=_sample_keys(details))


def _read_configuration(
    suite: str, configuration: Any, verdict: Verdict, observed: str, failing_count: int | None
) -> Check:
    meta = configuration.meta
    return Check(
        suite=suite,
        name=meta["check"],
        table=meta["table"],
        column=configuration.kwargs.get("column"),
        severity=meta["severity"],
        verdict=verdict,
        expected=configuration.description,
        observed=observed,
        failing_count=failing_count,
        owner=meta["owner"],
        reason=meta["reason"],
        threshold=_threshold(configuration.kwargs),
    )


def _threshold(limits: dict[str, Any]) -> str | None:
    """Return the figures that the value is held against; None for an expectation without any."""
    found = [f"{name} {limits[name]}" for name in _LIMITS if limits.get(name) is not None]
    return ", ".join(found) or None


def _sample_keys(details: dict[str, Any]) -> str | None:
    """Return the keys of the first failing rows, where the checkpoint asks for them by column."""
    rows = (details.get("partial_unexpected_index_list") or [])[:_MOST_KEYS]
    named = [", ".join(f"{name} {row[name]}" for name in _KEY_COLUMNS if name in row) for row in rows]
    return "; ".join(filter(None, named)) or None


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


def _first_line(message: str, url: URL) -> str:
    """Cut a database error to its first line: what follows quotes the query."""
    lines = [line for line in message.splitlines() if line.strip()] or [""]
    return _hide_password(lines[0], url)


def _hide_password(message: str, url: URL) -> str:
    return " ".join(message.split()).replace(str(url.password), "***")[:_LONGEST_TEXT]
