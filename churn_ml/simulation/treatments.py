"""Retention treatments: those the business gives itself, and those the warehouse assigned.

A treatment lowers the log-odds of the monthly hazard by `EFFECTS` for `EFFECT_DAYS` days. The held out
of both kinds get a row and no effect.
"""

import csv
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from churn_ml.errors import SettingsError
from churn_ml.simulation.business_draws import Stream, bits, choose, lane, moment, uniform
from churn_ml.simulation.business_hazard import evaluate
from churn_ml.simulation.business_plans import day_number
from churn_ml.simulation.business_rows import Journal, Rows, join, select
from churn_ml.simulation.business_state import NEVER, World

TREATMENTS = ("discount", "call", "upgrade_offer")
EFFECTS = np.array([-0.9, -0.7, -0.5], np.float32)
COSTS = np.array([1500, 800, 500], np.int32)
EFFECT_DAYS = 60
HELD_OUT_SHARE = 0.3
REST_DAYS = 90
"""The business leaves a customer alone for this long after a treatment."""
DAILY_AT_RISK, DAILY_OTHERS = 0.003, 0.0003
FALLING_ENGAGEMENT = -0.6
BUSINESS, WAREHOUSE = 0, 1
COLUMNS = ["customer_id", "treatment", "assigned_at", "is_held_out", "campaign_id"]
_EMAIL, _PHONE = 0, 1


