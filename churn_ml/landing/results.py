"""What became of a file, a table or an inbox."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from churn_ml.landing.batches import BatchKey, KnownBatch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LandedFile:
    """What became of one file or table.

    `is_unchanged` says that the same content was landed before for the same date: nothing was
    stored, and `batch_id` and the counts are those of the batch that holds it.
    """

    batch_id: int
    file_name: str
    entity: str
    as_of_date: date | None
    rows_in_file: int
    rows_landed: int
    rows_quarantined: int
    is_unchanged: bool
    seconds: float


@dataclass(frozen=True)
class LandingSummary:
    """What became of an inbox: new batches with their rows, and files that were landed before."""

    batches: int
    rows_landed: int
    rows_quarantined: int
    files_unchanged: int


def landed_file(
    key: BatchKey, name: str, batch: KnownBatch, seconds: float, *, is_unchanged: bool = False
) -> LandedFile:
    """Describe a file by the batch that holds it."""
    counts = batch.counts
    return LandedFile(
        batch.batch_id, printable(name), key.entity, key.as_of_date,
        counts.in_file, counts.landed, counts.quarantined, is_unchanged, seconds,
    )  # fmt: skip


def summarise(landed: Sequence[LandedFile]) -> LandingSummary:
    """Count new batches with their rows, and what was landed before."""
    new = [file for file in landed if not file.is_unchanged]
    return LandingSummary(
        batches=len(new),
        rows_landed=sum(file.rows_landed for file in new),
        rows_quarantined=sum(file.rows_quarantined for file in new),
        files_unchanged=len(landed) - len(new),
    )


def log_landed(key: BatchKey, name: str, batch: KnownBatch, seconds: float) -> None:
    """Log one line with the counts; a warning where records were quarantined."""
    counts = batch.counts
    log.log(
        logging.WARNING if counts.quarantined else logging.INFO,
        "%s: %d rows = %d landed in raw.%s + %d quarantined, batch %d for %s, %.2f s",
        name, counts.in_file, counts.landed, key.entity, counts.quarantined, batch.batch_id,
        key.as_of_date, seconds,
    )  # fmt: skip


def printable(name: str) -> str:
    """Return a file name, whatever its bytes, as text that Postgres stores."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
