"""Land files in ``raw``: one file, one transaction, one row of ``ops.landing_batches``."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from churn_ml.declarations import Dataset, Entity, load_dataset
from churn_ml.errors import LandingError
from churn_ml.landing.batches import (
    BatchKey,
    Delivered,
    KnownBatch,
    LandedBefore,
    batches_of_size,
    begin_batch,
    landed_before,
    lock_delivery,
    open_loader,
    register_batch,
    store_quarantine,
)
from churn_ml.landing.folders import Delivery, find_deliveries, find_inbox
from churn_ml.landing.known_time import (
    batch_key,
    known_by_run,
    known_from_now,
    require_no_publication,
    require_unknown_to_published_nights,
)
from churn_ml.landing.loading import load_rows
from churn_ml.landing.parquet import ParquetSource
from churn_ml.landing.restricted import RowTarget
from churn_ml.landing.results import LandedFile, LandingSummary, landed_file, log_landed, printable, summarise
from churn_ml.landing.sources import CsvSource, FileStamp, Source, hash_file, require_file
from churn_ml.landing.tables import land_tables
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.runs import read_run

__all__ = ["LandedFile", "LandingSummary", "land_file", "land_inbox", "land_path"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """What the files of one call have in common."""

    known_at: datetime | None
    run_id: str | None
    first_load: bool


def land_file(
    settings: Settings,
    path: Path,
    entity: str,
    *,
    as_of_date: date | None,
    known_at: datetime | None,
    run_id: str | None = None,
    first_load: bool = False,
) -> LandedFile:
    """Land one file: every record ends in ``raw.<entity>`` or, malformed, in ``ops.quarantine``.

    Parameters
    ----------
    as_of_date
        The day the rows describe; None only for a dated dataset.
    known_at
        When the warehouse could know the rows. A first load takes none: its rows were known at
        00:00 UTC of the day after `as_of_date`.

    Raises
    ------
    LandingError
        If the file cannot be landed as a whole; nothing of it is stored.
    """
    landing = FileLanding(settings, load_dataset(settings), Terms(known_at, run_id, first_load))
    with open_loader(settings) as loader:
        landing.require_allowed(loader, path.name)
        return landing.land(loader, Delivery(path, entity, as_of_date), {})


def land_path(
    settings: Settings,
    path: Path,
    *,
    as_of_date: date | None = None,
    known_at: datetime | None = None,
    first_load: bool = False,
) -> list[LandedFile]:
    """Land a file, or every file of a folder that matches a declared entity, in order of date and name.

    A folder named ``YYYY-MM-DD`` states the as-of date of its files. Without `known_at`, and
    without `first_load`, the files are known from now on, in any case after the newest cut-off
    that was ever published: no past night changes.
    """
    dataset = load_dataset(settings)
    deliveries = find_deliveries(dataset, path, as_of_date)
    if known_at is None and not first_load:
        known_at = known_from_now(settings)
    return _land_all(settings, dataset, deliveries, Terms(known_at, None, first_load))


def land_inbox(settings: Settings, run_id: str) -> LandingSummary:
    """Land every file of the inbox up to the night of the run `run_id`, then the declared tables.

    All are known at the run's cut-off. Where a cut-off as late as that was published before, what
    is new is known only from now on: what a published night knew never changes.
    """
    run = read_run(settings, run_id)
    newest = run.known_as_of.astimezone(UTC).date() - timedelta(days=1)
    dataset = load_dataset(settings)
    deliveries = find_inbox(dataset, settings.inbox, newest)
    known_at = known_by_run(settings, run)
    landed = _land_all(settings, dataset, deliveries, Terms(known_at, run_id, first_load=False))
    landed += land_tables(settings, as_of_date=newest, known_at=known_at, run_id=run_id)
    return summarise(landed)


def _land_all(
    settings: Settings, dataset: Dataset, deliveries: Sequence[Delivery], terms: Terms
) -> list[LandedFile]:
    """Land the files one after the other over one connection, without reading those landed before."""
    if not deliveries:
        return []
    landing = FileLanding(settings, dataset, terms)
    with open_loader(settings) as loader:
        landing.require_allowed(loader, deliveries[0].path.name)
        known = landed_before(loader, (delivery.as_of_date for delivery in deliveries))
        landed = [landing.land(loader, delivery, known) for delivery in deliveries]
    log.info(
        "%d files: %d new, %d unchanged of which %d were not read",
        len(landed), sum(not file.is_unchanged for file in landed),
        sum(file.is_unchanged for file in landed), landing.unread_count,
    )  # fmt: skip
    return landed


class FileLanding:
    """Lands files, each in a transaction of its own.

    Attributes
    ----------
    unread_count : int
        Files that were told by path, size and time of change to have landed before.
    """

    def __init__(self, settings: Settings, dataset: Dataset, terms: Terms) -> None:
        self.unread_count = 0
        self._inbox = settings.inbox
        self._dataset = dataset
        self._terms = terms

    def require_allowed(self, loader: Connection, name: str) -> None:
        """Refuse a first load, begun with the file `name`, once a night was published."""
        if self._terms.first_load:
            require_no_publication(loader, name)

    def land(self, loader: Connection, delivery: Delivery, known: LandedBefore) -> LandedFile:
        """Land one file, unless it is of `known` or was landed under another path."""
        started = time.perf_counter()
        terms = self._terms
        key = batch_key(
            self._dataset, delivery.entity, delivery.as_of_date, terms.known_at, terms.run_id,
            first_load=terms.first_load,
        )  # fmt: skip
        path, stamp = delivery.path, require_file(delivery.path)
        same = known.get((key.entity, key.as_of_date, self._path_text(path), stamp))
        if same is not None:
            self.unread_count += 1
            _require_first_load(key, path, same)
            return landed_file(key, path.name, same, 0.0, is_unchanged=True)
        with loader.transaction():
            lock_delivery(loader, key, stamp.byte_count)
            same = _find_same_file(loader, key, path, stamp.byte_count)
            if same is None:
                return self._land_new(loader, key, path, stamp, started)
        _require_first_load(key, path, same)
        return _unchanged(key, path, same, started)

    def _land_new(
        self, loader: Connection, key: BatchKey, path: Path, stamp: FileStamp, started: float
    ) -> LandedFile:
        entity = self._dataset.entities[key.entity]
        source = _open_source(path, key.entity, entity)
        raw_columns = [entity.columns[column] for column in source.columns]
        batch_id = begin_batch(loader, key)
        may_be_empty = self._dataset.kind == "dated"
        target = RowTarget(key.entity, entity.restricted_columns)
        rows = load_rows(loader, target, raw_columns, source, path.name, may_be_empty=may_be_empty)
        with rows.quarantine:
            delivered = self._delivered(path, stamp, source)
            if not register_batch(loader, key, batch_id, delivered, rows.counts):
                raise LandingError(
                    f"{path.name}: expected a file that is new for {key.entity} and {key.as_of_date}, found "
                    f"its sha256 {delivered.fingerprint.sha256} in ops.landing_batches with another size. "
                    "Nothing was stored."
                )
            if rows.counts.quarantined:
                store_quarantine(loader, key, batch_id, delivered.name, rows.quarantine)
        require_unknown_to_published_nights(loader, key, path.name)
        seconds = time.perf_counter() - started
        batch = KnownBatch(
            batch_id, delivered.name, delivered.fingerprint.sha256, key.is_first_load, rows.counts
        )
        log_landed(key, path.name, batch, seconds)
        return landed_file(key, path.name, batch, seconds)

    def _delivered(self, path: Path, stamp: FileStamp, source: Source) -> Delivered:
        fingerprint = source.fingerprint()
        if fingerprint.byte_count != stamp.byte_count or require_file(path) != stamp:
            raise LandingError(
                f"{path.name}: expected {stamp.byte_count} bytes, found {fingerprint.byte_count}: the file "
                "changed while it was read. Land it when its delivery is complete. Nothing of it was stored."
            )
        file_format = path.suffix.casefold().removeprefix(".") or "csv"
        return Delivered(
            printable(path.name), file_format, fingerprint, self._path_text(path), stamp.modified_ns
        )

    def _path_text(self, path: Path) -> str:
        """Return the path below the inbox, or the whole path of a file elsewhere."""
        absolute = str(path.absolute())
        below = f"{self._inbox}{os.sep}"
        return printable(absolute.removeprefix(below))


def _require_first_load(key: BatchKey, path: Path, known: KnownBatch) -> None:
    if key.is_first_load and not known.is_first_load:
        raise LandingError(
            f"Expected {path.name} to be new for its first load, found it landed as batch {known.batch_id} "
            "without --first-load, known only from its landing on. Start the instance anew "
            "(`churn-ml down --purge`, `churn-ml up`) and land the history with --first-load."
        )


def _find_same_file(loader: Connection, key: BatchKey, path: Path, byte_count: int) -> KnownBatch | None:
    candidates = batches_of_size(loader, key, byte_count)
    if not candidates:
        return None
    sha256 = hash_file(path).sha256
    return next((batch for batch in candidates if batch.file_sha256 == sha256), None)


def _open_source(path: Path, entity_name: str, entity: Entity) -> Source:
    if path.suffix.casefold() == ".parquet":
        return ParquetSource(path, entity_name, entity)
    return CsvSource(path, entity_name, entity)


def _unchanged(key: BatchKey, path: Path, known: KnownBatch, started: float) -> LandedFile:
    seconds = time.perf_counter() - started
    log.info(
        "%s: the same file was landed as batch %d for %s: nothing to do, %.2f s",
        path.name, known.batch_id, key.as_of_date, seconds,
    )  # fmt: skip
    return landed_file(key, path.name, known, seconds, is_unchanged=True)
