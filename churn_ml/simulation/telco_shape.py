"""A synthetic snapshot in the shape of the IBM Telco Customer Churn file.

Columns, their order and every category text are those of the IBM file. Snapshots of one seed
taken at several dates show the same business: those who stay keep their id and their services and are
billed another month; those marked ``Churn=Yes`` are gone from the next month's file, and as many
new customers have come. All customers are made up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from churn_ml.errors import SettingsError
from churn_ml.simulation.telco_lives import OPTIONS, Codes, Lives, live_until

OPENING_MONTH = date(2021, 1, 1)
MOST_CUSTOMERS = 100_000_000
MOST_SEEDS = 2**32 - 1
_CHUNK = 100_000
_MONTHS_APART = 1 << 10
_LETTERS = 26**5
_ID_COUNT = 10_000 * _LETTERS
_ID_STEP = 9_999_991  # shares no factor with _ID_COUNT, so that no two customers get the same id

HEADER = [
    "customerID",
    "gender",
    "SeniorCitizen",
    "Partner",
    "Dependents",
    "tenure",
    "PhoneService",
    "MultipleLines",
    "InternetService",
    "OnlineSecurity",
    "OnlineBackup",
    "DeviceProtection",
    "TechSupport",
    "StreamingTV",
    "StreamingMovies",
    "Contract",
    "PaperlessBilling",
    "PaymentMethod",
    "MonthlyCharges",
    "TotalCharges",
    "Churn",
]
_UNQUOTED = csv.WriteOptions(include_header=False, quoting_style="none")
_NO_YES = ["No", "Yes"]
_OPTION = ["No", "Yes", "No internet service"]
_LINES = ["No", "Yes", "No phone service"]
_INTERNET = ["DSL", "Fiber optic", "No"]
_CONTRACT = ["Month-to-month", "One year", "Two year"]
_PAYMENT = ["Electronic check", "Mailed check", "Bank transfer (automatic)", "Credit card (automatic)"]


@dataclass(frozen=True)
class SnapshotSummary:
    """What one file holds: its rows, and how many of them are marked as churned."""

    rows: int
    churned: int


def write_snapshot(path: Path, *, customers: int, as_of_date: date, seed: int) -> SnapshotSummary:
    """Write the file of `customers` rows that describes the end of `as_of_date`.

    The business is billed by the month: a date inside a month shows the end of the month before.
    The file appears whole or not at all, and memory does not grow with `customers`.

    Raises
    ------
    SettingsError
        If an argument is outside of what the business can show.
    """
    months = _months_open(as_of_date)
    if not 1 <= customers <= MOST_CUSTOMERS or not 0 <= seed <= MOST_SEEDS:
        raise SettingsError(
            f"Expected 1 to {MOST_CUSTOMERS} customers and a seed from 0 to {MOST_SEEDS}, "
            f"found {customers} customers and seed {seed}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    churned = 0
    try:
        with unfinished.open("wb") as file:
            file.write(",".join(HEADER).encode() + b"\n")
            for lives in _chunks(customers, months, seed):
                csv.write_csv(_to_table(lives, seed), file, _UNQUOTED)
                churned += int(lives.has_churned.sum())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return SnapshotSummary(customers, churned)


def _months_open(as_of_date: date) -> int:
    last = (as_of_date + timedelta(days=1)).replace(day=1) - timedelta(days=1)
    months = (last.year - OPENING_MONTH.year) * 12 + last.month - OPENING_MONTH.month
    if not 0 <= months < _MONTHS_APART:
        first = date(OPENING_MONTH.year, OPENING_MONTH.month + 1, 1) - timedelta(days=1)
        raise SettingsError(
            f"Expected an as-of date from {first} on, found {as_of_date}: "
            "the synthetic business opened in that month."
        )
    return months


def _chunks(customers: int, months: int, seed: int) -> Iterator[Lives]:
    for first_place in range(0, customers, _CHUNK):
        places = min(_CHUNK, customers - first_place)
        yield live_until(months, first_place=first_place, places=places, seed=seed)


def _to_table(lives: Lives, seed: int) -> pa.Table:
    profile = lives.profile
    options = [_texts(profile.options[name], _OPTION) for name in OPTIONS]
    columns = [
        _ids(lives, seed),
        _texts(profile.is_male, ["Female", "Male"]),
        pa.array(profile.is_senior),
        _texts(profile.has_partner, _NO_YES),
        _texts(profile.has_dependents, _NO_YES),
        pa.array(lives.tenure),
        _texts(profile.has_phone, _NO_YES),
        _texts(profile.multiple_lines, _LINES),
        _texts(profile.internet, _INTERNET),
        *options,
        _texts(profile.contract, _CONTRACT),
        _texts(profile.is_paperless, _NO_YES),
        _texts(profile.payment, _PAYMENT),
        _amounts(profile.monthly_cents),
        _total_charges(lives),
        _texts(lives.has_churned.astype(np.int8), _NO_YES),
    ]
    return pa.table(columns, names=HEADER)


def _texts(codes: Codes, labels: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(labels)).cast(pa.string())


def _amounts(cents: NDArray[np.int32]) -> pa.Array:
    """Write cents as units with two decimals."""
    units, rest = np.divmod(cents, 100)
    decimals = _texts((rest // 5).astype(np.int8), [f"{step * 5:02d}" for step in range(20)])
    return pc.binary_join_element_wise(pa.array(units).cast(pa.string()), decimals, ".")


def _total_charges(lives: Lives) -> pa.Array:
    """Add up the bills so far, which differ a little from the present price; a blank before the first."""
    later_bills = np.maximum(lives.tenure - 1, 0) * (1 + lives.profile.drift)
    steps = np.rint(lives.profile.monthly_cents * (1 + later_bills) / 5).astype(np.int32)
    return pc.if_else(pa.array(lives.tenure > 0), _amounts(steps * 5), " ")


def _ids(lives: Lives, seed: int) -> pa.Array:
    """Name each customer like ``7590-VHVEG``: four digits and five letters, unique to place and arrival."""
    life = lives.place * _MONTHS_APART + lives.arrival_month
    scrambled = (life % _ID_COUNT * _ID_STEP + seed * 7_919) % _ID_COUNT
    digits, letters = np.divmod(scrambled, _LETTERS)
    characters = np.empty((len(life), 10), np.uint8)
    characters[:, 4] = ord("-")
    for position in range(3, -1, -1):
        digits, remainder = np.divmod(digits, 10)
        characters[:, position] = remainder + ord("0")
    for position in range(9, 4, -1):
        letters, remainder = np.divmod(letters, 26)
        characters[:, position] = remainder + ord("A")
    offsets = np.arange(0, 10 * len(life) + 1, 10, dtype=np.int32)
    return pa.StringArray.from_buffers(len(life), pa.py_buffer(offsets), pa.py_buffer(characters))
