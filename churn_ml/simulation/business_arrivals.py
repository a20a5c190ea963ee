"""Who the customers are and how they come: the base at the opening, and sign-ups afterwards."""

import numpy as np
from numpy.typing import NDArray

from churn_ml.simulation.business_draws import (
    Stream,
    Who,
    bell,
    between,
    bits,
    choose,
    lane,
    moment,
)
from churn_ml.simulation.business_hazard import evaluate
from churn_ml.simulation.business_plans import first_plan
from churn_ml.simulation.business_rows import Change, Journal
from churn_ml.simulation.business_state import I4, MONTH_TO_MONTH, NEVER, ONE_YEAR, World

TERM_DAYS = np.array([0, 365, 730], np.int32)
DAILY_SIGNUP_SHARE = 0.028 / 30
_PULL_TO_TARGET = 0.01
_GROWTH = 1.1
_LONGEST_TENURE = 2190
_OPEN_HOURS = (6, 22)


def day_of_month(days: NDArray[np.int32]) -> NDArray[np.int8]:
    """Return 1 to 31 for each day number."""
    dates = days.astype("datetime64[D]")
    return np.asarray((dates - dates.astype("datetime64[M]")).astype(np.int64) + 1, np.int8)


def open_business(world: World, journal: Journal) -> None:
    """Fill the first places with customers who signed up long before the opening day."""
    who = np.arange(world.target)
    world.size = world.target
    _draw_profile(world, who)
    c, seed = world.customers, world.seed
    words = bits(seed, 0, Stream.SIGNUP, who)
    months = 13 * ((1 - lane(words, 0)) ** (-1 / 1.6) - 1)
    tenure = np.clip(months * 30, 1, _LONGEST_TENURE).astype(np.int32)
    _start(world, who, world.day - tenure)
    years = tenure.astype(np.float32) / 365
    c.contract[who] = choose(
        lane(bits(seed, 0, Stream.CONTRACT, who), 0) + 0.06 * np.minimum(years, 3), 0.62, 0.9
    )
    cheaper = lane(words, 1) * np.minimum(years, 3) * 0.05
    c.price[who] = np.rint(world.list_price[c.plan[who]] * (1 - cheaper) / 10) * 10
    over = c.discount_end[who] <= world.day
    c.discount[who[over]], c.discount_end[who[over]] = 0, NEVER
    _write_past(world, who, journal)
    evaluate(world, who, world.day)


