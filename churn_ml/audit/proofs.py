"""The proofs: each does something to the sample that must not matter, and compares what came of it."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from churn_ml.audit.bench import NO_CHAMPION, Bench, Finding, open_bench
from churn_ml.audit.comparison import LISTED, Difference, compare, history_rows
from churn_ml.audit.disturbances import change_future, empty_raw, shuffle_arrival, take_future_away
from churn_ml.audit.edges import find_misplaced_edges, read_span
from churn_ml.audit.late_arrival import prove_late_arrival
from churn_ml.audit.nights import build_nights, stage
from churn_ml.audit.population import find_unscored_customers, find_wrong_customers
from churn_ml.errors import (
    AuditFailed,
    FeatureContractError,
    GateBlocked,
    ModelError,
    PublishingError,
    ScoringError,
    TransformationError,
)
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role

log = logging.getLogger(__name__)

# A night that breaks on what was done to the sample does not hold either.
_BROKEN_NIGHT = (
    TransformationError, FeatureContractError, ModelError, ScoringError, GateBlocked, PublishingError,
)  # fmt: skip


@dataclass(frozen=True)
class Proof:
    """What one proof found.

    Attributes
    ----------
    checked : str
        What was done and compared: dates, relations, rows.
    differences : tuple of Difference
        The first values that should be the same and are not, or rows that should not be; empty
        where the proof holds.
    """

    name: str
    passed: bool
    checked: str
    differences: tuple[Difference, ...]
    seconds: float


def run_audit(
    settings: Settings,
    names: tuple[str, ...] = (),
    *,
    customers: int = 500,
    as_of_date: date | None = None,
    seed: int = 1,
) -> list[Proof]:
    """Give the proofs `names`, or all, on a sample of `customers` of the live warehouse.

    Parameters
    ----------
    as_of_date
        The newest day the sample tells of; the proofs look at the night a week before it. Default:
        the newest published night, else the newest delivery.

    Raises
    ------
    AuditFailed
        If there is no such proof, the dataset has no time, or nothing has landed.
    """
    unknown = [name for name in names if name not in PROOFS]
    if unknown:
        raise AuditFailed(f"Expected a proof out of {', '.join(PROOFS)}, found {', '.join(unknown)}.")
    with open_bench(settings, customers=customers, as_of_date=as_of_date, seed=seed) as bench:
        return [prove(bench, name) for name in names or PROOFS]


def prove(bench: Bench, name: str) -> Proof:
    """Give one proof; a night that breaks on what was done to the sample is a failed one."""
    started = time.monotonic()
    try:
        finding = PROOFS[name](bench)
    except _BROKEN_NIGHT as error:
        finding = Finding(str(error), [], is_proof=False)
    passed = finding.is_proof and not finding.differences
    seconds = time.monotonic() - started
    log.info("audit: %s %s in %.1f s", name, "holds" if passed else "FAILS", seconds)
    return Proof(name, passed, finding.checked, tuple(finding.differences[:LISTED]), seconds)


def prove_truncation(bench: Bench) -> Finding:
    """Without the rows of the future the night is the same."""
    with bench.begin_anew() as owner:
        deleted = take_future_away(owner, bench.dataset, bench.night)
    build_nights(bench.target, [bench.night])
    rows, differences = bench.compare_features()
    return Finding(
        f"{bench.night_name} without the {deleted:,} rows that happened or became known later:"
        f" {rows:,} feature rows",
        differences,
        is_proof=deleted > 0 and rows > 0,
    )


def prove_future_shock(bench: Bench) -> Finding:
    """Whatever the future holds, the night is the same."""
    with bench.begin_anew() as owner:
        changed, added = change_future(owner, bench.dataset, bench.night, bench.seed)
    build_nights(bench.target, [bench.night])
    rows, differences = bench.compare_features()
    return Finding(
        f"{bench.night_name} with {changed:,} later rows changed and {added:,} added: {rows:,} feature rows",
        differences,
        is_proof=added > 0 and rows > 0,
    )


def prove_shuffled_arrival(bench: Bench) -> Finding:
    """The same batches in another order give the same histories and the same features."""
    with bench.begin_anew() as owner:
        for is_last in shuffle_arrival(owner, bench.dataset, bench.seed):
            if not is_last:
                stage(bench.target, bench.night)
    build_nights(bench.target, [bench.night])
    with bench.built() as then, bench.target.connect(Role.AUDITOR) as now:
        histories = history_rows(bench.dataset)
        versions, differences = compare(then, now, zip(histories, histories, strict=True))
    rows, moved = bench.compare_features()
    return Finding(
        f"all batches in another order and in portions: {versions:,} versions of {len(histories)} entities, "
        f"{rows:,} feature rows of {bench.night_name}",
        differences + moved,
        is_proof=versions > 0 and rows > 0,
    )


def prove_one_row_per_customer(bench: Bench) -> Finding:
    """Every active customer has exactly one row in the population, and features and a score if eligible."""
    with bench.built() as connection:
        counts, differences = find_wrong_customers(connection, bench.night)
    scored = NO_CHAMPION
    if bench.begin_published() is not None:
        with bench.target.connect(Role.AUDITOR) as connection:
            scores, mart_rows, wrong = find_unscored_customers(connection, bench.night, bench.run_id)
        scored = f"{scores:,} scores, {mart_rows:,} rows of the mart"
        differences += wrong
    return Finding(
        f"{bench.night_name}: {counts.active:,} active customers by the histories, "
        f"{counts.population:,} rows of the population, {counts.eligible:,} eligible ones with features; "
        f"{scored}",
        differences[:LISTED],
        is_proof=counts.active > 0,
    )


def prove_calendar_edges(bench: Bench) -> Finding:
    """Rows at the very boundary instants land on the right side."""
    with bench.begin_anew() as owner:
        empty_raw(owner, bench.dataset)
    with bench.built() as connection:
        span = read_span(connection, bench.dataset)
    edges = find_misplaced_edges(bench.target, bench.dataset, span, bench.edge_days)
    return Finding(edges.checked, edges.differences, is_proof=edges.count > 0)


PROOFS: Mapping[str, Callable[[Bench], Finding]] = {
    "truncation": prove_truncation,
    "future_shock": prove_future_shock,
    "late_arrival": prove_late_arrival,
    "shuffled_arrival": prove_shuffled_arrival,
    "one_row_per_customer": prove_one_row_per_customer,
    "calendar_edges": prove_calendar_edges,
}
"""Every proof by its name, in the order of `churn-ml audit all`."""
