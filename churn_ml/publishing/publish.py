"""Publish, un-publish and discard a run: one row of ``ops.published_runs`` decides what BI sees."""

import logging
from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString

from churn_ml.errors import PublishingError
from churn_ml.publishing.fingerprints import (
    Fingerprint,
    current_marts,
    read_fingerprints,
    take_fingerprints,
)
from churn_ml.publishing.outdated import OutdatedRun, read_outdated_runs
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, RaiseException, Role, connect
from churn_ml.warehouse.runs import PUBLICATION_LOCK, Run, close_run, read_run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """What a publication made visible.

    `differing_marts` names the marts whose rows differ from those of the superseded run; it is
    None where no run was superseded. `outdated` are the later nights that BI sees and that were built
    on a run which this one differs from.
    """

    run_id: str
    as_of_date: date
    superseded_run_id: str | None
    fingerprints: tuple[Fingerprint, ...]
    differing_marts: tuple[str, ...] | None
    outdated: tuple[OutdatedRun, ...]

    def headline(self) -> dict[str, object]:
        """Return what a reader of the task wants to know, as JSON."""
        return {
            "superseded_run_id": self.superseded_run_id,
            "differing_marts": list(self.differing_marts or ()),
            "outdated_dates": [night.as_of_date.isoformat() for night in self.outdated],
        }


def publish_run(settings: Settings, run_id: str, reason: str) -> Publication:
    """Show `run_id` to BI in the place of the run its as-of date may have had.

    Raises
    ------
    PublishingError
        If the run is not a whole, audited night; nothing changes then.
    """
    run = read_run(settings, run_id)
    with connect(settings, Role.PUBLISHER) as publisher:
        _require_whole_knowledge(publisher, run)
        _require_champion(publisher, run)
        _require_past_knowledge(publisher, run)
        _require_outcomes_stated_once(publisher, run)
        former = publisher.execute(
            "select run_id from ops.published_runs where as_of_date = %s and run_id <> %s",
            [run.as_of_date, run_id],
        ).fetchone()
        _call(publisher, "select ops.publish_run(%s, %s)", [run_id, reason])
    fingerprints = take_fingerprints(settings, run_id)
    close_run(settings, run_id, "succeeded")
    superseded = str(former[0]) if former else None
    differing = _compare(settings, superseded, fingerprints) if superseded else None
    outdated = read_outdated_runs(settings, run.as_of_date)
    log.info(
        "published run %s for %s: %d rows in %d marts, supersedes %s, differing marts: %s",
        run_id, run.as_of_date, sum(item.row_count for item in fingerprints), len(fingerprints),
        superseded or "none", ", ".join(differing) if differing else "none",
    )  # fmt: skip
    for night in outdated:
        log.warning("%s", night)
    return Publication(run_id, run.as_of_date, superseded, fingerprints, differing, outdated)


def _require_champion(publisher: Connection, run: Run) -> None:
    """Check that nobody promoted another model for the night's cut-off between scoring and publishing."""
    [(champion,)] = publisher.execute("select ml.champion_at(%s)", [run.champion_cut_off]).fetchall()
    if run.model_version != champion:
        raise PublishingError(
            f"Expected run {run.run_id} to be scored by the champion at {run.champion_cut_off.isoformat()}, "
            f"{champion}, found {run.model_version or 'no model'}. Run the {run.run_kind} again: it is then "
            "scored by the champion."
        )


def _require_past_knowledge(publisher: Connection, run: Run) -> None:
    """Check that a restated night knows nothing but what has landed: a published cut-off closes the past."""
    [(known,)] = publisher.execute(
        "select greatest((select max(known_at) from ops.landing_batches), ops.last_published_cut_off())"
    ).fetchall()
    if run.run_kind == "restate" and known is not None and run.known_as_of > known:
        raise PublishingError(
            "Expected a restated night to be published with what has landed, known as of "
            f"{known.isoformat()} at the latest, found {run.known_as_of.isoformat()}: what lands until then "
            "would be refused. "
            f"Restate it without --known-as-of: `churn-ml restate --as-of {run.as_of_date} --publish`."
        )


