"""The simulated subscription business: daily drops of nine entities, and a hidden truth beside them.

One day is one step of all customers at once (`step`); the hazard that drives it is declared in
`business_hazard`. Everything is drawn by counting (`business_draws`), so one seed gives the same
bytes, whether in one run or continued. What the pipeline must never read goes to the truth folder:
the state to continue from, and samples of it at the truth dates (`truth`).
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np

from churn_ml.errors import SettingsError
from churn_ml.simulation.business_arrivals import open_business, sign_up
from churn_ml.simulation.business_billing import bill
from churn_ml.simulation.business_changes import change_subscriptions
from churn_ml.simulation.business_draws import Stream, bits
from churn_ml.simulation.business_plans import (
    calendar_day,
    day_number,
    open_price_list,
    opening_prices,
    revise_price_list,
)
from churn_ml.simulation.business_rows import Journal
from churn_ml.simulation.business_service import live_a_week, serve
from churn_ml.simulation.business_state import NEVER, Customers, World, load_world, save_world
from churn_ml.simulation.drops import ENTITIES, Faults, Format, Pending, deliver, write_drop
from churn_ml.simulation.treatments import Assignments, read_assignments, treat

log = logging.getLogger(__name__)

MOST_CUSTOMERS = 20_000_000
FIRST_START, LAST_END = date(2008, 1, 1), date(2049, 12, 31)
MOST_SEEDS = 2**32 - 1
SAMPLE_SIZE = 5000
STATE_FILE = "state.npz"


@dataclass(frozen=True)
class BusinessSummary:
    """What a run wrote: its days, the rows per entity, and who is active at its end."""

    first_date: date
    last_date: date
    rows: dict[str, int]
    customers: int
    active: int
    ended: int


@dataclass
class _Run:
    """One run of days: where it writes, how, and what it counts."""

    out: Path
    truth: Path
    form: Format
    faults: Faults
    seed: int
    truth_dates: set[date] | None
    world: World
    pending: Pending
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENTITIES, 0))
    ended: int = 0

    @classmethod
    def load(cls, out: Path, truth: Path) -> Self:
        world, stored, settings = load_world(truth / STATE_FILE)
        declared = settings["truth_dates"]
        dates = None if declared is None else {date.fromisoformat(text) for text in declared}
        faults = Faults(**settings["faults"])
        return cls(out, truth, settings["format"], faults, world.plan_seed, dates, world, Pending.of(stored))

    def save(self) -> None:
        dates = None if self.truth_dates is None else sorted(day.isoformat() for day in self.truth_dates)
        settings = {"format": self.form, "faults": asdict(self.faults), "truth_dates": dates}
        save_world(self.truth / STATE_FILE, self.world, self.pending.arrays(), settings)


def write_business(
    out: Path,
    *,
    truth: Path,
    customers: int,
    start: date,
    end: date,
    seed: int = 7,
    form: Format = "csv",
    faults: Faults | None = None,
    truth_dates: set[date] | None = None,
) -> BusinessSummary:
    """Open a business and write a drop folder into `out` for each day from `start` to `end`.

    `truth_dates` are the as-of dates at which a sample of the hidden state is kept in `truth`; by
    default the month ends.

    Raises
    ------
    SettingsError
        If an argument is out of its bounds, or `out` or `truth` already hold a business.
    """
    _refuse_arguments(customers, start, end, seed)
    _refuse_occupied(out, truth)
    world = World(
        seed=seed,
        plan_seed=seed,
        opening=day_number(start),
        day=day_number(start) - 1,
        target=customers,
        size=0,
        list_price=opening_prices(),
        customers=Customers.empty(customers),
    )
    run = _Run(out, truth, form, faults or Faults(), seed, truth_dates, world, Pending())
    return _run_until(run, end, Assignments.none())


def continue_business(
    out: Path, *, truth: Path, until: date, assignments: Path | None = None
) -> BusinessSummary:
    """Go on from the state in `truth`; assigned treatments act on the customers they name.

    `assignments` is a CSV file with the columns customer_id, treatment, assigned_at, is_held_out and
    campaign_id. Without it the drops are those that one longer run would have written.

    Raises
    ------
    SettingsError
        If there is no state, `until` is not after its last day, or the file names what does not exist.
    """
    run = _Run.load(out, truth)
    last = calendar_day(run.world.day)
    if not last < until <= LAST_END:
        raise SettingsError(
            f"Expected a date after {last}, the last simulated day, and at most {LAST_END}; found {until}."
        )
    given = read_assignments(assignments, run.world, until) if assignments else Assignments.none()
    return _run_until(run, until, given)


def step(world: World, journal: Journal, assignments: Assignments) -> None:
    """Let one day pass: everything that happens on it goes into the journal."""
    world.day += 1
    if world.day == world.opening:
        open_price_list(world, journal)
        open_business(world, journal)
    else:
        revise_price_list(world, journal)
        change_subscriptions(world, journal)
        sign_up(world, journal)
    bill(world, journal)
    serve(world, journal)
    treat(world, journal, assignments)
    live_a_week(world, journal)


def _run_until(run: _Run, end: date, assignments: Assignments) -> BusinessSummary:
    """Simulate day after day; a second thread writes one day while the next is simulated."""
    first = calendar_day(run.world.day + 1)
    written: Future[None] | None = None
    with ThreadPoolExecutor(1) as writer:
        while run.world.day < day_number(end):
            before = int(np.count_nonzero(run.world.customers.is_active))
            journal = Journal()
            step(run.world, journal, assignments)
            tables = {entity: _deliver(run, entity, journal) for entity in ENTITIES}
            run.ended += _count_ends(journal)
            if written:
                written.result()
            day = calendar_day(run.world.day)
            written = writer.submit(
                write_drop, run.out, day.isoformat(), tables, list(run.world.campaigns), run.form
            )
            _keep_sample(run, day)
            if day.day == 1:
                log.info("simulated %s: %d customers were active", day, before)
        if written:
            written.result()
    run.save()
    active = int(np.count_nonzero(run.world.customers.is_active))
    return BusinessSummary(first, end, run.rows, run.world.size, active, run.ended)


def _deliver(run: _Run, entity: str, journal: Journal) -> dict[str, Any]:
    rows = deliver(
        entity,
        journal.rows(entity),
        day=run.world.day,
        seed=run.seed,
        faults=run.faults,
        pending=run.pending,
        is_first=run.world.day == run.world.opening and entity in ("customers", "subscriptions"),
    )
    run.rows[entity] += len(rows["who"])
    return rows


def _count_ends(journal: Journal) -> int:
    change = journal.rows("subscriptions")["change_type"]
    return int(np.count_nonzero((change == 8) | (change == 9)))


def _keep_sample(run: _Run, day: date) -> None:
    """At a truth date, keep a seeded sample of those who are active without an open cancel request."""
    is_month_end = (day + timedelta(days=1)).day == 1
    if day not in run.truth_dates if run.truth_dates is not None else not is_month_end:
        return
    c = run.world.customers
    who = np.flatnonzero(c.is_active & (c.notice_end == NEVER))
    order = np.argsort(bits(run.seed, 0, Stream.SAMPLE, who), kind="stable")
    sample = who[order[:SAMPLE_SIZE]]
    world = run.world.copy_of(sample, run.world.seed)
    save_world(sample_path(run.truth, day), world, {"sampled": sample}, {})


def sample_path(truth: Path, as_of_date: date) -> Path:
    """Return where the sample of the hidden state of a truth date is kept."""
    return truth / f"sample-{as_of_date}.npz"


def _refuse_arguments(customers: int, start: date, end: date, seed: int) -> None:
    if not 1 <= customers <= MOST_CUSTOMERS or not 0 <= seed <= MOST_SEEDS:
        raise SettingsError(
            f"Expected 1 to {MOST_CUSTOMERS} customers and a seed from 0 to {MOST_SEEDS}, "
            f"found {customers} customers and seed {seed}."
        )
    if not FIRST_START <= start <= end <= LAST_END:
        raise SettingsError(
            f"Expected a start and a later end from {FIRST_START} to {LAST_END}, found {start} and {end}."
        )


def _refuse_occupied(out: Path, truth: Path) -> None:
    if (truth / STATE_FILE).exists():
        raise SettingsError(
            f"Expected no business in {truth}, found {STATE_FILE}. "
            "Go on with `churn-ml simulate continue`, or choose other folders."
        )
    if out.is_dir() and any(out.glob("[0-9]*-[0-9]*-[0-9]*")):
        raise SettingsError(
            f"Expected no drops in {out}, found some. Remove them or choose another folder: "
            "two businesses in one folder would share customer ids."
        )
