"""The proofs: each does something to the sample that must not matter, and compares what came of it."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

from churn_ml.audit.comparison import LISTED, Difference, compare, feature_rows, history_rows
from churn_ml.audit.databases import ThrowAway, open_throw_away
from churn_ml.audit.deliveries import land_rows
from churn_ml.audit.disturbances import (
    add_rivals,
    change_future,
    empty_raw,
    make_late_rows,
    shuffle_arrival,
    tables_of,
    take_future_away,
)
from churn_ml.audit.edges import find_misplaced_edges, read_span
from churn_ml.audit.nights import build_first_night, build_nights, forget_nights, stage
from churn_ml.audit.population import find_wrong_customers
from churn_ml.audit.sample import Sample, copy_sample, read_night
from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import AuditFailed, TransformationError
from churn_ml.services.dated_nights import Night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role

log = logging.getLogger(__name__)

_WEEK = timedelta(days=7)
_LATE_CUSTOMERS = 5
_BUILT = "built"


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


@dataclass(frozen=True)
class Finding:
    """The outcome of a proof before it was timed."""

    checked: str
    differences: list[Difference]
    is_proof: bool = True


@dataclass(frozen=True)
class Bench:
    """What the proofs work on: the throw-away warehouse, the sample in it, and last week's night."""

    target: ThrowAway
    dataset: Dataset
    sample: Sample
    night: Night
    seed: int

    @contextmanager
    def begin_anew(self) -> Iterator[Connection]:
        """Put the sample back to work with nothing built of it, and open it to be disturbed."""
        self.target.restore(_BUILT)
        with self.target.connect(Role.OWNER) as owner:
            forget_nights(owner)
            owner.commit()
            yield owner

    @contextmanager
    def built(self) -> Iterator[Connection]:
        """Open the undisturbed warehouse in which the night is built."""
        with self.target.connect(Role.AUDITOR, _BUILT) as connection:
            yield connection

    def compare_features(self, now: Night | None = None) -> tuple[int, list[Difference]]:
        """Compare the night in the warehouse at work (as `now`) with the undisturbed one."""
        with self.built() as then, self.target.connect(Role.AUDITOR) as current:
            pairs = zip(feature_rows(self.night), feature_rows(now or self.night), strict=True)
            return compare(then, current, pairs)


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


@contextmanager
def open_bench(
    settings: Settings, *, customers: int = 500, as_of_date: date | None = None, seed: int = 1
) -> Iterator[Bench]:
    """Copy the sample into a throw-away warehouse and build last week's night in it."""
    dataset = load_dataset(settings)
    if dataset.kind != "dated":
        raise AuditFailed(
            f"Expected a dated dataset to audit in time, found {dataset.dataset}, which is a {dataset.kind} "
            "one: its rows have no event time. Set CHURN_DATASET to a dated dataset."
        )
    newest = read_night(settings, as_of_date)
    night = read_night(settings, newest.as_of_date - _WEEK)
    with open_throw_away(settings) as target:
        sample = copy_sample(settings, target, newest, customers, seed)
        with target.connect(Role.OWNER) as owner:
            add_rivals(owner, dataset, night, seed)
        build_first_night(target, night)
        target.keep(_BUILT)
        yield Bench(target, dataset, sample, night, seed)


def prove(bench: Bench, name: str) -> Proof:
    """Give one proof; a transformation that breaks on what was done to the sample is a failed one."""
    started = time.monotonic()
    try:
        finding = PROOFS[name](bench)
    except TransformationError as error:
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
        f"{_name(bench.night)} without the {deleted:,} rows that happened or became known later:"
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
        f"{_name(bench.night)} with {changed:,} later rows changed and {added:,} added:"
        f" {rows:,} feature rows",
        differences,
        is_proof=added > 0 and rows > 0,
    )


def prove_late_arrival(bench: Bench) -> Finding:
    """A late row leaves the night as it was when it is reproduced, and shows when it is restated."""
    bench.target.restore(_BUILT)
    landed, later = _land_late_rows(bench)
    build_nights(bench.target, [bench.night, later])
    rows, differences = bench.compare_features()
    if differences:
        return Finding(f"{_name(bench.night)} reproduced after {landed} late rows", differences)
    _, restated = bench.compare_features(later)
    listed = "; ".join(f"{d.customer_id} {d.column}: {d.then} -> {d.now}" for d in restated[:3])
    return Finding(
        f"{_name(bench.night)} after {landed} late rows: reproduced, {rows:,} feature rows equal; restated"
        f" with what is known since, {listed or 'nothing differs, and something should'};"
        " no scores: no model is copied",
        [],
        is_proof=bool(restated),
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
        f"{rows:,} feature rows of {_name(bench.night)}",
        differences + moved,
        is_proof=versions > 0 and rows > 0,
    )


def prove_one_row_per_customer(bench: Bench) -> Finding:
    """Every active customer has exactly one row in the population, and features if eligible."""
    with bench.built() as connection:
        counts, differences = find_wrong_customers(connection, bench.night)
    return Finding(
        f"{_name(bench.night)}: {counts.active:,} active customers by the histories, "
        f"{counts.population:,} rows of the population, {counts.eligible:,} eligible ones with features",
        differences,
        is_proof=counts.active > 0,
    )


def prove_calendar_edges(bench: Bench) -> Finding:
    """Rows at the very boundary instants land on the right side."""
    with bench.begin_anew() as owner:
        empty_raw(owner, bench.dataset)
    with bench.built() as connection:
        span = read_span(connection, bench.dataset)
    edges = find_misplaced_edges(bench.target, bench.dataset, span)
    return Finding(edges.checked, edges.differences, is_proof=edges.count > 0)


def _land_late_rows(bench: Bench) -> tuple[int, Night]:
    """Land a late record per entity for a few customers; return how many, and the night restated."""
    target, night = bench.target, bench.night
    with target.connect(Role.OWNER) as owner:
        known_at = bench.sample.newest.known_as_of + timedelta(microseconds=1)
        customers = [
            str(customer_id)
            for (customer_id,) in owner.execute(
                "select customer_id from features.customer_population where is_eligible"
                " and as_of_date = %s and known_as_of = %s order by 1 limit %s",
                [night.as_of_date, night.known_as_of, _LATE_CUSTOMERS],
            ).fetchall()
        ]
        tables = [table for table in tables_of(bench.dataset) if "customer_id" in table.columns]
        late = {table: make_late_rows(owner, table, night, customers, bench.seed) for table in tables}
    landed = sum(
        land_rows(
            target,
            bench.dataset,
            table.entity,
            [dict(zip(table.columns, row, strict=True)) for row in rows],
            bench.sample.newest.as_of_date,
            known_at,
        )
        for table, rows in late.items()
        if rows
    )
    return landed, Night(night.as_of_date, known_at)


def _name(night: Night) -> str:
    return f"night {night.as_of_date} known as of {night.known_as_of:%Y-%m-%d %H:%M} UTC"


PROOFS: Mapping[str, Callable[[Bench], Finding]] = {
    "truncation": prove_truncation,
    "future_shock": prove_future_shock,
    "late_arrival": prove_late_arrival,
    "shuffled_arrival": prove_shuffled_arrival,
    "one_row_per_customer": prove_one_row_per_customer,
    "calendar_edges": prove_calendar_edges,
}
"""Every proof by its name, in the order of `churn-ml audit all`."""
