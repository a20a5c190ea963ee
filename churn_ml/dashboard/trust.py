"""Whether the numbers can be trusted, judged by what the marts say of outcomes, checks and age.

No limit here is the business's: what agrees with the expectation is told by 90 % intervals, and how many of
them may miss by chance by the binomial distribution.
"""

from dataclasses import dataclass
from enum import IntEnum
from math import comb
from typing import Any

import pandas as pd

from churn_ml.dashboard.formats import show, show_day
from churn_ml.dashboard.groups import wilson_interval
from churn_ml.dashboard.nights import Freshness

# A 90 % interval misses one time in ten; more misses than happen one time in twenty are a finding.
_MISS_CHANCE = 0.1
_UNLIKELY = 0.05


class Level(IntEnum):
    """What a ground says of the numbers, the worst highest."""

    GOOD = 0
    UNKNOWN = 1
    CARE = 2
    BAD = 3


@dataclass(frozen=True)
class Ground:
    """One reason to trust the numbers or not to; `clause` is the sentence without its figures."""

    level: Level
    sentence: str
    clause: str


def judge(
    performance: pd.DataFrame, tenths: pd.DataFrame, checks: pd.DataFrame, age: Freshness, no_outcome: str
) -> list[Ground]:
    """Return the grounds, outcomes first.

    Parameters
    ----------
    performance
        The answer to ``trust_performance``: matured nights, newest first.
    tenths
        The answer to ``trust_tenths`` for the newest of them.
    checks
        The answer to ``trust_checks`` for the night that is looked at.
    no_outcome
        Why no outcome is known, where `performance` is empty.
    """
    if performance.empty:
        outcomes = [Ground(Level.UNKNOWN, no_outcome, "no outcome is known")]
    else:
        newest = {str(column): value for column, value in performance.iloc[0].items()}
        outcomes = [_leavers(newest), _ranking(newest, tenths), _tenths(tenths), _money(newest)]
        if len(performance) > 1:
            outcomes.append(_nights(performance))
    return [*outcomes, _gates(checks), _age(age)]


def headline(grounds: list[Ground]) -> str:
    """Return in one line whether the numbers can be trusted, and why."""
    worst = {level: [ground.clause for ground in grounds if ground.level is level] for level in Level}
    if worst[Level.BAD]:
        return f"No: {_listed(worst[Level.BAD])}"
    if "no outcome is known" in worst[Level.UNKNOWN]:
        care = f"; and {_listed(worst[Level.CARE])}" if worst[Level.CARE] else ""
        return f"Checked but not proven: no outcome is known{care}"
    if worst[Level.CARE]:
        return f"Yes, with care: {_listed(worst[Level.CARE])}"
    return "Yes: as many left as expected, the riskiest first, and every check passed"


def _leavers(newest: dict[str, Any]) -> Ground:
    low, high = wilson_interval(int(newest["churned_count"]), int(newest["measured_count"]))
    expected, count = float(newest["expected_churned_count"]), int(newest["measured_count"])
    told = (
        f"Of the scores of {show_day(newest['scored_as_of_date'])}: {int(newest['churned_count'])} customers "
        f"left where {expected:.1f} were expected"
    )
    if low <= expected / count <= high:
        return Ground(
            Level.GOOD, f"{told}; chance alone explains the difference.", "as many left as expected"
        )
    more = expected / count < low
    clause = "more left than expected" if more else "fewer left than expected"
    so = "understate" if more else "overstate"
    return Ground(Level.BAD, f"{told}: more than chance explains, the probabilities {so} churn.", clause)


def _ranking(newest: dict[str, Any], tenths: pd.DataFrame) -> Ground:
    highest = tenths.iloc[-1]
    lift = float(newest["top_decile_lift"])
    if lift != lift:
        return Ground(
            Level.UNKNOWN, "Nobody left: whether the riskiest leave first is not known.", "nobody left"
        )
    told = f"The tenth of customers ranked highest left {lift:.1f} times as often as all"
    if float(highest["churned_share_low"]) > newest["churned_count"] / newest["measured_count"]:
        return Ground(Level.GOOD, f"{told}: the order is worth following.", "the riskiest leave first")
    return Ground(Level.BAD, f"{told}, which chance could do.", "the order is no better than chance")


