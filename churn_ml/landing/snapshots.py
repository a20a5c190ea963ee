"""Which snapshot a night scores."""

import logging
from datetime import UTC, date, datetime, timedelta

from churn_ml.declarations import load_dataset
from churn_ml.errors import LandingError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run, close_run, read_run

log = logging.getLogger(__name__)


def settle_night(settings: Settings, run_id: str) -> bool:
    """Give the run of a snapshot dataset the date of the newest snapshot it may know.

    Returns
    -------
    bool
        False if a night with another cut-off has published that snapshot already and nothing of
        it became known since: the run is closed as ``unchanged`` and nothing else runs. A
        correction that became known since is scored, and supersedes. A dated dataset keeps its
        date: True.

    Raises
    ------
    LandingError
        If no snapshot was landed for the night's date or before it.
    """
    dataset = load_dataset(settings)
    run = read_run(settings, run_id)
    if dataset.kind == "dated":
        return True
    nominal = run.known_as_of.astimezone(UTC).date() - timedelta(days=1)
    with connect(settings, Role.LOADER) as loader:
        newest = _newest_snapshot(loader, list(dataset.entities), nominal, run.known_as_of)
        published = _published_cut_off(loader, newest) if newest and run.run_kind == "night" else None
        if newest is None:
            raise LandingError(
                f"Expected a snapshot of {dataset.dataset} for {nominal} or before, known by "
                f"{run.known_as_of.isoformat()}, found {_known_too_late(loader, nominal)}. "
                f"Put a file in {settings.inbox}/{nominal}/ and run the night again, or land a history with "
                "`churn-ml land <file> --as-of <date> --first-load` before the first night is published."
            )
        if (
            published is None
            or published == run.known_as_of
            or _was_corrected(loader, newest, published, run.known_as_of)
        ):
            loader.execute("select ops.settle_run(%s, %s)", [run_id, newest])
            log.info("run %s scores the snapshot of %s", run_id, newest)
            return True
    _close_unchanged(settings, run, newest, published)
    return False


def _newest_snapshot(
    loader: Connection, entities: list[str], nominal: date, known_as_of: datetime
) -> date | None:
    """Return the newest date for which every entity of the dataset was landed."""
    row = loader.execute(
        "select as_of_date from ops.landing_batches"
        " where entity = any(%s) and as_of_date <= %s and known_at <= %s"
        " group by as_of_date having count(distinct entity) = %s order by as_of_date desc limit 1",
        [entities, nominal, known_as_of, len(entities)],
    ).fetchone()
    return row[0] if row else None


def _known_too_late(loader: Connection, nominal: date) -> str:
    row = loader.execute(
        "select as_of_date, known_at from ops.landing_batches where as_of_date <= %s"
        " order by as_of_date desc, known_at limit 1",
        [nominal],
    ).fetchone()
    return f"the one of {row[0]}, which is known only from {row[1].isoformat()} on" if row else "none"


def _published_cut_off(loader: Connection, as_of_date: date) -> datetime | None:
    row = loader.execute(
        "select known_as_of from ops.published_runs where as_of_date = %s", [as_of_date]
    ).fetchone()
    return row[0] if row else None


def _was_corrected(loader: Connection, as_of_date: date, published: datetime, known_as_of: datetime) -> bool:
    row = loader.execute(
        "select from ops.landing_batches where as_of_date = %s and known_at > %s and known_at <= %s limit 1",
        [as_of_date, published, known_as_of],
    ).fetchone()
    return row is not None


def _close_unchanged(settings: Settings, run: Run, newest: date, published: datetime) -> None:
    log.info(
        "run %s changes nothing: the newest snapshot, of %s, was published by the night cut off at %s",
        run.run_id, newest, published.isoformat(),
    )  # fmt: skip
    close_run(settings, run.run_id, "unchanged")
