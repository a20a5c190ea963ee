"""When what lands becomes known: what a published night knew never changes."""

from datetime import UTC, date, datetime, timedelta

from churn_ml.declarations import Dataset
from churn_ml.errors import LandingError
from churn_ml.landing.batches import BatchKey
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import PUBLICATION_LOCK, Run


def batch_key(
    dataset: Dataset,
    entity: str,
    as_of_date: date | None,
    known_at: datetime | None,
    run_id: str | None,
    *,
    first_load: bool,
) -> BatchKey:
    """Return the key of a batch; a first load is known at 00:00 UTC of the day after its date."""
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


def known_from_now(settings: Settings) -> datetime:
    """Return this moment, or the next after the newest published cut-off if that is later."""
    with connect(settings, Role.LOADER) as loader:
        row = loader.execute(
            "select greatest(now(), ops.last_published_cut_off() + interval '1 microsecond')"
        ).fetchone()
    assert row is not None  # noqa: S101 - a select without a table always answers
    known_at: datetime = row[0]
    return known_at


def known_by_run(settings: Settings, run: Run) -> datetime:
    """Return the run's cut-off; from now on, where one as late as that was published before."""
    with connect(settings, Role.LOADER) as loader:
        published = _last_published_cut_off(loader)
    is_late = published is not None and published >= run.known_as_of
    return known_from_now(settings) if is_late else run.known_as_of


def require_no_publication(loader: Connection, name: str) -> None:
    """Refuse a first load once a night was ever published."""
    published = _last_published_cut_off(loader)
    if published is not None:
        raise LandingError(
            f"Expected a warehouse that never published a night for the first load of {name}, found one "
            f"published with the cut-off {published.isoformat()}. Land it without --first-load: its rows are "
            "known from now on."
        )


def require_unknown_to_published_nights(loader: Connection, key: BatchKey, name: str) -> None:
    """Check at the end of the landing; until it commits, `ops.publish_run` waits."""
    # Two statements: what was published while the lock was waited for must be seen.
    loader.execute("select pg_advisory_xact_lock_shared(%s)", [PUBLICATION_LOCK])
    published = _last_published_cut_off(loader)
    if published is not None and key.is_first_load:
        require_no_publication(loader, name)
    if published is not None and key.known_at <= published:
        raise LandingError(
            f"Expected {name} to become known after every published cut-off, found "
            f"{key.known_at.isoformat()} while a night is published with {published.isoformat()}. Land it "
            "again: it is then known from now on. Nothing of it was stored."
        )


def _last_published_cut_off(loader: Connection) -> datetime | None:
    row = loader.execute("select ops.last_published_cut_off()").fetchone()
    return row[0] if row else None
