"""The hidden state of the simulated subscription business: arrays with one place per customer ever seen."""

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from churn_ml.errors import SettingsError
from churn_ml.simulation.business_draws import Who

I1 = NDArray[np.int8]
I2 = NDArray[np.int16]
I4 = NDArray[np.int32]
F4 = NDArray[np.float32]
Flags = NDArray[np.bool_]

MONTH_TO_MONTH, ONE_YEAR, TWO_YEARS = 0, 1, 2
NEVER = 0
"""A scheduled day that does not come."""


@dataclass
class Customers:
    """One array per property; days count from 1970, money is in cents, shares are in per cent."""

    # Who they are.
    signup_day: I4
    customer_type: I1
    region: I1
    channel: I1
    age: I1
    gender: I1
    weekday: I1
    # Their subscription.
    is_active: Flags
    start_day: I4
    changed_day: I4
    plan: I1
    price: I4
    discount: I1
    discount_end: I4
    contract: I1
    term_end: I4
    is_auto: Flags
    notice_end: I4
    withdraw_day: I4
    return_day: I4
    # Billing.
    bill_dom: I1
    payer: F4
    invoice_day: I4
    invoice_amount: I4
    attempt_day: I4
    attempts: I1
    dunning_end: I4
    refund_day: I4
    refund_invoice: I4
    refund_amount: I4
    # Behaviour.
    habit: F4
    engagement: F4
    slow: F4
    is_fading: Flags
    fragility: F4
    ticket_day: I4
    ticket_kind: I1
    ticket_priority: I1
    resolve_day: I4
    rate_day: I4
    csat: I1
    # What the hazard remembers.
    payment_trouble: F4
    ticket_trouble: F4
    price_shock: F4
    plan_mood: F4
    treated_until: I4
    treatment_effect: F4
    treatment_day: I4
    hazard: F4

    @classmethod
    def empty(cls, capacity: int) -> Self:
        """Return `capacity` places where nobody is."""
        return cls(**{f.name: np.zeros(capacity, _dtype(f.type)) for f in fields(cls)})

    @property
    def capacity(self) -> int:
        """The number of places."""
        return len(self.signup_day)

    def grow(self, capacity: int) -> None:
        """Add empty places."""
        for name, values in self.arrays().items():
            grown = np.zeros(capacity, values.dtype)
            grown[: len(values)] = values
            setattr(self, name, grown)

    def take(self, who: Who) -> Self:
        """Copy some customers, as often as they are named."""
        return type(self)(**{name: values[who] for name, values in self.arrays().items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every array by its name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _dtype(hint: object) -> Any:
    """Read ``np.int8`` out of ``NDArray[np.int8]``."""
    return get_args(get_args(hint)[1])[0]


@dataclass
class World:
    """The business at the end of `day`, the numbers its draws are keyed by, and what it still has to deliver.

    `plan_seed` keys the list prices, which are announced: a Monte Carlo world keeps it and changes
    only `seed`.
    """

    seed: int
    plan_seed: int
    opening: int
    day: int
    target: int
    size: int
    list_price: I4
    customers: Customers
    is_open: bool = True
    campaigns: list[str] = field(default_factory=lambda: ["business"])

    def copy_of(self, who: Who, seed: int) -> "World":
        """Return a closed world (nobody signs up) of copies of some customers."""
        return replace(
            self,
            seed=seed,
            size=len(who),
            list_price=self.list_price.copy(),
            customers=self.customers.take(who),
            is_open=False,
        )


def save_world(path: Path, world: World, extra: dict[str, NDArray[Any]], settings: dict[str, Any]) -> None:
    """Write the world and whatever goes with it; the file appears whole or not at all."""
    plain = {
        f.name: getattr(world, f.name) for f in fields(world) if f.name not in ("customers", "list_price")
    }
    text = np.array(json.dumps({"world": plain, "settings": settings}))
    arrays: dict[str, Any] = {
        f"customer:{name}": values[: world.size] for name, values in world.customers.arrays().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        np.savez(file, **(arrays | extra | {"list_price": world.list_price, "meta": text}))
    unfinished.replace(path)


def load_world(path: Path) -> tuple[World, dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `save_world` wrote.

    Raises
    ------
    SettingsError
        If there is no such file.
    """
    if not path.is_file():
        raise SettingsError(
            f"Expected the state of a simulated business in {path}, found no such file. "
            "`churn-ml simulate business` writes it into the folder named by --truth."
        )
    with np.load(path, allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    meta = json.loads(str(stored.pop("meta")))
    prefix = "customer:"
    customers = Customers(
        **{name.removeprefix(prefix): stored.pop(name) for name in list(stored) if name.startswith(prefix)}
    )
    world = World(customers=customers, list_price=stored.pop("list_price"), **meta["world"])
    return world, stored, meta["settings"]
