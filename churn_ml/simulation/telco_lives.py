"""The lives behind the synthetic Telco file: who the customers are and when each one leaves.

The business has a fixed number of *places*. A place is held by one customer at a time; in the
month after a customer left, a new one takes the place. Month by month, a customer leaves with
the hidden hazard

    h = 1 / (1 + exp(-(intercept + sum of the weights below + TENURE_WEIGHT * ln(tenure))))

and this is the truth that a model of the file tries to find. Everything is drawn from Philox,
a counter-based generator: key = (seed, month), counter = place. So a life depends on nothing
but seed and place: not on the date asked for, nor on how many places are computed at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Philox
from numpy.typing import NDArray

Codes = NDArray[np.int8]
Draws = NDArray[np.uint64]

NO, YES, NOT_OFFERED = 0, 1, 2
DSL, FIBER, NO_INTERNET = 0, 1, 2
MONTHLY, ONE_YEAR, TWO_YEARS = 0, 1, 2
ELECTRONIC_CHECK, MAILED_CHECK, BANK_TRANSFER, CREDIT_CARD = 0, 1, 2, 3
OPTIONS = (
    "online_security",
    "online_backup",
    "device_protection",
    "tech_support",
    "streaming_tv",
    "streaming_movies",
)

# The hidden hazard, in log-odds.
INTERCEPT = -0.05
TENURE_WEIGHT = -0.52
CONTRACT_WEIGHTS = np.array([0.0, -1.3, -1.9], np.float32)
INTERNET_WEIGHTS = np.array([0.0, 0.1, -0.9], np.float32)
PAYMENT_WEIGHTS = np.array([0.35, 0.0, -0.1, -0.1], np.float32)
OPTION_WEIGHTS = {
    "online_security": np.array([0.15, -0.25, 0.0], np.float32),
    "tech_support": np.array([0.15, -0.25, 0.0], np.float32),
    "streaming_tv": np.array([0.0, 0.2, 0.0], np.float32),
    "streaming_movies": np.array([0.0, 0.2, 0.0], np.float32),
}
PAPERLESS_WEIGHT, SENIOR_WEIGHT, DEPENDENTS_WEIGHT = 0.3, 0.25, -0.25

# Who arrives: cumulative shares per column of codes, by the column they depend on.
_INTERNET_SHARES = np.array([0.28, 0.92], np.float32)
_CONTRACT_SHARES = np.array([[0.80, 0.90], [0.95, 0.988], [0.83, 0.92]], np.float32)
_PAYMENT_SHARES = np.array([[0.46, 0.68, 0.84], [0.24, 0.45, 0.72], [0.15, 0.34, 0.67]], np.float32)
_OPTION_SHARES = np.array([0.36, 0.46, 0.52], np.float32)
_SECOND_MONTH_SHARE = 0.006


@dataclass(frozen=True)
class Profile:
    """What stays the same for the length of a life: one code per customer and column."""

    is_male: Codes
    is_senior: Codes
    has_partner: Codes
    has_dependents: Codes
    has_phone: Codes
    multiple_lines: Codes
    internet: Codes
    options: dict[str, Codes]
    contract: Codes
    is_paperless: Codes
    payment: Codes
    monthly_cents: NDArray[np.int32]
    drift: NDArray[np.float32]


@dataclass(frozen=True)
class Lives:
    """The customer who holds each place at the end of one month."""

    profile: Profile
    place: NDArray[np.int64]
    arrival_month: NDArray[np.int16]
    tenure: NDArray[np.int16]
    has_churned: NDArray[np.bool_]


def live_until(months: int, *, first_place: int, places: int, seed: int) -> Lives:
    """Return who holds the places at the end of the business's month number `months` (from 0).

    `first_place` must be a multiple of four: the generator gives four numbers per count.
    """
    draws = _arrivals(seed, 0, first_place, places)
    logit, tenure = _hidden_logit(decode(draws)), _first_tenure(draws)
    arrival = np.zeros(places, np.int16)
    churned = _leave(seed, 0, first_place, logit, tenure)
    for month in range(1, months + 1):
        tenure += 1
        gone = np.flatnonzero(churned)
        arrived = _arrivals(seed, month, first_place, places)[gone]
        draws[gone], arrival[gone], tenure[gone] = arrived, month, _first_tenure(arrived)
        logit[gone] = _hidden_logit(decode(arrived))
        churned = _leave(seed, month, first_place, logit, tenure)
    place = np.arange(first_place, first_place + places, dtype=np.int64)
    return Lives(decode(draws), place, arrival, tenure, churned)


def decode(draws: Draws) -> Profile:
    """Turn the four numbers drawn for each arriving customer into a profile.

    Each number is cut into four lanes of 16 bits: one uniform variate per column.
    """
    bits = draws.view(np.uint16)
    u = np.ascontiguousarray(bits.T).astype(np.float32) / np.float32(65536)
    partner = _yes(u[2], 0.48)
    internet = _choose(u[6], _INTERNET_SHARES)
    phone = np.where(internet == DSL, u[4] < 0.72, True).astype(np.int8)
    dependents = (u[3] < np.where(partner == YES, 0.46, 0.09)).astype(np.int8)
    contract = _choose(u[13], _CONTRACT_SHARES[internet].T)
    lines = np.where(phone == YES, u[5] < np.where(internet == FIBER, 0.58, 0.3), NOT_OFFERED).astype(np.int8)
    options = {
        name: np.where(internet == NO_INTERNET, NOT_OFFERED, u[7 + i] < _OPTION_SHARES[contract]).astype(
            np.int8
        )
        for i, name in enumerate(OPTIONS)
    }
    return Profile(
        is_male=_yes(u[0], 0.5),
        is_senior=_yes(u[1], 0.17),
        has_partner=partner,
        has_dependents=dependents,
        has_phone=phone,
        multiple_lines=lines,
        internet=internet,
        options=options,
        contract=contract,
        is_paperless=(u[14] < np.where(internet == NO_INTERNET, 0.3, 0.68)).astype(np.int8),
        payment=_choose(u[15], _PAYMENT_SHARES[contract].T),
        monthly_cents=_monthly_cents(phone, lines, internet, options, noise=bits[:, 0] % 0x8000),
        drift=(((bits[:, 1] % 0x100) / 255 - 0.5) / 10).astype(np.float32),
    )


def _monthly_cents(
    phone: Codes, lines: Codes, internet: Codes, options: dict[str, Codes], *, noise: NDArray[np.uint16]
) -> NDArray[np.int32]:
    """Add up the price list, in steps of five cents: the services and a little that differs per customer."""
    price = np.array([2500, 5000, 0], np.int32)[internet] + np.where(phone == YES, 2000, 0)
    price += np.where(lines == YES, 500, 0)
    for name, codes in options.items():
        price += np.where(codes == YES, 1000 if name.startswith("streaming") else 500, 0)
    steps = noise.astype(np.int32) * 80 // 0x8000 - 40
    return np.asarray(price + 5 * steps, np.int32)


def _hidden_logit(profile: Profile) -> NDArray[np.float32]:
    logit = INTERCEPT + CONTRACT_WEIGHTS[profile.contract] + INTERNET_WEIGHTS[profile.internet]
    logit += PAYMENT_WEIGHTS[profile.payment]
    for name, weights in OPTION_WEIGHTS.items():
        logit += weights[profile.options[name]]
    logit += np.float32(PAPERLESS_WEIGHT) * profile.is_paperless
    logit += np.float32(SENIOR_WEIGHT) * profile.is_senior
    logit += np.float32(DEPENDENTS_WEIGHT) * profile.has_dependents
    return np.asarray(logit, np.float32)


def _leave(
    seed: int, month: int, first_place: int, logit: NDArray[np.float32], tenure: NDArray[np.int16]
) -> NDArray[np.bool_]:
    raw = Philox(key=[seed, 2 * month], counter=first_place // 4).random_raw(len(logit))
    chance = (raw >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    by_tenure = TENURE_WEIGHT * np.log(np.arange(1, tenure.max() + 2, dtype=np.float32).clip(1))
    hazard = 1 / (1 + np.exp(-(logit + by_tenure[np.maximum(tenure, 1) - 1])))
    return np.asarray((chance < hazard) & (tenure > 0))


def _arrivals(seed: int, month: int, first_place: int, places: int) -> Draws:
    generator = Philox(key=[seed, 2 * month + 1], counter=first_place)
    return generator.random_raw(4 * places).reshape(places, 4)


def _first_tenure(draws: Draws) -> NDArray[np.int16]:
    """Return 1, or 0 for the few whose first bill comes a month later."""
    return ((draws[:, 0] >> np.uint64(24)) % np.uint64(1000) >= 1000 * _SECOND_MONTH_SHARE).astype(np.int16)


def _yes(u: NDArray[np.float32], share: float) -> Codes:
    return (u < share).astype(np.int8)


def _choose(u: NDArray[np.float32], cumulative: NDArray[np.float32]) -> Codes:
    codes = np.zeros(len(u), np.int8)
    for limit in cumulative:
        codes += u >= limit
    return codes
