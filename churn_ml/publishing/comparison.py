"""A repetition's rows against those of the run that it repeats.

``reproduce`` must give the rows that were published then, by hash. ``restate`` may differ: the
difference is what it is made for, and is counted and listed.
"""

import logging
from dataclasses import dataclass, replace
from datetime import date

from churn_ml.errors import PublishingError, ReproductionError
from churn_ml.publishing.differences import (
    CustomerDifferences,
    RowDifference,
    count_customers,
    first_differences,
)
from churn_ml.publishing.fingerprints import (
    RUN_TIME_COLUMNS,
    Fingerprint,
    current_marts,
    fingerprint_mart,
    marts_with_run_id,
)
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run, close_run, read_run

log = logging.getLogger(__name__)

_SHOWN_IN_A_MESSAGE = 5
_PROVENANCE = (
    "model_version",
    "code_version",
    "configuration_sha256",
    "label_definition",
    "library_versions",
)


@dataclass(frozen=True)
class MartComparison:
    """One mart: rows and hash of the repeated run (then) and of the repetition (now)."""

    mart: str
    row_count_then: int
    row_count_now: int
    rows_md5_then: str
    rows_md5_now: str

    @property
    def is_equal(self) -> bool:
        """Whether the rows are the same, in any order."""
        return (self.row_count_then, self.rows_md5_then) == (self.row_count_now, self.rows_md5_now)


@dataclass(frozen=True)
class Comparison:
    """What a repetition gave, beside what the repeated run gave.

    A restated night that was never published repeats no run: it has no marts to compare.
    `provenance` holds what made the two runs differ in kind: name -> (then, now), where unequal.
    """

    run_id: str
    run_kind: str
    as_of_date: date
    repeats_run_id: str | None
    is_equal: bool
    marts: tuple[MartComparison, ...]
    customers: CustomerDifferences | None
    rows: tuple[RowDifference, ...]
    provenance: dict[str, tuple[str | None, str | None]]

    @property
    def differing_marts(self) -> tuple[str, ...]:
        """Names of the marts whose rows are not the same."""
        return tuple(mart.mart for mart in self.marts if not mart.is_equal)


def compare_run(settings: Settings, run_id: str) -> Comparison:
    """Compare a built repetition with the run it repeats, record the result, and close the run.

    Raises
    ------
    ReproductionError
        If a reproduced night differs; the message names the marts, the first rows, and which of
        model, code, configuration, label and libraries are not what they were. The run is closed
        as failed.
    PublishingError
        If the run is no repetition, or has no marts yet.
    """
    run = _read_repetition(settings, run_id)
    comparison = _measure(settings, run)
    _record(settings, comparison)
    if run.run_kind == "reproduce" and not comparison.is_equal:
        message = _explain(comparison)
        close_run(settings, run_id, "failed", f"compare: {message}")
        raise ReproductionError(message)
    close_run(settings, run_id, "succeeded")
    log.info(
        "run %s repeats %s: %d marts compared, differing: %s", run_id, run.repeats_run_id or "no run",
        len(comparison.marts), ", ".join(comparison.differing_marts) or "none",
    )  # fmt: skip
    return comparison


def read_comparison(settings: Settings, run_id: str, rows: int = 20) -> Comparison:
    """Return the comparison that was recorded of `run_id`, with the first `rows` differing rows.

    Raises
    ------
    PublishingError
        If the run is no repetition, or was not compared yet.
    """
    run = _read_repetition(settings, run_id)
    with connect(settings, Role.AUDITOR) as auditor:
        recorded = auditor.execute(
            "select mart, row_count_then, row_count_now, rows_md5_then, rows_md5_now"
            " from ops.run_comparisons where run_id = %s order by mart",
            [run_id],
        ).fetchall()
        if not recorded and run.repeats_run_id is not None:
            raise PublishingError(
                f"Expected a comparison of {run_id} in ops.run_comparisons, found none: the run is "
                f"{run.status}. Let its DAG run go on to the task `compare`."
            )
        return _describe(auditor, run, tuple(MartComparison(*row) for row in recorded), rows)


def _read_repetition(settings: Settings, run_id: str) -> Run:
    run = read_run(settings, run_id)
    if run.run_kind not in {"reproduce", "restate"} or (run.run_kind, run.repeats_run_id) == (
        "reproduce",
        None,
    ):
        raise PublishingError(
            f"Expected a run that repeats a night, found {run_id}, a {run.run_kind} run. "
            f"`churn-ml reproduce --as-of {run.as_of_date}` makes one."
        )
    return run


