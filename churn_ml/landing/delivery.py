"""Land files in ``raw``: one file, one transaction, one row of ``ops.landing_batches``."""

import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from churn_ml.declarations import Dataset, Entity, load_dataset
from churn_ml.errors import LandingError
from churn_ml.landing.batches import (
    BatchKey,
    KnownBatch,
    RowCounts,
    batches_of_size,
    begin_batch,
    lock_delivery,
    register_batch,
    store_quarantine,
)
from churn_ml.landing.folders import Delivery, find_deliveries, find_inbox
from churn_ml.landing.loading import load_rows
from churn_ml.landing.parquet import ParquetSource
from churn_ml.landing.sources import CsvSource, Fingerprint, Source, hash_file, require_file
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import read_run

log = logging.getLogger(__name__)

_PUBLICATION_LOCK = 7203449
"""The advisory lock that `ops.publish_run` takes."""


@dataclass(frozen=True)
class LandedFile:
    """What became of one file.

    `is_unchanged` says that the same file was landed before for the same date: nothing was
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
    started = time.perf_counter()
    dataset = load_dataset(settings)
    key = _batch_key(dataset, entity, as_of_date, known_at, run_id, first_load=first_load)
    byte_count = require_file(path)
    with connect(settings, Role.LOADER) as loader:
        if first_load:
            _require_no_publication(loader, path)
        lock_delivery(loader, key, byte_count)
        known = _find_same_file(loader, key, path, byte_count)
        if known is not None:
            _require_first_load(key, path, known)
            return _unchanged(key, path, known, started)
        return _land(loader, dataset, key, path, byte_count, started)


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
    deliveries = find_deliveries(load_dataset(settings), path, as_of_date)
    if known_at is None and not first_load:
        known_at = _known_from_now(settings)
    return [
        land_file(
            settings,
            delivery.path,
            delivery.entity,
            as_of_date=delivery.as_of_date,
            known_at=known_at,
            first_load=first_load,
        )
        for delivery in deliveries
    ]


def land_inbox(settings: Settings, run_id: str) -> LandingSummary:
    """Land every file of the inbox up to the night of the run `run_id`, known at its cut-off.

    Where a cut-off as late as the run's was published before, a file that is new is known only
    from now on: what a published night knew never changes.
    """
    run = read_run(settings, run_id)
    newest = run.known_as_of.astimezone(UTC).date() - timedelta(days=1)
    deliveries = find_inbox(load_dataset(settings), settings.inbox, newest)
    with connect(settings, Role.LOADER) as loader:
        published = _last_published_cut_off(loader)
    is_late = published is not None and published >= run.known_as_of
    known_at = _known_from_now(settings) if is_late else run.known_as_of
    files = [_land_for_run(settings, delivery, known_at, run_id) for delivery in deliveries]
    new = [file for file in files if not file.is_unchanged]
    return LandingSummary(
        batches=len(new),
        rows_landed=sum(file.rows_landed for file in new),
        rows_quarantined=sum(file.rows_quarantined for file in new),
        files_unchanged=len(files) - len(new),
    )


def _land_for_run(settings: Settings, delivery: Delivery, known_at: datetime, run_id: str) -> LandedFile:
    return land_file(
        settings,
        delivery.path,
        delivery.entity,
        as_of_date=delivery.as_of_date,
        known_at=known_at,
        run_id=run_id,
    )


def _batch_key(
    dataset: Dataset,
    entity: str,
    as_of_date: date | None,
    known_at: datetime | None,
    run_id: str | None,
    *,
    first_load: bool,
) -> BatchKey:
    if entity not in dataset.entities:
        raise LandingError(
            f"Expected an entity of {dataset.dataset} ({', '.join(dataset.entities)}), found {entity!r}."
        )
    if as_of_date is None and (dataset.kind == "snapshot" or first_load):
        raise LandingError(
            f"Expected an as-of date for the {dataset.kind} dataset {dataset.dataset}, found none. "
            "Put the file in a folder named YYYY-MM-DD, or state the date with --as-of."
        )
    if first_load and as_of_date is not None:
        known_at = datetime.combine(as_of_date, datetime.min.time(), UTC) + timedelta(days=1)
    if known_at is None or known_at.tzinfo is None:
        raise LandingError(f"Expected a known-at time with a time zone, found {known_at}.")
    return BatchKey(entity, as_of_date, known_at, run_id, first_load)


def _require_no_publication(loader: Connection, path: Path) -> None:
    published = _last_published_cut_off(loader)
    if published is not None:
        raise LandingError(
            f"Expected a warehouse that never published a night for the first load of {path.name}, found one "
            f"published with the cut-off {published.isoformat()}. Land it without --first-load: its rows are "
            "known from now on."
        )


def _require_first_load(key: BatchKey, path: Path, known: KnownBatch) -> None:
    if key.is_first_load and not known.is_first_load:
        raise LandingError(
            f"Expected {path.name} to be new for its first load, found it landed as batch {known.batch_id} "
            "without --first-load, known only from its landing on. Start the instance anew "
            "(`churn-ml down --purge`, `churn-ml up`) and land the history with --first-load."
        )


def _require_unknown_to_published_nights(loader: Connection, key: BatchKey, path: Path) -> None:
    """Check at the end of the landing; until it commits, `ops.publish_run` waits."""
    loader.execute("select pg_advisory_xact_lock_shared(%s)", [_PUBLICATION_LOCK])
    published = _last_published_cut_off(loader)
    if published is not None and key.known_at <= published:
        raise LandingError(
            f"Expected {path.name} to become known after every published cut-off, found "
            f"{key.known_at.isoformat()} while a night is published with {published.isoformat()}. Land it "
            "again: it is then known from now on. Nothing of it was stored."
        )


def _last_published_cut_off(loader: Connection) -> datetime | None:
    row = loader.execute("select ops.last_published_cut_off()").fetchone()
    return row[0] if row else None


def _known_from_now(settings: Settings) -> datetime:
    """Return this moment, or the next after the newest published cut-off if that is later."""
    with connect(settings, Role.LOADER) as loader:
        row = loader.execute(
            "select greatest(now(), ops.last_published_cut_off() + interval '1 microsecond')"
        ).fetchone()
    assert row is not None  # noqa: S101 - a select without a table always answers
    known_at: datetime = row[0]
    return known_at


def _find_same_file(loader: Connection, key: BatchKey, path: Path, byte_count: int) -> KnownBatch | None:
    candidates = batches_of_size(loader, key, byte_count)
    if not candidates:
        return None
    sha256 = hash_file(path).sha256
    return next((batch for batch in candidates if batch.file_sha256 == sha256), None)


def _land(
    loader: Connection, dataset: Dataset, key: BatchKey, path: Path, byte_count: int, started: float
) -> LandedFile:
    entity = dataset.entities[key.entity]
    source = _open_source(path, key.entity, entity)
    raw_columns = [entity.columns[column] for column in source.columns]
    batch_id = begin_batch(loader, key)
    rows = load_rows(loader, key.entity, raw_columns, source, path.name)
    with rows.quarantine:
        delivered = source.fingerprint()
        _require_unchanged_file(path, byte_count, delivered)
        name = _printable(path.name)
        file_format = path.suffix.casefold().removeprefix(".") or "csv"
        if not register_batch(loader, key, batch_id, name, file_format, delivered, rows.counts):
            raise LandingError(
                f"{path.name}: expected a file that is new for {key.entity} and {key.as_of_date}, found its "
                f"sha256 {delivered.sha256} in ops.landing_batches with another size. Nothing was stored."
            )
        store_quarantine(loader, key, batch_id, name, rows.quarantine)
    _require_unknown_to_published_nights(loader, key, path)
    seconds = time.perf_counter() - started
    _log_landed(key, path, batch_id, rows.counts, seconds)
    return _landed_file(key, batch_id, path.name, rows.counts, seconds)


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
    return _landed_file(key, known.batch_id, path.name, known.counts, seconds, is_unchanged=True)


def _landed_file(
    key: BatchKey, batch_id: int, name: str, counts: RowCounts, seconds: float, *, is_unchanged: bool = False
) -> LandedFile:
    return LandedFile(
        batch_id, _printable(name), key.entity, key.as_of_date,
        counts.in_file, counts.landed, counts.quarantined, is_unchanged, seconds,
    )  # fmt: skip


def _require_unchanged_file(path: Path, byte_count: int, delivered: Fingerprint) -> None:
    if delivered.byte_count != byte_count:
        raise LandingError(
            f"{path.name}: expected {byte_count} bytes, found {delivered.byte_count}: the file changed while "
            "it was read. Land it when its delivery is complete. Nothing of it was stored."
        )


def _log_landed(key: BatchKey, path: Path, batch_id: int, counts: RowCounts, seconds: float) -> None:
    level = logging.WARNING if counts.quarantined else logging.INFO
    log.log(
        level,
        "%s: %d rows = %d landed in raw.%s + %d quarantined, batch %d for %s, %.2f s",
        path.name, counts.in_file, counts.landed, key.entity, counts.quarantined, batch_id,
        key.as_of_date, seconds,
    )  # fmt: skip


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
