"""What customers do and ask on one day: weekly usage, support tickets, contacts, moves of house."""

import numpy as np

from churn_ml.simulation.business_draws import Stream, Who, bell, between, bits, choose, lane, moment, uniform
from churn_ml.simulation.business_hazard import evaluate, fade
from churn_ml.simulation.business_rows import Journal
from churn_ml.simulation.business_state import NEVER, World

OPENED, RESOLVED, RATED = 0, 1, 2
HIGH = 2
DAILY_TICKET, DAILY_CONTACT, CONTACT_PER_HAZARD, DAILY_MOVE_OF_HOUSE = 0.0022, 0.003, 1.5, 0.0001
RATED_SHARE = 0.5
SLOW_DAYS = 5
FADING_START, FADING_STOP, FADING_DEPTH = 0.006, 0.05, 2.0
ENGAGEMENT_PULL, ENGAGEMENT_NOISE, SLOW_PULL = 0.15, 0.30, 0.06
_MOST_TROUBLE = 3.0


def serve(world: World, journal: Journal) -> None:
    """Rate, resolve and open tickets, and let customers call or be called."""
    _rate(world, journal)
    _resolve(world, journal)
    c = world.customers
    chance = uniform(world.seed, world.day, Stream.TICKET, np.arange(c.capacity))
    ticket = np.float32(DAILY_TICKET) * np.exp(c.fragility)
    contact = np.float32(DAILY_CONTACT) + np.float32(CONTACT_PER_HAZARD) * c.hazard
    opens = c.is_active & (chance < ticket) & (c.ticket_day == NEVER)
    calls = c.is_active & (chance >= 0.5) & (chance < 0.5 + contact)
    moves = c.is_active & (chance >= 1 - DAILY_MOVE_OF_HOUSE)
    _open(world, journal, np.flatnonzero(opens))
    _contact(world, journal, np.flatnonzero(calls))
    _move_house(world, journal, np.flatnonzero(moves))


def _add_trouble(world: World, who: Who, amount: object) -> None:
    trouble = world.customers.ticket_trouble
    trouble[who] = np.clip(trouble[who] + np.asarray(amount, np.float32), 0, _MOST_TROUBLE)


def _open(world: World, journal: Journal, who: Who) -> None:
    c, day = world.customers, world.day
    words = bits(world.seed, day, Stream.RATING, who)
    c.ticket_day[who] = day
    is_about_money = lane(words, 0) < np.where(c.payment_trouble[who] > 0.5, 0.7, 0.3)
    c.ticket_kind[who] = np.where(is_about_money, 0, choose(lane(words, 0) * 7 % 1, 0.65) + 1)
    c.ticket_priority[who] = choose(lane(words, 1), 0.3, 0.8)
    lag = 1 + np.minimum(-np.log1p(-lane(words, 2)) * 4, 20).astype(np.int32)
    c.resolve_day[who] = day + lag
    _add_trouble(world, who, np.where(c.ticket_priority[who] == HIGH, 1.0, 0.5))
    _write_ticket(world, journal, who, OPENED)


def _resolve(world: World, journal: Journal) -> None:
    c, day = world.customers, world.day
    who = np.flatnonzero((c.resolve_day == day) & (c.ticket_day != NEVER))
    words = bits(world.seed, day, Stream.RATING, who)
    lag = day - c.ticket_day[who]
    _add_trouble(world, who, np.where(lag > SLOW_DAYS, 0.5, 0.0))
    _write_ticket(world, journal, who, RESOLVED)
    c.csat[who] = np.clip(np.rint(4.4 - lag / 4 + bell(words)), 1, 5)
    is_rated = lane(words, 0) < RATED_SHARE
    c.rate_day[who] = np.where(is_rated, day + between(lane(words, 1), 1, 4), NEVER)
    c.ticket_day[who[~is_rated]] = NEVER


def _rate(world: World, journal: Journal) -> None:
    c = world.customers
    who = np.flatnonzero((c.rate_day == world.day) & (c.ticket_day != NEVER))
    _add_trouble(world, who, np.where(c.csat[who] <= 2, 1.0, np.where(c.csat[who] >= 4, -0.5, 0.0)))
    _write_ticket(world, journal, who, RATED)
    c.rate_day[who] = c.ticket_day[who] = NEVER


def _write_ticket(world: World, journal: Journal, who: Who, event_type: int) -> None:
    if not journal.is_recording:
        return
    c, day = world.customers, world.day
    journal.add(
        "tickets", who, moment(day, bits(world.seed, day, Stream.TICKET, who), 6, 22),
        event_type=event_type, ticket_day=c.ticket_day[who], kind=c.ticket_kind[who],
        priority=c.ticket_priority[who], csat=c.csat[who] if event_type == RATED else 0,
    )  # fmt: skip


def _contact(world: World, journal: Journal, who: Who) -> None:
    if not journal.is_recording:
        return
    words = bits(world.seed, world.day, Stream.CONTACT, who)
    channel = choose(lane(words, 0), 0.35, 0.6, 0.85)
    written = moment(world.day, words, 6, 22)
    journal.add("contacts", who, written, channel=channel, is_outbound=lane(words, 1) < 0.3, kind=0)


def _move_house(world: World, journal: Journal, who: Who) -> None:
    c = world.customers
    c.region[who] = (c.region[who] + 1) % 4
    journal.add_customers(
        world, who, moment(world.day, bits(world.seed, world.day, Stream.CONTACT, who), 6, 22)
    )


def live_a_week(world: World, journal: Journal) -> None:
    """For those whose week ends today: move the engagement, write the usage, evaluate the hazard."""
    c, day = world.customers, world.day
    who = np.flatnonzero((c.weekday == day % 7) & c.is_active)
    chance = lane(bits(world.seed, day, Stream.FADING, who), 0)
    is_fading = c.is_fading[who]
    is_fading = np.where(is_fading, chance >= FADING_STOP, chance < FADING_START)
    noise = bell(bits(world.seed, day, Stream.ENGAGEMENT, who))
    engagement = c.engagement[who]
    target = c.habit[who] - np.float32(FADING_DEPTH) * is_fading
    engagement += np.float32(ENGAGEMENT_PULL) * (target - engagement) + np.float32(ENGAGEMENT_NOISE) * noise
    c.is_fading[who], c.engagement[who] = is_fading, engagement
    c.slow[who] += np.float32(SLOW_PULL) * (engagement - c.slow[who])
    fade(world, who)
    evaluate(world, who, day)
    if journal.is_recording:
        _write_usage(world, journal, who)


def _write_usage(world: World, journal: Journal, who: Who) -> None:
    c, day = world.customers, world.day
    words, mix = (bits(world.seed, day, stream, who) for stream in (Stream.USAGE, Stream.USAGE_MIX))
    level = np.exp(1.6 + 0.65 * c.engagement[who] + 0.3 * bell(words))
    sessions = np.floor(level + lane(words, 0) - 0.4).astype(np.int32)
    used = sessions > 0
    who, sessions, mix = who[used], sessions[used], mix[used]
    u, v, w = lane(mix, 0), lane(mix, 1), lane(mix, 2)
    journal.add(
        "usage", who, day * 86_400 + 86_399, sessions=sessions, minutes=sessions * (6 + 12 * u) + 1,
        searches=sessions * (0.2 + v), exports=sessions * 0.5 * w + u * 0.6,
        shares=sessions * 0.6 * v * w,
    )  # fmt: skip