def _tenths(tenths: pd.DataFrame) -> Ground:
    expected = tenths["mean_churn_probability"]
    inside = (expected >= tenths["churned_share_low"]) & (expected <= tenths["churned_share_high"])
    missed = int((~inside).sum())
    told = (
        f"In {int(inside.sum())} of {len(tenths)} tenths by risk what was expected lies in the 90 % interval"
    )
    if _is_unlikely(missed, len(tenths)):
        return Ground(Level.CARE, f"{told}: more miss than chance explains.", "some tenths by risk are off")
    return Ground(Level.GOOD, f"{told} of what happened.", "the tenths agree")


def _money(newest: dict[str, Any]) -> Ground:
    within = newest["is_value_lost_within_interval"]
    if within is None or within != within:
        return Ground(
            Level.UNKNOWN,
            "Whether the money was right is not known: no interval or no known value.",
            "the money is not known",
        )
    currency = newest["currency"]
    ends = " to ".join(
        show(newest[f"expected_revenue_loss_{end}_amount"], "currency", currency) for end in ("low", "high")
    )
    told = f"{show(newest['value_lost_amount'], 'currency', currency)} was lost; expected were {ends}"
    if within:
        return Ground(Level.GOOD, f"{told}: the loss lies within.", "the loss lies within its interval")
    return Ground(Level.CARE, f"{told}: the loss lies outside.", "the loss was outside its interval")


def _nights(performance: pd.DataFrame) -> Ground:
    """Judge all matured nights: how many agree, and whether all err to one side."""
    expected = performance["expected_churned_count"]
    intervals = [
        wilson_interval(int(left), int(count))
        for left, count in zip(performance["churned_count"], performance["measured_count"], strict=True)
    ]
    missed = sum(
        not low <= share <= high
        for (low, high), share in zip(intervals, expected / performance["measured_count"], strict=True)
    )
    total = len(performance)
    told = f"In {total - missed} of {total} matured nights chance explains the difference"
    side = _side(performance["churned_count"] - expected)
    if side:
        told += f"; in each of the {total} {side} left than expected"
    if side and missed:
        return Ground(Level.CARE, f"{told}.", f"in each of {total} matured nights {side} left than expected")
    if _is_unlikely(missed, total):
        return Ground(Level.CARE, f"{told}.", f"{missed} of {total} matured nights were off")
    return Ground(Level.GOOD, f"{told}.", "matured nights agree")


def _side(differences: pd.Series) -> str | None:
    """Say to which side all nights err; None where they do not agree."""
    return "more" if (differences > 0).all() else "fewer" if (differences < 0).all() else None


def _gates(checks: pd.DataFrame) -> Ground:
    failed = checks[checks["verdict"] != "pass"] if len(checks) else checks
    if checks.empty:
        return Ground(Level.UNKNOWN, "No check of this night is on record.", "no check is on record")
    blocked = int((failed["severity"] == "block").sum())
    warned = len(failed) - blocked
    if blocked:
        return Ground(
            Level.BAD,
            f"{_count(blocked, 'check')} of {len(checks)} that block failed.",
            "checks that block failed",
        )
    if warned:
        return Ground(
            Level.CARE,
            f"{_count(warned, 'check')} of {len(checks)} warned; none that blocks failed.",
            f"{_count(warned, 'check')} warned",
        )
    return Ground(Level.GOOD, f"All {len(checks)} checks passed.", "every check passed")


def _age(age: Freshness) -> Ground:
    if age.is_stale:
        return Ground(Level.CARE, f"The newest night is stale. {age.sentence()}", "the newest night is stale")
    behind = age.age_days is not None and age.age_days > 0
    told = "not stale by the age that is allowed" if behind else "as new as it should be"
    return Ground(Level.GOOD, f"The newest night is {told}. {age.sentence()}", "it is fresh")


def _is_unlikely(missed: int, total: int) -> bool:
    """Say whether as many misses of `total` happen by chance less than one time in twenty."""
    chance = sum(
        comb(total, k) * _MISS_CHANCE**k * (1 - _MISS_CHANCE) ** (total - k) for k in range(missed, total + 1)
    )
    return chance < _UNLIKELY


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(clauses: list[str]) -> str:
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"
