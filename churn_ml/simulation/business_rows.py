"""What a day of the business leaves behind: rows as arrays of codes, entity by entity."""

from collections import defaultdict
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn_ml.simulation.business_draws import Who
from churn_ml.simulation.business_state import World

Rows = dict[str, NDArray[Any]]
COMMON: dict[str, type] = {
    "who": np.int32, "moment": np.int64, "revision": np.int8, "is_deleted": np.bool_,
}  # fmt: skip
FIELDS: dict[str, dict[str, type]] = {
    "customers": dict.fromkeys(("customer_type", "region", "channel", "age", "gender"), np.int8)
    | {"signup_day": np.int32},
    "plans": {"plan": np.int8, "price": np.int32},
    "subscriptions": dict.fromkeys(("change_type", "plan", "discount", "contract"), np.int8)
    | {"price": np.int32, "term_end": np.int32, "is_auto": np.bool_},
    "invoices": {"due_day": np.int32, "amount": np.int32},
    "payments": {"invoice_day": np.int32, "status": np.int8, "amount": np.int32},
    "usage": dict.fromkeys(("sessions", "minutes", "searches", "exports", "shares"), np.int32),
    "tickets": dict.fromkeys(("event_type", "kind", "priority", "csat"), np.int8) | {"ticket_day": np.int32},
    "contacts": dict.fromkeys(("channel", "is_outbound", "kind"), np.int8),
    "treatments": dict.fromkeys(("treatment", "kind"), np.int8)
    | {"campaign": np.int16, "is_held_out": np.bool_, "cost": np.int32},
}
"""The codes of each entity's rows; columns of `COMMON` come on top."""


class Change(IntEnum):
    """The kinds of change of a subscription, in the order of their codes."""

    START = 0
    UPGRADE = 1
    DOWNGRADE = 2
    PRICE_CHANGE = 3
    DISCOUNT_CHANGE = 4
    RENEWAL = 5
    CANCEL_REQUEST = 6
    CANCEL_WITHDRAWAL = 7
    END_VOLUNTARY = 8
    END_INVOLUNTARY = 9
    RETURN = 10


@dataclass
class Journal:
    """Collects the rows of one day; one that is not recording drops them."""

    is_recording: bool = True
    _parts: dict[str, list[Rows]] = field(default_factory=lambda: defaultdict(list))

    def add(self, entity: str, who: Who, moment: ArrayLike, **codes: ArrayLike) -> None:
        """Write one row per customer of `who`; a single code goes to all of them."""
        if not self.is_recording or not len(who):
            return
        given = {"who": who, "moment": moment, "revision": 1, "is_deleted": False} | codes
        self._parts[entity].append({
            name: np.broadcast_to(np.asarray(given[name], dtype), len(who))
            for name, dtype in (COMMON | FIELDS[entity]).items()
        })  # fmt: skip

    def add_change(self, world: World, who: Who, moment: ArrayLike, change: Change) -> None:
        """Write the full state after a change of the subscriptions of `who`."""
        c = world.customers
        c.changed_day[who] = world.day
        if not self.is_recording:
            return
        names = ("plan", "price", "discount", "contract", "term_end", "is_auto")
        state = {name: getattr(c, name)[who] for name in names}
        self.add("subscriptions", who, moment, change_type=int(change), **state)

    def add_customers(self, world: World, who: Who, moment: ArrayLike) -> None:
        """Write the attributes of `who` as they are."""
        if self.is_recording:
            state = {name: getattr(world.customers, name)[who] for name in FIELDS["customers"]}
            self.add("customers", who, moment, **state)

    def rows(self, entity: str) -> Rows:
        """Return the rows of an entity, in the order in which they were written."""
        return join(entity, self._parts[entity])


def join(entity: str, parts: list[Rows]) -> Rows:
    """Put blocks of rows under one another."""
    columns = COMMON | FIELDS[entity]
    if not parts:
        return {name: np.empty(0, dtype) for name, dtype in columns.items()}
    return {name: np.concatenate([part[name] for part in parts]) for name in columns}


def select(rows: Rows, chosen: NDArray[Any]) -> Rows:
    """Pick rows by a mask or by position."""
    return {name: values[chosen] for name, values in rows.items()}