@dataclass(frozen=True)
class Assignments:
    """Treatments that the warehouse assigned: rows of the entity, in the order of their moments."""

    rows: Rows

    @classmethod
    def none(cls) -> Self:
        """Return no assignments at all."""
        return cls(join("treatments", []))

    def of_day(self, day: int) -> Rows:
        """Return the rows that fall on a day."""
        return select(self.rows, self.rows["moment"] // 86_400 == day)


def treat(world: World, journal: Journal, assignments: Assignments) -> None:
    """Give the day's treatments: first the assigned ones, then those of the business's own policy."""
    assigned = assignments.of_day(world.day)
    _give(world, journal, assigned)
    c, day = world.customers, world.day
    chance = uniform(world.seed, day, Stream.TREATMENT, np.arange(c.capacity))
    # The business sees what the tables show, not the hazard.
    is_at_risk = (c.payment_trouble > 1) | (c.ticket_trouble > 1)
    is_at_risk |= c.engagement - c.slow < FALLING_ENGAGEMENT
    rate = np.where(is_at_risk, DAILY_AT_RISK, DAILY_OTHERS)
    rested = (c.treatment_day == NEVER) | (c.treatment_day + REST_DAYS <= day)
    who = np.flatnonzero((chance < rate) & c.is_active & (c.notice_end == NEVER) & rested)
    words = bits(world.seed, day, Stream.CONTACT, who)
    kind = choose(lane(words, 1), 0.4, 0.75)
    held_out = lane(words, 2) < HELD_OUT_SHARE
    given = Journal()
    given.add(
        "treatments", who, moment(day, words, 8, 20), treatment=kind, kind=BUSINESS, campaign=0,
        is_held_out=held_out, cost=np.where(held_out, 0, COSTS[kind]),
    )  # fmt: skip
    _give(world, journal, given.rows("treatments"))


def _give(world: World, journal: Journal, rows: Rows) -> None:
    c, who = world.customers, rows["who"].astype(np.int64)
    c.treatment_day[who] = world.day
    works = ~rows["is_held_out"] & c.is_active[who]
    treated, kind = who[works], rows["treatment"][works]
    still = c.treatment_effect[treated] * (c.treated_until[treated] >= world.day)
    c.treatment_effect[treated] = np.minimum(still, EFFECTS[kind])
    c.treated_until[treated] = world.day + EFFECT_DAYS
    evaluate(world, treated, world.day)
    journal.add("treatments", who, **{name: rows[name] for name in rows if name not in _SET_BY_JOURNAL})
    channel = np.where(kind == TREATMENTS.index("call"), _PHONE, _EMAIL)
    moments, source = rows["moment"][works], rows["kind"][works] + 1
    journal.add("contacts", treated, moments, channel=channel, is_outbound=1, kind=source)


_SET_BY_JOURNAL = {"who", "revision", "is_deleted"}


def read_assignments(path: Path, world: World, until: date) -> Assignments:
    """Read the file of assignments; campaigns it names for the first time are added to the world.

    Raises
    ------
    SettingsError
        If a column is missing, or a line names an unknown customer or treatment, a moment that is
        not after the world's day and at most `until`, or a second treatment of one customer on one day.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = set(COLUMNS) - set(reader.fieldnames or [])
        if missing:
            raise SettingsError(
                f"{path}: expected the columns {', '.join(COLUMNS)}, missing {sorted(missing)}."
            )
        lines = [_Line(path, number, fields, world, until) for number, fields in enumerate(reader, 2)]
    lines.sort(key=lambda line: (line.moment, line.who))
    _refuse_twice_a_day(lines)
    journal = Journal()
    journal.add(
        "treatments", np.array([line.who for line in lines], np.int64), _numbers(lines, "moment"),
        treatment=_numbers(lines, "treatment"), kind=WAREHOUSE, campaign=_numbers(lines, "campaign"),
        is_held_out=_numbers(lines, "is_held_out"), cost=_numbers(lines, "cost"),
    )  # fmt: skip
    return Assignments(journal.rows("treatments"))


def _numbers(lines: "list[_Line]", name: str) -> NDArray[np.int64]:
    return np.array([getattr(line, name) for line in lines], np.int64)


class _Line:
    """One line of the file, checked."""

    def __init__(self, path: Path, number: int, fields: dict[str, str], world: World, until: date) -> None:
        self.place = f"{path}, line {number}"
        self.fields = fields
        self.who = self._read_customer(world)
        self.treatment = self._read_choice("treatment", TREATMENTS)
        self.is_held_out = self._read_choice("is_held_out", ("false", "true"))
        self.cost = 0 if self.is_held_out else int(COSTS[self.treatment])
        self.moment = self._read_moment(world.day, until)
        campaign = fields["campaign_id"] or "business"
        if campaign not in world.campaigns:
            world.campaigns.append(campaign)
        self.campaign = world.campaigns.index(campaign)

    def _read_customer(self, world: World) -> int:
        text = self.fields["customer_id"] or ""
        if text[:1] != "C" or not text[1:].isdecimal() or len(text) != 9 or int(text[1:]) >= world.size:
            raise SettingsError(
                f"{self.place}: expected a customer of this business, C00000000 to C{world.size - 1:08d}, "
                f"found {text!r}."
            )
        return int(text[1:])

    def _read_choice(self, column: str, choices: tuple[str, ...]) -> int:
        text = (self.fields[column] or "").lower()
        if text not in choices:
            raise SettingsError(f"{self.place}: expected {column} to be one of {choices}, found {text!r}.")
        return choices.index(text)

    def _read_moment(self, day: int, until: date) -> int:
        text = self.fields["assigned_at"] or ""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise SettingsError(
                f"{self.place}: expected assigned_at as YYYY-MM-DDTHH:MM:SSZ, found {text!r}."
            ) from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        second = int(moment.timestamp())
        if not day < second // 86_400 <= day_number(until):
            raise SettingsError(
                f"{self.place}: expected assigned_at after the last simulated day and at most on {until}, "
                f"found {text}. What was simulated cannot be treated any more."
            )
        return second


def _refuse_twice_a_day(lines: list[_Line]) -> None:
    seen: dict[tuple[int, int], _Line] = {}
    for line in lines:
        other = seen.setdefault((line.who, line.moment // 86_400), line)
        if other is not line:
            raise SettingsError(
                f"{line.place}: expected at most one treatment of a customer a day, "
                f"found a second one beside {other.place}."
            )
