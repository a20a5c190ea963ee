"""How subscriptions change on one day: returns, ends, renewals, prices, discounts, requests and moves.

A subscription changes at most once a day, in the order of `change_subscriptions`; what was due on a day
with another change follows on the next day, except for the random part, which has had its chance.
"""

import numpy as np
from numpy.typing import NDArray

from churn_ml.simulation.business_arrivals import commit, next_billing_day
from churn_ml.simulation.business_draws import (
    Bits,
    Floats,
    Stream,
    Who,
    between,
    bits,
    lane,
    moment,
    uniform,
)
from churn_ml.simulation.business_hazard import add_price_shock, evaluate
from churn_ml.simulation.business_plans import PLANS, calendar_day
from churn_ml.simulation.business_rows import Change, Journal
from churn_ml.simulation.business_state import MONTH_TO_MONTH, NEVER, ONE_YEAR, World

WITHDRAWAL_SHARE = 0.12
RETURN_SHARES = {Change.END_VOLUNTARY: (0.04, 0.10), Change.END_INVOLUNTARY: (0.12, 0.20)}
"""Shares of leavers who come back within 6 days, and (cumulative) 20 to 150 days later."""
DAILY_MOVE, DAILY_GIFT = 0.0010, 0.0003
_HOURS = (6, 22)


def change_subscriptions(world: World, journal: Journal) -> None:
    """Let the day's changes happen."""
    c, day = world.customers, world.day
    _come_back(world, journal)
    _end(world, journal, c.dunning_end, Change.END_INVOLUNTARY)
    _end(world, journal, c.notice_end, Change.END_VOLUNTARY)
    _withdraw(world, journal)
    _renew(world, journal)
    _bill_day_prices(world, journal)
    chance = uniform(world.seed, day, Stream.LIFE, np.arange(c.capacity))
    moves = (chance >= 1 - DAILY_MOVE - DAILY_GIFT) | (chance < c.hazard)
    who = np.flatnonzero(moves & c.is_active & (c.notice_end == NEVER) & (c.changed_day != day))
    chance = chance[who]
    asks, gift = chance < c.hazard[who], chance >= 1 - DAILY_GIFT
    _ask_to_cancel(world, journal, who[asks])
    _give_discount(world, journal, who[gift & (c.discount[who] == 0) & ~asks])
    _move(world, journal, who[~asks & ~gift])


def net_price(world: World, who: Who) -> Floats:
    """Return what `who` pay per month after the discount, in cents."""
    c = world.customers
    net = c.price[who].astype(np.float32) * (100 - c.discount[who]).astype(np.float32) / 100
    return np.asarray(net, np.float32)


def _when(world: World, who: Who) -> NDArray[np.int64]:
    return moment(world.day, bits(world.seed, world.day, Stream.MOMENT, who), *_HOURS)


def _come_back(world: World, journal: Journal) -> None:
    c = world.customers
    who = np.flatnonzero((c.return_day == world.day) & ~c.is_active)
    c.is_active[who] = True
    c.start_day[who], c.return_day[who] = world.day, NEVER
    c.bill_dom[who] = min(calendar_day(world.day).day, 28)
    c.discount[who], c.discount_end[who] = 0, NEVER
    for forgotten in (c.payment_trouble, c.ticket_trouble, c.price_shock, c.plan_mood):
        forgotten[who] = 0
    c.is_fading[who] = False
    commit(world, who, MONTH_TO_MONTH)
    journal.add_change(world, who, _when(world, who), Change.RETURN)
    evaluate(world, who, world.day)


def _end(world: World, journal: Journal, due: NDArray[np.int32], change: Change) -> None:
    c = world.customers
    who = np.flatnonzero((due != NEVER) & (due <= world.day) & c.is_active & (c.changed_day != world.day))
    c.is_active[who] = False
    for open_item in (
        c.notice_end, c.withdraw_day, c.dunning_end, c.invoice_day, c.attempt_day, c.attempts,
    ):  # fmt: skip
        open_item[who] = NEVER
    words = bits(world.seed, world.day, Stream.RETURN, who)
    soon, later = RETURN_SHARES[change]
    share = lane(words, 0)
    wait = np.where(share < soon, between(lane(words, 1), 1, 6), between(lane(words, 2), 20, 150))
    c.return_day[who] = np.where(share < later, world.day + wait, NEVER)
    journal.add_change(world, who, _when(world, who), change)


