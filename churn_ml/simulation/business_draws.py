"""Random numbers by counting: a draw depends on seed, day, stream and customer, and on nothing else.

SplitMix64 is used as a counter-based generator: the key mixes (seed, day, stream), the counter is the
customer's number. So a life does not move when another customer is treated, and a run that was
stopped and continued draws what one run would have drawn.
"""

from enum import IntEnum
from itertools import count

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
Floats = NDArray[np.float32]
Who = NDArray[np.int64]

_STEP = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 2**64 - 1
_DAY_SECONDS = 86_400


class Stream(IntEnum):
    """What a draw is for; two purposes never share a stream."""

    PROFILE = 1
    CONTRACT = 2
    HABIT = 3
    SIGNUP = 4
    ARRIVALS = 5
    LIST_PRICE = 6
    LIFE = 7
    MOVE = 8
    NOTICE = 9
    RETURN = 10
    RENEWAL = 11
    PASS_ON = 12
    PAY_LAG = 13
    PAY = 14
    REFUND = 15
    TICKET = 16
    RATING = 17
    CONTACT = 18
    ENGAGEMENT = 19
    FADING = 20
    USAGE = 21
    USAGE_MIX = 22
    TREATMENT = 23
    MOMENT = 24
    SAMPLE = 25
    PAYER = 26
    FAULT = 40
    FAULT_DAYS = 60


def key_of(*parts: int) -> int:
    """Mix numbers into one 64-bit key."""
    key = 0
    for part, place in zip(parts, count(1), strict=False):
        key = _mix_one((key + part * _STEP + place) & _WORD)
    return key


def _mix_one(word: int) -> int:
    word = ((word ^ (word >> 30)) * _FIRST) & _WORD
    word = ((word ^ (word >> 27)) * _SECOND) & _WORD
    return word ^ (word >> 31)


def bits(seed: int, day: int, stream: int, who: Who) -> Bits:
    """Draw 64 random bits for each customer number in `who`."""
    word = who.astype(np.uint64)
    word *= np.uint64(_STEP)
    word += np.uint64(key_of(seed, day, stream))
    word ^= word >> np.uint64(30)
    word *= np.uint64(_FIRST)
    word ^= word >> np.uint64(27)
    word *= np.uint64(_SECOND)
    word ^= word >> np.uint64(31)
    return word


def lane(words: Bits, number: int) -> Floats:
    """Cut a uniform variate in [0, 1) of 21 bits out of the words: lane 0, 1 or 2."""
    shifted = (words >> np.uint64(1 + 21 * number)) & np.uint64(0x1FFFFF)
    return shifted.astype(np.float32) * np.float32(2.0**-21)


def uniform(seed: int, day: int, stream: int, who: Who) -> NDArray[np.float64]:
    """Draw a uniform variate in [0, 1) of 53 bits."""
    return (bits(seed, day, stream, who) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def bell(words: Bits) -> Floats:
    """Turn words into a bell-shaped variate with mean 0 and variance 1: the sum of four uniform ones."""
    total = (words & np.uint64(0xFFFF)).astype(np.float32)
    for shift in (16, 32, 48):
        total += ((words >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float32)
    return (total - np.float32(131_070)) * np.float32(3**0.5 / 65_535)


def between(share: Floats, low: int, high: int) -> NDArray[np.int32]:
    """Spread a uniform variate over the whole numbers from `low` to `high`, both included."""
    return (low + share * np.float32(high - low + 1)).astype(np.int32)


def moment(day: int, words: Bits, first_hour: int, last_hour: int) -> NDArray[np.int64]:
    """Choose a second of the day between two hours, in seconds since 1970."""
    span = np.uint64((last_hour - first_hour) * 3600)
    return (words % span).astype(np.int64) + (day * _DAY_SECONDS + first_hour * 3600)


def choose(share: Floats, *limits: float) -> NDArray[np.int8]:
    """Return the number of cumulative limits that each uniform variate has reached."""
    codes = np.zeros(len(share), np.int8)
    for limit in limits:
        codes += share >= np.float32(limit)
    return codes
