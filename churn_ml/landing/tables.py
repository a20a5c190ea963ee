"""Land tables of the source database in ``raw``: what is new of one table is one transaction."""

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import IO

from churn_ml.declarations import Entity, TableSource, load_dataset
from churn_ml.errors import LandingError
from churn_ml.landing.batches import (
    BatchKey,
    Delivered,
    KnownBatch,
    batch_of_content,
    batches_of_table,
    begin_batch,
    lock_table,
    open_loader,
    register_batch,
    spool_unlanded,
    store_quarantine,
)
from churn_ml.landing.known_time import (
    batch_key,
    known_from_now,
    require_no_publication,
    require_unknown_to_published_nights,
)
from churn_ml.landing.loading import load_rows
from churn_ml.landing.marks import mark_text, newest_span, overlap_span, overlap_start, parse_mark
from churn_ml.landing.restricted import RowTarget
from churn_ml.landing.results import LandedFile, landed_file, log_landed
from churn_ml.landing.table_rows import Rows, RowText, TableRows
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.source_tables import Mark, MarkKind, SourceTable, Span, open_source

log = logging.getLogger(__name__)

_SPOOL_IN_MEMORY = 4 * 1024 * 1024


class _LandedBefore(Exception):
    """Undoes a batch whose content turned out to be there already."""

    def __init__(self, batch: KnownBatch) -> None:
        self.batch = batch


def land_tables(
    settings: Settings,
    *,
    as_of_date: date,
    known_at: datetime | None,
    run_id: str | None = None,
    first_load: bool = False,
) -> list[LandedFile]:
    """Land what is new of every declared table, streamed: one batch each, also where nothing is new.

    Rows beyond the greatest value of the incremental column that landed are new, up to the time
    at which they become known: a later one waits for the next landing. Rows shortly before that value
    are read again, and land where they were committed late.

    Parameters
    ----------
    known_at
        When the warehouse could know the rows; None: from now on, after every published cut-off.
        A first load takes none.

    Raises
    ------
    LandingError
        If a table cannot be landed; nothing of it is stored.
    """
    dataset = load_dataset(settings)
    tables = {name: entity.table for name, entity in dataset.entities.items() if entity.table is not None}
    if not tables:
        return []
    if settings.source_url is None:
        raise LandingError(
            f"Expected the database of the tables of {', '.join(tables)} in CHURN_SOURCE_URL, found none "
            "set. See .env.example."
        )
    if known_at is None and not first_load:
        known_at = known_from_now(settings)
    landed = []
    with open_loader(settings) as loader, open_source(settings.source_url.get_secret_value()) as source:
        if first_load:
            require_no_publication(loader, f"the tables of {', '.join(tables)}")
        for name, declared in tables.items():
            key = batch_key(dataset, name, as_of_date, known_at, run_id, first_load=first_load)
            entity = dataset.entities[name]
            table = SourceTable(source, declared.name, list(entity.columns), declared.incremental_column)
            landing = TableLanding(loader, key, entity, declared, may_be_empty=dataset.kind == "dated")
            landed.append(landing.land(table))
    return landed


