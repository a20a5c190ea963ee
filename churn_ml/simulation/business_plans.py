"""The price list: six plans in three tiers, and when a list price changes."""

from datetime import date, timedelta

import numpy as np

from churn_ml.simulation.business_draws import Stream, bits, choose, lane, moment
from churn_ml.simulation.business_rows import Journal
from churn_ml.simulation.business_state import I4, World

PLANS = (
    ("P01", "Basic", "basic", 1200),
    ("P02", "Basic Plus", "basic", 1800),
    ("P03", "Standard", "standard", 2900),
    ("P04", "Standard Plus", "standard", 3900),
    ("P05", "Premium", "premium", 5900),
    ("P06", "Premium Plus", "premium", 8900),
)
"""Plan id, name, tier and opening list price in cents."""
EPOCH = date(1970, 1, 1)
_CHANGE_SHARE = 1 / 15
_CUT_SHARE = 0.2


def day_number(day: date) -> int:
    """Count the days since 1970."""
    return (day - EPOCH).days


def calendar_day(number: int) -> date:
    """Return the date of a day number."""
    return EPOCH + timedelta(days=int(number))


def open_price_list(world: World, journal: Journal) -> None:
    """Publish every plan, valid from the first second of the opening day."""
    plans = np.arange(len(PLANS))
    journal.add("plans", plans, world.day * 86_400, plan=plans, price=world.list_price)


def revise_price_list(world: World, journal: Journal) -> None:
    """On the first of a month, change a few list prices: rises of 4-10 %, sometimes cuts of 5-8 %."""
    if calendar_day(world.day).day != 1:
        return
    plans = np.arange(len(PLANS))
    words = bits(world.plan_seed, world.day, Stream.LIST_PRICE, plans)
    changed = np.flatnonzero(lane(words, 0) < _CHANGE_SHARE)
    share, size = lane(words, 1)[changed], lane(words, 2)[changed]
    factor = np.where(share < _CUT_SHARE, 0.95 - 0.03 * size, 1.04 + 0.06 * size)
    world.list_price[changed] = np.rint(world.list_price[changed] * factor / 10) * 10
    start = moment(world.day, words[changed], 0, 1)
    journal.add("plans", changed, start, plan=changed, price=world.list_price[changed])


def opening_prices() -> I4:
    """Return the list prices of the opening day, in cents."""
    return np.array([price for *_, price in PLANS], np.int32)


def first_plan(share: np.ndarray) -> np.ndarray:
    """Choose the plan that a new customer takes."""
    return choose(share, 0.22, 0.42, 0.66, 0.82, 0.94)