def _withdraw(world: World, journal: Journal) -> None:
    c = world.customers
    is_due = (c.withdraw_day != NEVER) & (c.withdraw_day <= world.day)
    who = np.flatnonzero(is_due & c.is_active & (c.changed_day != world.day))
    c.withdraw_day[who] = c.notice_end[who] = NEVER
    journal.add_change(world, who, _when(world, who), Change.CANCEL_WITHDRAWAL)


def _renew(world: World, journal: Journal) -> None:
    """End of a term: most go on under the same contract at the list price, some month to month."""
    c, day = world.customers, world.day
    is_due = (c.term_end != NEVER) & (c.term_end <= day) & (c.notice_end == NEVER)
    who = np.flatnonzero(is_due & c.is_active & (c.changed_day != day))
    leaves_term = ~c.is_auto[who] & (lane(bits(world.seed, day, Stream.RENEWAL, who), 0) < 0.5)
    before = net_price(world, who)
    commit(world, who, np.where(leaves_term, MONTH_TO_MONTH, c.contract[who]))
    add_price_shock(world, who, before, net_price(world, who))
    journal.add_change(world, who, _when(world, who), Change.RENEWAL)


def _bill_day_prices(world: World, journal: Journal) -> None:
    """On the billing day, let discounts run out and pass list prices on to those without a contract."""
    c, day = world.customers, world.day
    dom = calendar_day(day).day
    may = (c.bill_dom == dom) & c.is_active & (c.changed_day != day) & (c.notice_end == NEVER)
    who = np.flatnonzero(may)
    is_over = (c.discount_end[who] != NEVER) & (c.discount_end[who] <= day)
    is_passed_on = lane(bits(world.seed, day, Stream.PASS_ON, who), 0) < 0.2
    differs = c.price[who] != world.list_price[c.plan[who]]
    risen = who[~is_over & is_passed_on & differs & (c.contract[who] == MONTH_TO_MONTH)]
    over = who[is_over]
    before = net_price(world, over)
    c.discount[over], c.discount_end[over] = 0, NEVER
    add_price_shock(world, over, before, net_price(world, over))
    journal.add_change(world, over, _when(world, over), Change.DISCOUNT_CHANGE)
    before = net_price(world, risen)
    c.price[risen] = world.list_price[c.plan[risen]]
    add_price_shock(world, risen, before, net_price(world, risen))
    journal.add_change(world, risen, _when(world, risen), Change.PRICE_CHANGE)


def _ask_to_cancel(world: World, journal: Journal, who: Who) -> None:
    """Ask for the end of the billing month; some think again before it comes."""
    c, day = world.customers, world.day
    end = next_billing_day(day, c.bill_dom[who])
    words = bits(world.seed, day, Stream.NOTICE, who)
    thinks_again = (lane(words, 0) < WITHDRAWAL_SHARE) & (end - day > 2)
    wait = 1 + (lane(words, 1) * (end - day - 2)).astype(np.int32)
    c.notice_end[who] = end
    c.withdraw_day[who] = np.where(thinks_again, day + wait, NEVER)
    journal.add_change(world, who, _when(world, who), Change.CANCEL_REQUEST)


def _give_discount(world: World, journal: Journal, who: Who) -> None:
    c = world.customers
    c.discount[who] = 5 * between(lane(_move_words(world, who), 0), 2, 4)
    c.discount_end[who] = world.day + 90
    journal.add_change(world, who, _when(world, who), Change.DISCOUNT_CHANGE)


def _move(world: World, journal: Journal, who: Who) -> None:
    """Take a contract, or move one plan up or down: the engaged move up."""
    c, words = world.customers, _move_words(world, who)
    commits = (lane(words, 0) < 0.25) & (c.contract[who] == MONTH_TO_MONTH)
    is_up = lane(words, 1) < 1 / (1 + np.exp(-np.float32(0.8) * c.engagement[who]))
    commit(world, who[commits], ONE_YEAR)
    journal.add_change(world, who[commits], _when(world, who[commits]), Change.RENEWAL)
    for step, change, chosen in (
        (1, Change.UPGRADE, who[~commits & is_up & (c.plan[who] < len(PLANS) - 1)]),
        (-1, Change.DOWNGRADE, who[~commits & ~is_up & (c.plan[who] > 0)]),
    ):
        c.plan[chosen] += step
        c.price[chosen] = world.list_price[c.plan[chosen]]
        c.plan_mood[chosen] -= np.float32(step)
        journal.add_change(world, chosen, _when(world, chosen), change)


def _move_words(world: World, who: Who) -> Bits:
    return bits(world.seed, world.day, Stream.MOVE, who)
