"""The true churn probability of sampled customers, by Monte Carlo over the declared hazard.

Each sampled customer is copied `draws` times from the state at the end of the as-of date, and all copies
live through gap, horizon and grace by the very step that wrote the drops, with draws of their own.
List prices are announced, so they are those of the business; nobody is assigned a treatment, while the
business's own policy goes on.

The label of a copy: the first end that no return within `grace` days undoes. In the gap: the copy does
not count. In the horizon: churned. With `voluntary_only` an involuntary end in gap or horizon is
censored: the copy does not count. Days are whole: a return on the day number end + grace counts as within.
"""

import csv
import logging
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from churn_ml.errors import SettingsError
from churn_ml.simulation.business import SAMPLE_SIZE, sample_path, step
from churn_ml.simulation.business_draws import Who, key_of
from churn_ml.simulation.business_rows import Journal
from churn_ml.simulation.business_state import World, load_world
from churn_ml.simulation.treatments import Assignments

log = logging.getLogger(__name__)

_COPIES_AT_ONCE = 100_000
_SEED_SPAN = 2**32
_NOT_ENDED = 0


@dataclass(frozen=True)
class TrueProbabilities:
    """One value per sampled customer: who, the probability, its standard error, the copies that counted."""

    customer_id: list[str]
    true_churn_probability: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    draws: NDArray[np.int64]


@dataclass(frozen=True)
class _Label:
    gap: int
    horizon: int
    grace: int
    is_voluntary_only: bool


def true_probabilities(
    truth: Path,
    *,
    as_of_date: date,
    customers: int = 2000,
    draws: int = 400,
    gap: int = 7,
    horizon: int = 30,
    grace: int = 7,
    voluntary_only: bool = False,
) -> TrueProbabilities:
    """Return the true churn probabilities of the first `customers` of the sample kept at `as_of_date`.

    Raises
    ------
    SettingsError
        If no sample was kept at that date, or an argument is out of its bounds.
    """
    if not 1 <= customers <= SAMPLE_SIZE or draws < 1 or gap < 0 or horizon < 1 or grace < 0:
        raise SettingsError(
            f"Expected 1 to {SAMPLE_SIZE} customers, at least 1 draw, a gap and a grace from 0 and a horizon "
            f"from 1 day; found {customers}, {draws}, {gap}, {grace} and {horizon}."
        )
    world, sampled = _load_sample(truth, as_of_date)
    sampled = sampled[:customers]
    label = _Label(gap, horizon, grace, voluntary_only)
    at_once = max(1, _COPIES_AT_ONCE // draws)
    parts = [
        _count(world, np.arange(first, min(first + at_once, len(sampled))), draws, label)
        for first in range(0, len(sampled), at_once)
    ]
    churned, counted = (np.concatenate([part[number] for part in parts]) for number in range(2))
    share = churned / np.maximum(counted, 1)
    # One success and one failure are added, so that a share of 0 has an error too.
    error = np.sqrt((churned + 1) * (counted - churned + 1) / (counted + 2) ** 2 / (counted + 3))
    return TrueProbabilities([f"C{who:08d}" for who in sampled.tolist()], share, error, counted)


def write_truth(path: Path, found: TrueProbabilities) -> None:
    """Write the truth file; no pipeline reads it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["customer_id", "true_churn_probability", "standard_error", "draws"])
        columns = (found.true_churn_probability, found.standard_error, found.draws)
        for customer_id, share, error, count in zip(found.customer_id, *columns, strict=True):
            writer.writerow([customer_id, f"{share:.6f}", f"{error:.6f}", count])


def _load_sample(truth: Path, as_of_date: date) -> tuple[World, Who]:
    path = sample_path(truth, as_of_date)
    if not path.is_file():
        kept = sorted(other.stem.removeprefix("sample-") for other in truth.glob("sample-*.npz"))
        raise SettingsError(
            f"Expected a truth date of {truth}, found {as_of_date}; kept are {', '.join(kept) or 'none'}. "
            "Name it among --truth-dates when the business is simulated."
        )
    world, stored, _ = load_world(path)
    return world, stored["sampled"]


def _count(
    world: World, chosen: Who, draws: int, label: _Label
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return per customer how many copies churned and how many count."""
    as_of, first = world.day, int(chosen[0])
    copies = world.copy_of(np.repeat(chosen, draws), key_of(world.seed, as_of, first) % _SEED_SPAN)
    ended = np.zeros(copies.size, np.int32)
    is_involuntary = np.zeros(copies.size, np.bool_)
    journal, nothing = Journal(is_recording=False), Assignments.none()
    was_active = copies.customers.is_active.copy()
    for _ in range(label.gap + label.horizon + label.grace):
        dunned = copies.customers.dunning_end != 0
        step(copies, journal, nothing)
        active = copies.customers.is_active
        left, back = was_active & ~active, active & ~was_active
        is_undone = back & (copies.day - ended <= label.grace)
        ended[is_undone] = _NOT_ENDED
        newly = left & (ended == _NOT_ENDED)
        ended[newly], is_involuntary[newly] = copies.day, dunned[newly]
        was_active = active.copy()
    days = np.where(ended == _NOT_ENDED, np.iinfo(np.int32).max, ended - as_of - 1)
    is_churned = (days >= label.gap) & (days < label.gap + label.horizon)
    is_out = days < label.gap
    if label.is_voluntary_only:
        is_out |= is_involuntary & is_churned
    shape = (len(chosen), draws)
    return (is_churned & ~is_out).reshape(shape).sum(axis=1), (~is_out).reshape(shape).sum(axis=1)