def _require_outcomes_stated_once(publisher: Connection, run: Run) -> None:
    """Check that no other published night states the outcomes that this one does."""
    twice = publisher.execute(
        "select bases.base_as_of_date, others.run_id from ops.run_bases as bases"
        " join ops.run_bases as others"
        "  on others.base_run_id = bases.base_run_id and others.base_role = 'matured'"
        " join ops.published_runs as published on published.run_id = others.run_id"
        " where bases.run_id = %s and bases.base_role = 'matured' and published.as_of_date <> %s"
        " order by 1, 2",
        [run.run_id, run.as_of_date],
    ).fetchall()
    if twice:
        raise PublishingError(
            f"Expected no other published night to state the outcomes that run {run.run_id} states, found "
            f"{len(twice)}, the first of {twice[0][0]} by {twice[0][1]}. Run the night of {run.as_of_date} "
            "again from its start: it then states what is left."
        )


def _require_whole_knowledge(publisher: Connection, run: Run) -> None:
    """Check that nothing which the run may know landed after its staging: a reproduction would see it.

    The lock is that of `ops.publish_run`: what lands from here on becomes known later, and no model is
    deployed until the night is published.
    """
    publisher.execute("select pg_advisory_xact_lock(%s)", [PUBLICATION_LOCK])
    unread = publisher.execute(
        "with nodes as (select max(recorded_at - elapsed_seconds * interval '1 second') as begun_at"
        " from ops.dbt_results where run_id = %s and layer = 'staging' group by node_id)"
        " select file_name from ops.landing_batches"
        " where known_at <= %s and landed_at > (select min(begun_at) from nodes) order by landed_at",
        [run.run_id, run.known_as_of],
    ).fetchall()
    if unread:
        raise PublishingError(
            f"Expected run {run.run_id} to have read all that is known by {run.known_as_of.isoformat()}, "
            f"found {len(unread)} batches that landed after its staging had begun, the first {unread[0][0]}. "
            "Clear the run from dbt_staging on: it then reads them."
        )


def unpublish_run(settings: Settings, run_id: str, reason: str) -> tuple[OutdatedRun, ...]:
    """Hide `run_id` from BI again; its rows stay. Return the later nights that were built on it.

    Raises
    ------
    PublishingError
        If the run is not published.
    """
    with connect(settings, Role.PUBLISHER) as publisher:
        _call(publisher, "select ops.unpublish_run(%s, %s)", [run_id, reason])
    log.info("un-published run %s", run_id)
    return read_outdated_runs(settings, read_run(settings, run_id).as_of_date)


def discard_run(settings: Settings, run_id: str) -> int:
    """Delete the scores and mart rows of a run that was never published; return how many.

    Raises
    ------
    PublishingError
        If the run was published once.
    """
    read_run(settings, run_id)
    with connect(settings, Role.PUBLISHER) as publisher:
        deleted = _call(publisher, "select ops.discard_run(%s)", [run_id])
    close_run(settings, run_id, "discarded")
    log.info("discarded run %s: %d rows", run_id, deleted)
    return int(deleted)


def _call(publisher: Connection, statement: LiteralString, parameters: list[object]) -> Any:
    try:
        row = publisher.execute(statement, parameters).fetchone()
    except RaiseException as error:
        raise PublishingError(f"Postgres refused: {error.diag.message_primary}.") from None
    return row[0] if row else None


def _compare(settings: Settings, former: str, new: tuple[Fingerprint, ...]) -> tuple[str, ...]:
    before = {item.mart: item.rows_md5 for item in read_fingerprints(settings, former)}
    after = {item.mart: item.rows_md5 for item in new}
    with connect(settings, Role.READER) as reader:
        hashed_when_newest = current_marts(reader) & (before.keys() ^ after.keys())
    marts = (before.keys() | after.keys()) - hashed_when_newest
    return tuple(sorted(mart for mart in marts if before.get(mart) != after.get(mart)))
