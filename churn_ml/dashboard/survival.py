"""Sentences about how long customers stay, from the survival of each contract."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from churn_ml.dashboard.formats import show
from churn_ml.dashboard.groups import FEW_CUSTOMERS, group_label, in_sentence

# What customer_survival calls the customers of every contract together.
ALL = "all"


@dataclass(frozen=True)
class Stay:
    """How long the customers of one contract stay.

    `half_after_months` is the first month by which half are gone, None where that was not seen;
    `last_month` is the last one until which more than a few customers were followed in every month, 0 where
    they were too few from the begin; `last_share` is who was left then (0-1).
    """

    contract: str
    half_after_months: int | None
    last_month: int
    last_share: float
    ended_count: int

    @property
    def label(self) -> str:
        """The contract as people read it."""
        return "All contracts" if self.contract == ALL else group_label(self.contract)

    @property
    def customers(self) -> str:
        """Its customers, within a sentence."""
        return "all customers" if self.contract == ALL else f"{in_sentence(self.contract)} customers"

    def sentence(self) -> str:
        """Say when half are gone, or how many are left where that was not seen."""
        if not self.last_month:
            customers = "customers" if self.contract == ALL else self.customers
            return f"Too few {customers} were followed from their first month on to say how long they stay."
        if self.half_after_months is not None:
            return f"Half of {self._the_customers} are gone after {_months(self.half_after_months)}."
        return (
            f"{show(self.last_share, 'percent')} of {self._the_customers} are still there after "
            f"{_months(self.last_month)}, the longest that enough of them were followed."
        )

    @property
    def _the_customers(self) -> str:
        return self.customers if self.contract == ALL else f"the {self.customers}"


def stays(survival: pd.DataFrame) -> list[Stay]:
    """Return one `Stay` per contract, all together first, then the shortest.

    Parameters
    ----------
    survival
        The answer to ``cohorts_survival``: one row per contract and month of lifetime.
    """
    told = [_stay(str(contract), rows) for contract, rows in survival.groupby("contract", sort=True)]
    return sorted(told, key=lambda stay: (stay.contract != ALL, _length(stay)))


def share_at(survival: pd.DataFrame, contract: str, month: int) -> pd.Series | None:
    """Return the row of `contract` at `month`, or None where nobody was followed that long."""
    found = survival[(survival["contract"] == contract) & (survival["lifetime_months"] == month)]
    return None if found.empty else found.iloc[0]


def _stay(contract: str, rows: pd.DataFrame) -> Stay:
    ordered = rows.sort_values("lifetime_months")
    # A share is the product of all months before: one month of few, or of nobody, spoils what follows.
    is_followed = (ordered["at_risk_count"] >= FEW_CUSTOMERS) & (
        ordered["lifetime_months"] == np.arange(len(ordered))
    )
    enough = ordered[is_followed.cummin()]
    gone = enough[enough["survival_share"] <= 0.5]
    return Stay(
        contract=contract,
        half_after_months=None if gone.empty else int(gone["lifetime_months"].min()),
        last_month=0 if enough.empty else int(enough["lifetime_months"].max()),
        last_share=1.0 if enough.empty else float(enough["survival_share"].min()),
        ended_count=int(rows["ended_count"].sum()),
    )


def _length(stay: Stay) -> tuple[float, float]:
    half = float("inf") if stay.half_after_months is None else stay.half_after_months
    return (half, stay.last_share if stay.last_month else float("inf"))


def _months(count: int) -> str:
    return "1 month" if count == 1 else f"{count} months"