def _write_past(world: World, who: Who, journal: Journal) -> None:
    """Write each start and the latest renewal of those whose first term is over."""
    c, words = world.customers, bits(world.seed, 0, Stream.MOMENT, who)
    start = c.start_day[who].astype(np.int64) * 86_400 + moment(0, words, *_OPEN_HOURS)
    term = TERM_DAYS[c.contract[who]]
    terms = np.where(term > 0, (world.day - c.start_day[who]) // np.maximum(term, 1), 0)
    c.term_end[who] = np.where(term > 0, c.start_day[who] + term, NEVER)
    journal.add_customers(world, who, start)
    journal.add_change(world, who, start, Change.START)
    renewed = np.flatnonzero(terms > 0)
    c.term_end[who[renewed]] += (terms * term)[renewed].astype(np.int32)
    journal.add_change(
        world,
        who[renewed],
        start[renewed] + (terms * term)[renewed].astype(np.int64) * 86_400,
        Change.RENEWAL,
    )
    c.changed_day[who] = NEVER


def sign_up(world: World, journal: Journal) -> None:
    """Let new customers come, so that the base stays near its target."""
    if not world.is_open:
        return
    missing = world.target - int(np.count_nonzero(world.customers.is_active))
    expected = max(0.0, world.target * DAILY_SIGNUP_SHARE + _PULL_TO_TARGET * missing)
    luck = lane(bits(world.seed, world.day, Stream.ARRIVALS, np.zeros(1, np.int64)), 0)[0]
    arrived = int(expected + luck)
    if world.size + arrived > world.customers.capacity:
        world.customers.grow(int((world.size + arrived) * _GROWTH))
    who = np.arange(world.size, world.size + arrived)
    world.size += arrived
    _draw_profile(world, who)
    _start(world, who, np.full(arrived, world.day, np.int32))
    c = world.customers
    c.contract[who] = choose(lane(bits(world.seed, 0, Stream.CONTRACT, who), 0), 0.62, 0.87)
    term = TERM_DAYS[c.contract[who]]
    c.term_end[who] = np.where(term > 0, world.day + term, NEVER)
    start = moment(world.day, bits(world.seed, world.day, Stream.MOMENT, who), *_OPEN_HOURS)
    journal.add_customers(world, who, start)
    journal.add_change(world, who, start, Change.START)
    evaluate(world, who, world.day)


def _draw_profile(world: World, who: Who) -> None:
    c, seed = world.customers, world.seed
    words = bits(seed, 0, Stream.PROFILE, who)
    u, v, w = lane(words, 0), lane(words, 1), lane(words, 2)
    c.customer_type[who] = u > 0.82
    c.region[who] = choose(v, 0.3, 0.55, 0.8)
    c.channel[who] = choose(w, 0.45, 0.65, 0.82)
    other = bits(seed, 1, Stream.PROFILE, who)
    c.age[who] = choose(lane(other, 0), 0.18, 0.5, 0.76, 0.93)
    c.gender[who] = choose(lane(other, 1), 0.47, 0.94)
    c.is_auto[who] = lane(other, 2) < 0.7
    c.weekday[who] = who % 7
    c.payer[who] = bell(bits(seed, 0, Stream.PAYER, who))
    habits = bits(seed, 0, Stream.HABIT, who)
    c.habit[who] = np.float32(0.7) * bell(habits)
    c.fragility[who] = np.float32(0.6) * bell(bits(seed, 1, Stream.HABIT, who))
    c.engagement[who] = c.slow[who] = c.habit[who]


def _start(world: World, who: Who, day: I4) -> None:
    """Begin the subscriptions of `who` on their days: plan, list price, first discount, billing day."""
    c, words = world.customers, bits(world.seed, 2, Stream.PROFILE, who)
    c.is_active[who] = True
    c.signup_day[who] = c.start_day[who] = day
    c.bill_dom[who] = np.minimum(day_of_month(day), 28)
    c.plan[who] = first_plan(lane(words, 0))
    c.price[who] = world.list_price[c.plan[who]]
    has_discount = lane(words, 1) < 0.35
    size = lane(words, 2)
    c.discount[who] = np.where(has_discount, 10 * between(size, 1, 3), 0)
    months = np.array([3, 6, 12])[between(size * 3 % 1, 0, 2)]
    c.discount_end[who] = np.where(has_discount, day + 30 * months, NEVER)


def next_billing_day(day: int, bill_dom: NDArray[np.int8]) -> NDArray[np.int32]:
    """Return the next day after `day` on which each billing day of the month falls."""
    month = np.datetime64(day, "D").astype("datetime64[M]")
    first = int(month.astype("datetime64[D]").astype(np.int64))
    following = int((month + 1).astype("datetime64[D]").astype(np.int64))
    this = first + bill_dom.astype(np.int32) - 1
    return np.where(this > day, this, following + bill_dom.astype(np.int32) - 1).astype(np.int32)


def commit(world: World, who: Who, contract: NDArray[np.int8] | int = ONE_YEAR) -> None:
    """Put `who` under a contract (or under none) from today, at the list price of their plan."""
    c = world.customers
    c.contract[who] = contract
    c.price[who] = world.list_price[c.plan[who]]
    term = TERM_DAYS[c.contract[who]]
    c.term_end[who] = np.where(c.contract[who] != MONTH_TO_MONTH, world.day + term, NEVER)
