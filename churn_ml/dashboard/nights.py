"""Which nights there are to look at, and whether the newest is as new as it should be."""

from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from churn_ml.dashboard.asking import note_publications, read
from churn_ml.dashboard.formats import show, show_day


@dataclass(frozen=True)
class Night:
    """One published night.

    `scoring_run_key` is what a question finds its rows by; `previous_as_of_date` is the next older
    published night of this list, None for the oldest.
    """

    run_id: str
    scoring_run_key: int
    as_of_date: date
    known_as_of: datetime
    model_version: str
    currency: str
    previous_as_of_date: date | None = None
    previous_run_key: int | None = None

    def money(self, amount: object) -> str:
        """Return an amount in the currency of the night; null is not known."""
        return show(amount, "currency", self.currency)


@dataclass(frozen=True)
class Freshness:
    """Whether what the pages show is stale."""

    last_as_of_date: date | None
    expected_as_of_date: date
    age_days: int | None
    is_stale: bool
    failed_since_count: int

    def sentence(self) -> str:
        """Return it as people read it."""
        if self.last_as_of_date is None:
            return "Nothing is published."
        failed = {0: "", 1: " 1 attempt has failed since."}.get(
            self.failed_since_count, f" {self.failed_since_count} attempts have failed since."
        )
        if not self.age_days or self.age_days < 1:
            return f"Up to date.{failed}"
        days = "1 day" if self.age_days == 1 else f"{self.age_days} days"
        return f"{days} behind: the night of {show_day(self.expected_as_of_date)} is due.{failed}"


def published_nights() -> list[Night]:
    """Return the nights that BI sees, newest first; empty before the first is published.

    Raises
    ------
    WarehouseError
        If the warehouse does not answer.
    """
    if not read("is_built")["is_built"].iat[0]:
        return []
    rows = read("published_nights").to_dict("records")
    note_publications(tuple(int(row["scoring_run_key"]) for row in rows))
    older = [*rows[1:], None]
    return [
        Night(
            run_id=row["run_id"],
            scoring_run_key=int(row["scoring_run_key"]),
            as_of_date=row["as_of_date"],
            known_as_of=row["known_as_of"],
            model_version=row["model_version"] or "no model",
            currency=row["currency"] or "",
            previous_as_of_date=before["as_of_date"] if before else None,
            previous_run_key=int(before["scoring_run_key"]) if before else None,
        )
        for row, before in zip(rows, older, strict=True)
    ]


def freshness() -> Freshness:
    """Return how old the newest published night is; read anew each time, since the clock goes on."""
    row = read("freshness").iloc[0]
    return Freshness(
        last_as_of_date=row["last_as_of_date"],
        expected_as_of_date=row["expected_as_of_date"],
        age_days=None if pd.isna(row["age_days"]) else int(row["age_days"]),
        is_stale=bool(row["is_stale"]),
        failed_since_count=0 if pd.isna(row["failed_since_count"]) else int(row["failed_since_count"]),
    )