class TableLanding:
    """Lands what is new of one table as one batch."""

    def __init__(
        self, loader: Connection, key: BatchKey, entity: Entity, declared: TableSource, *, may_be_empty: bool
    ) -> None:
        self._loader = loader
        self._key = key
        self._entity = entity
        self._declared = declared
        self._may_be_empty = may_be_empty
        self._name = f"table {declared.name}"
        self._target = RowTarget(key.entity, entity.restricted_columns)
        event_column = declared.first_load_known_at if key.is_first_load else None
        self._event_column = next((c for c, raw in entity.columns.items() if raw == event_column), None)
        self._raw_columns = [*entity.columns.values(), *(["_known_at"] if self._event_column else [])]

    def land(self, table: SourceTable) -> LandedFile:
        """Land the new rows; where all of them landed before for this date, nothing is stored."""
        started = time.perf_counter()
        self._require_marks(table)
        try:
            with self._loader.transaction():
                batch = self._land_new(table)
        except _LandedBefore as found:
            log.info("%s: nothing that batch %d does not hold", self._name, found.batch.batch_id)
            seconds = time.perf_counter() - started
            return landed_file(self._key, self._name, found.batch, seconds, is_unchanged=True)
        seconds = time.perf_counter() - started
        log_landed(self._key, self._name, batch, seconds)
        return landed_file(self._key, self._name, batch, seconds)

    def _land_new(self, table: SourceTable) -> KnownBatch:
        lock_table(self._loader, self._key)
        mark = self._mark_landed(table)
        text = RowText(table, self._event_column, self._key.known_at)
        span = newest_span(table.mark_kind, mark, self._key.known_at) if table.mark_kind else Span()
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_IN_MEMORY) as late:
            if mark is not None:
                self._spool_late_rows(table, text, mark, late)
            return self._load(TableRows(table, text, span, late), mark)

    def _load(self, source: TableRows, mark: Mark | None) -> KnownBatch:
        key, name = self._key, self._name
        batch_id = begin_batch(self._loader, key)
        rows = load_rows(
            self._loader, self._target, self._raw_columns, source, name, may_be_empty=self._may_be_empty
        )
        with rows.quarantine:
            fingerprint = source.fingerprint()
            newest = mark if source.newest is None else source.newest
            high_water = None if newest is None else mark_text(newest)
            delivered = Delivered(name, "table", fingerprint, high_water=high_water)
            if not register_batch(self._loader, key, batch_id, delivered, rows.counts):
                raise _LandedBefore(batch_of_content(self._loader, key, fingerprint.sha256))
            if rows.counts.quarantined:
                store_quarantine(self._loader, key, batch_id, name, rows.quarantine)
        require_unknown_to_published_nights(self._loader, key, name)
        return KnownBatch(batch_id, name, fingerprint.sha256, key.is_first_load, rows.counts)

    def _mark_landed(self, table: SourceTable) -> Mark | None:
        """Return how far the table has landed."""
        self._batches = batches_of_table(self._loader, self._key, self._name)
        if self._key.is_first_load and not all(batch.is_first_load for batch in self._batches):
            raise LandingError(
                f"Expected the {self._name} to be new for its first load, found it landed without "
                "--first-load. Land it without: what is new is known from now on."
            )
        if table.mark_kind is None or not self._batches:
            return None
        return self._parse(self._batches[-1].high_water, table.mark_kind)

    def _parse(self, text: str, kind: MarkKind) -> Mark:
        try:
            return parse_mark(text, kind)
        except ValueError:
            raise LandingError(
                f"{self._name}: expected {self._declared.incremental_column} to continue from {text}, up to "
                "which the table landed, found a column of another type. Declare the former column, or "
                "offer the table under another name: it then lands anew."
            ) from None

    def _spool_late_rows(self, table: SourceTable, text: RowText, mark: Mark, late: IO[bytes]) -> None:
        """Write the rows of the overlap that did not land yet."""
        kind, minutes = table.mark_kind, self._declared.overlap_minutes
        assert kind is not None  # noqa: S101 - only such a table has a mark
        start = overlap_start(mark, minutes)
        batch_ids = [
            batch.batch_id
            for batch in self._batches
            if self._parse(batch.high_water, kind) >= start  # type: ignore[operator]
        ]
        rows = table.rows(overlap_span(kind, mark, self._key.known_at, minutes))
        blocks = _storable_blocks(rows, text, late)
        spool_unlanded(self._loader, self._target, self._raw_columns, blocks, batch_ids, late)

    def _require_marks(self, table: SourceTable) -> None:
        count = table.count_without_mark()
        if count:
            raise LandingError(
                f"{self._name}: expected {self._declared.incremental_column} in every row, found {count} "
                "rows without: they would never land. Fill it at the source. Nothing of the table was stored."
            )


def _storable_blocks(parts: Iterable[Rows], text: RowText, torn: IO[bytes]) -> Iterator[bytes]:
    """Yield the rows that Postgres can hold; the others, with a NUL, go to `torn`, to be quarantined."""
    for rows in parts:
        block = text.block(rows)
        if b"\0" in block:
            torn.write(text.block([row for row in rows if _has_nul(row)]))
            block = text.block([row for row in rows if not _has_nul(row)])
        yield block


def _has_nul(row: tuple[object, ...]) -> bool:
    return any(isinstance(value, str) and "\0" in value for value in row)
