"""The daily drops: rows as text, with the faults of a real delivery, one folder per day.

Faults, each at its declared share of the rows (`Faults`): a *late* row comes 1 to 20 days after its
event; a *restated* row is first delivered wrong (revision 1) and later right (revision 2); a
*duplicate* comes again unchanged, in the same drop or a later one; a *deleted* row comes later as
revision 2 with ``is_deleted``. Plans and the first load of the opening day are without faults.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from churn_ml.errors import SettingsError
from churn_ml.simulation.business_draws import Stream, between, bits, lane
from churn_ml.simulation.business_rows import FIELDS, Rows, join, select
from churn_ml.simulation.drops_text import to_table

Format = Literal["csv", "parquet"]
LONGEST_DELAY_DAYS = 20
DELETABLE = {"contacts", "tickets", "usage", "payments"}
ENTITIES = tuple(FIELDS)
_FAULTLESS = {"plans"}
_UNQUOTED = csv.WriteOptions(include_header=False, quoting_style="none")


@dataclass(frozen=True)
class Faults:
    """Shares of rows with each fault of delivery; a row may be late and restated or duplicated."""

    late_share: float = 0.02
    restated_share: float = 0.01
    duplicate_share: float = 0.005
    deleted_share: float = 0.002

    def __post_init__(self) -> None:
        for declared in fields(self):
            share = getattr(self, declared.name)
            if not 0 <= share < 0.5:
                raise SettingsError(f"Expected {declared.name} from 0 to below 0.5, found {share}.")


class Pending:
    """The rows that are still to be delivered, with the day on which they will be."""

    def __init__(self) -> None:
        self.rows: dict[str, Rows] = {entity: join(entity, []) for entity in ENTITIES}
        self.due: dict[str, NDArray[np.int32]] = {entity: np.empty(0, np.int32) for entity in ENTITIES}

    def add(self, entity: str, rows: Rows, due: NDArray[np.int32]) -> None:
        """Keep rows until their day."""
        if len(due):
            self.rows[entity] = join(entity, [self.rows[entity], rows])
            self.due[entity] = np.concatenate([self.due[entity], due])

    def take(self, entity: str, day: int) -> Rows:
        """Hand out the rows of a day."""
        is_due = self.due[entity] == day
        taken = select(self.rows[entity], is_due)
        if is_due.any():
            self.rows[entity] = select(self.rows[entity], ~is_due)
            self.due[entity] = self.due[entity][~is_due]
        return taken

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as named arrays, to be stored."""
        stored: dict[str, NDArray[Any]] = {f"due:{entity}": due for entity, due in self.due.items()}
        for entity, rows in self.rows.items():
            stored |= {f"rows:{entity}:{name}": values for name, values in rows.items()}
        return stored

    @classmethod
    def of(cls, stored: dict[str, NDArray[Any]]) -> "Pending":
        """Read what `arrays` returned."""
        pending = cls()
        for entity in ENTITIES:
            pending.due[entity] = stored[f"due:{entity}"]
            pending.rows[entity] = {name: stored[f"rows:{entity}:{name}"] for name in pending.rows[entity]}
        return pending


def deliver(
    entity: str, rows: Rows, *, day: int, seed: int, faults: Faults, pending: Pending, is_first: bool
) -> Rows:
    """Return what the drop of `day` holds of an entity, and put off what comes later."""
    due_today = pending.take(entity, day)
    if not len(rows["who"]) or is_first or entity in _FAULTLESS:
        return join(entity, [rows, due_today])
    fates = _draw_fates(entity, rows["who"].astype(np.int64), day, seed, faults)
    corrected = np.concatenate([fates.restated, fates.deleted])
    truth = select(rows, corrected)
    truth["revision"] = np.full(len(corrected), 2, np.int8)
    truth["is_deleted"] = np.arange(len(corrected)) >= len(fates.restated)
    rows = _spoil(entity, rows, fates.restated)
    copies, copies_due = select(rows, fates.doubled), fates.doubled_due
    is_now, is_copied_now = fates.due == day, copies_due == day
    pending.add(entity, select(rows, ~is_now), fates.due[~is_now])
    pending.add(entity, truth, fates.corrected_due[corrected])
    pending.add(entity, select(copies, ~is_copied_now), copies_due[~is_copied_now])
    return join(entity, [select(rows, is_now), select(copies, is_copied_now), due_today])


@dataclass(frozen=True)
class _Fates:
    """When each row comes, which rows have a second version or come twice, and when those come."""

    due: NDArray[np.int32]
    restated: NDArray[np.int64]
    deleted: NDArray[np.int64]
    corrected_due: NDArray[np.int32]
    doubled: NDArray[np.int64]
    doubled_due: NDArray[np.int32]


def _draw_fates(entity: str, who: NDArray[np.int64], day: int, seed: int, faults: Faults) -> _Fates:
    place = ENTITIES.index(entity)
    chance, spans = (bits(seed, day, stream + place, who) for stream in (Stream.FAULT, Stream.FAULT_DAYS))
    late, fault, twice = (lane(chance, number) for number in range(3))
    wait = np.where(late < faults.late_share, between(lane(spans, 0), 1, LONGEST_DELAY_DAYS), 0)
    due = (day + wait).astype(np.int32)
    deleted_share = faults.deleted_share if entity in DELETABLE else 0.0
    doubled = np.flatnonzero(twice < faults.duplicate_share)
    # Half of the copies come with the row itself.
    again = np.maximum(between(lane(spans, 2), -LONGEST_DELAY_DAYS, LONGEST_DELAY_DAYS), 0)
    return _Fates(
        due=due,
        restated=np.flatnonzero(fault < faults.restated_share),
        deleted=np.flatnonzero((fault >= 0.5) & (fault < 0.5 + deleted_share)),
        corrected_due=due + between(lane(spans, 1), 1, LONGEST_DELAY_DAYS),
        doubled=doubled,
        doubled_due=(due + again)[doubled],
    )


_WRONG: dict[str, tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "customers": ("region", lambda codes: (codes + 1) % 4),
    "subscriptions": ("price", lambda cents: cents + cents // 20 + 10),
    "invoices": ("amount", lambda cents: cents + 100),
    "payments": ("amount", lambda cents: cents + 100),
    "usage": ("minutes", lambda minutes: minutes + minutes // 2 + 1),
    "tickets": ("priority", lambda codes: (codes + 1) % 3),
    "contacts": ("channel", lambda codes: (codes + 1) % 4),
    "treatments": ("cost", lambda cents: cents + 100),
}
"""The column that a restated row has wrong at first, and how."""


def _spoil(entity: str, rows: Rows, chosen: NDArray[np.int64]) -> Rows:
    column, wrong = _WRONG[entity]
    values = rows[column].copy()
    values[chosen] = wrong(values[chosen])
    return rows | {column: values}


def write_drop(out: Path, day_text: str, rows: dict[str, Rows], campaigns: list[str], form: Format) -> None:
    """Write one day's folder, all entities; it appears whole or not at all and replaces an older one."""
    folder, unfinished = out / day_text, out / f".{day_text}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for entity in ENTITIES:
        _write_table(unfinished / f"{entity}.{form}", to_table(entity, rows[entity], campaigns), form)
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)


def _write_table(path: Path, table: pa.Table, form: Format) -> None:
    if form == "parquet":
        pq.write_table(table.cast(pa.schema([(name, pa.string()) for name in table.column_names])), path)
        return
    with path.open("wb") as file:
        file.write(",".join(table.column_names).encode() + b"\n")
        if len(table):
            csv.write_csv(table, file, _UNQUOTED)
