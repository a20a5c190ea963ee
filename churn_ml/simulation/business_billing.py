"""Invoices and payments of one day: in advance, paid days later, retried twice, refunded now and then.

An invoice is settled or given up within 26 days, so a customer has at most one open.
"""

import numpy as np

from churn_ml.simulation.business_changes import net_price
from churn_ml.simulation.business_draws import Floats, Stream, Who, between, bits, lane, moment
from churn_ml.simulation.business_plans import calendar_day
from churn_ml.simulation.business_rows import Journal
from churn_ml.simulation.business_state import NEVER, World

SUCCEEDED, FAILED, REFUNDED = 0, 1, 2
DUE_DAYS = 7
FAILURE = (-4.0, 1.1, 0.6)
"""Log-odds that the first payment fails: intercept, per unit of the payer, per unit of payment trouble."""
RETRY_FAILURE = (-1.0, 0.7, 0.1)
LATE = (-3.0, 1.1, 0.4)
RETRY_DAYS, MOST_ATTEMPTS, DUNNING_DAYS = 3, 3, 2
REFUND_SHARE = 0.006
_LATE_TROUBLE, _MOST_TROUBLE = 0.4, 3.0


def bill(world: World, journal: Journal) -> None:
    """Issue the day's invoices, try the payments that are due and give refunds."""
    _issue(world, journal)
    _pay(world, journal)
    _refund(world, journal)


def _odds(world: World, who: Who, weights: tuple[float, float, float]) -> Floats:
    c = world.customers
    intercept, per_payer, per_trouble = (np.float32(weight) for weight in weights)
    logit = intercept + per_payer * c.payer[who] + per_trouble * c.payment_trouble[who]
    return np.asarray(1 / (1 + np.exp(-logit)), np.float32)


def _issue(world: World, journal: Journal) -> None:
    c, day = world.customers, world.day
    is_due = (c.bill_dom == calendar_day(day).day) | (c.start_day == day)
    who = np.flatnonzero(is_due & c.is_active)
    words = bits(world.seed, day, Stream.PAY_LAG, who)
    is_late = lane(words, 0) < _odds(world, who, LATE)
    lag = np.where(is_late, between(lane(words, 1), DUE_DAYS + 1, 18), between(lane(words, 1), 1, 4))
    c.invoice_day[who] = day
    c.invoice_amount[who] = np.rint(net_price(world, who))
    c.attempt_day[who], c.attempts[who] = day + lag, 0
    issued = moment(day, words, 22, 23)
    journal.add("invoices", who, issued, due_day=day + DUE_DAYS, amount=c.invoice_amount[who])


def _pay(world: World, journal: Journal) -> None:
    c, day = world.customers, world.day
    who = np.flatnonzero((c.attempt_day == day) & c.is_active)
    words = bits(world.seed, day, Stream.PAY, who)
    is_first = c.attempts[who] == 0
    odds = np.where(is_first, _odds(world, who, FAILURE), _odds(world, who, RETRY_FAILURE))
    has_failed = lane(words, 0) < odds
    journal.add(
        "payments", who, moment(day, words, 0, 24),
        invoice_day=c.invoice_day[who], status=has_failed.astype(np.int8), amount=c.invoice_amount[who],
    )  # fmt: skip
    is_late = is_first & (day > c.invoice_day[who] + DUE_DAYS)
    trouble = c.payment_trouble[who] + has_failed + np.float32(_LATE_TROUBLE) * is_late
    c.payment_trouble[who] = np.minimum(trouble, _MOST_TROUBLE)
    _settle(world, who[~has_failed])
    _fail(world, who[has_failed])


def _settle(world: World, who: Who) -> None:
    c, day = world.customers, world.day
    words = bits(world.seed, day, Stream.REFUND, who)
    c.attempt_day[who] = NEVER
    back = who[lane(words, 0) < REFUND_SHARE]
    wait = between(lane(words, 1), 3, 10)[lane(words, 0) < REFUND_SHARE]
    c.refund_day[back] = day + wait
    c.refund_invoice[back], c.refund_amount[back] = c.invoice_day[back], c.invoice_amount[back]


def _fail(world: World, who: Who) -> None:
    c, day = world.customers, world.day
    c.attempts[who] += 1
    is_last = c.attempts[who] >= MOST_ATTEMPTS
    c.attempt_day[who] = np.where(is_last, NEVER, day + RETRY_DAYS)
    c.dunning_end[who] = np.where(is_last, day + DUNNING_DAYS, NEVER)


def _refund(world: World, journal: Journal) -> None:
    c, day = world.customers, world.day
    who = np.flatnonzero(c.refund_day == day)
    given = moment(day, bits(world.seed, day, Stream.REFUND, who), 0, 24)
    invoice, amount = c.refund_invoice[who], c.refund_amount[who]
    journal.add("payments", who, given, invoice_day=invoice, status=REFUNDED, amount=amount)
    c.refund_day[who] = NEVER