def _measure(settings: Settings, run: Run) -> Comparison:
    with connect(settings, Role.AUDITOR) as auditor:
        auditor.execute("set transaction isolation level repeatable read")
        built = auditor.execute(
            "select from marts.dim_scoring_run where run_id = %s", [run.run_id]
        ).fetchone()
        if built is None:
            raise PublishingError(
                f"Expected the marts of run {run.run_id} to be built, found no row of it in "
                "marts.dim_scoring_run. Build layer marts before the comparison."
            )
        marts = _compare_marts(auditor, run, run.repeats_run_id) if run.repeats_run_id else ()
        return _describe(auditor, run, marts, _SHOWN_IN_A_MESSAGE)


def _compare_marts(auditor: Connection, run: Run, repeated: str) -> tuple[MartComparison, ...]:
    leave_out = _left_out(run)
    published = {} if run.run_kind == "restate" else _published_hashes(auditor, repeated)
    compared, current = [], current_marts(auditor)
    for mart in marts_with_run_id(auditor):
        then = published.get(mart) or fingerprint_mart(auditor, mart, repeated, leave_out)
        now = fingerprint_mart(auditor, mart, run.run_id, leave_out)
        if mart in current and 0 in {then.row_count, now.row_count}:
            continue  # it keeps few runs
        compared.append(MartComparison(mart, then.row_count, now.row_count, then.rows_md5, now.rows_md5))
    return tuple(compared)


def _left_out(run: Run) -> frozenset[str]:
    """Return the columns that do not count: a restated night knows more, and says so."""
    return RUN_TIME_COLUMNS | {"known_as_of"} if run.run_kind == "restate" else RUN_TIME_COLUMNS


def _published_hashes(auditor: Connection, run_id: str) -> dict[str, Fingerprint]:
    """Return what BI saw when the run was published, which later damage to its rows cannot change."""
    rows = auditor.execute(
        "select mart, row_count, rows_md5 from ops.publication_fingerprints where run_id = %s", [run_id]
    ).fetchall()
    return {str(mart): Fingerprint(mart, row_count, rows_md5) for mart, row_count, rows_md5 in rows}


def _describe(auditor: Connection, run: Run, marts: tuple[MartComparison, ...], limit: int) -> Comparison:
    same = Comparison(
        run.run_id, run.run_kind, run.as_of_date, run.repeats_run_id,
        is_equal=all(mart.is_equal for mart in marts) and run.repeats_run_id is not None,
        marts=marts, customers=None, rows=(), provenance={},
    )  # fmt: skip
    repeated = run.repeats_run_id
    if repeated is None:
        return same
    same = replace(same, provenance=_compare_provenance(auditor, repeated, run.run_id))
    if same.is_equal:
        return replace(same, customers=CustomerDifferences())
    return replace(
        same,
        customers=count_customers(auditor, repeated, run.run_id),
        rows=first_differences(auditor, same.differing_marts, repeated, run.run_id, _left_out(run), limit),
    )


def _compare_provenance(auditor: Connection, then: str, now: str) -> dict[str, tuple[str | None, str | None]]:
    columns = ", ".join(f"{name}::text" for name in _PROVENANCE)
    rows = [
        auditor.execute(f"select {columns} from ops.pipeline_runs where run_id = %s", [run_id]).fetchone()  # noqa: S608
        for run_id in (then, now)
    ]
    pairs = zip(_PROVENANCE, *(row or () for row in rows), strict=True)
    return {name: (before, after) for name, before, after in pairs if before != after}


def _record(settings: Settings, comparison: Comparison) -> None:
    with connect(settings, Role.PUBLISHER) as publisher:
        publisher.execute("delete from ops.run_comparisons where run_id = %s", [comparison.run_id])
        publisher.cursor().executemany(
            "insert into ops.run_comparisons (run_id, repeats_run_id, mart, row_count_then, row_count_now,"
            " rows_md5_then, rows_md5_now) values (%s, %s, %s, %s, %s, %s, %s)",
            [
                (comparison.run_id, comparison.repeats_run_id, item.mart, item.row_count_then,
                 item.row_count_now, item.rows_md5_then, item.rows_md5_now)
                for item in comparison.marts
            ],
        )  # fmt: skip


def _explain(comparison: Comparison) -> str:
    marts = ", ".join(
        f"{item.mart} ({item.row_count_then} rows then, {item.row_count_now} now)"
        for item in comparison.marts
        if not item.is_equal
    )
    rows = "; ".join(str(row) for row in comparison.rows)
    found = (
        rows or "no row that differs from the stored ones: the stored rows changed since they were published"
    )
    changed = "; ".join(
        f"{name} was {before}, is {after}" for name, (before, after) in comparison.provenance.items()
    )
    cause = (
        f"What made the runs differs: {changed}. Restore it and reproduce again, or restate the night."
        if changed
        else "Model, code version, configuration, label and libraries are the recorded ones: look for an "
        "uncommitted change, or for rows of raw that were altered."
    )
    return (
        f"Expected {comparison.run_id} to give the rows of {comparison.repeats_run_id} as published, found "
        f"other rows in {marts}. First differences: {found}. {cause}"
    )
