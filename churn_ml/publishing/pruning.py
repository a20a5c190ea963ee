"""What the declared rules of retention remove; ``dbt_project/seeds/retention_rules.csv`` holds them."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from churn_ml.errors import PublishingError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, RaiseException, Role, connect

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pruning:
    """Rows of one relation that a rule names: removed, or only counted."""

    what: str
    relation: str
    row_count: int
    keep_days: int
    keep_runs: int | None


def prune(settings: Settings, moment: datetime | None, *, is_dry_run: bool = False) -> list[Pruning]:
    """Remove what the rules of the dataset name; each rule is one transaction.

    Parameters
    ----------
    moment
        Up to when ages are counted, with a time zone. What is removed is a row of ``ops.prunings``.
    is_dry_run
        Count the rows and remove nothing.

    Raises
    ------
    PublishingError
        If the moment has no time zone, or there is no rule, two of a kind, or one that does not exist.
    """
    if moment is None or moment.tzinfo is None:
        raise PublishingError(
            f"Expected a moment with a time zone up to which ages count, found {moment}. Trigger the DAG "
            "with a logical date, or run `churn-ml prune`."
        )
    pruned: list[Pruning] = []
    with connect(settings, Role.PUBLISHER, autocommit=True) as publisher:
        try:
            for rule in _read_rules(publisher, settings, moment):
                pruned += _apply(publisher, settings, moment, rule, is_dry_run)
        except RaiseException as error:
            raise PublishingError(f"Postgres refused: {error.diag.message_primary}") from None
    for part in pruned:
        log.info("%s of %s: %d rows %s", part.what, part.relation, part.row_count,
                 "would go" if is_dry_run else "removed")  # fmt: skip
    return pruned


_Rule = tuple[str, str, int, int | None]


def _read_rules(publisher: Connection, settings: Settings, moment: datetime) -> list[_Rule]:
    return publisher.execute(
        "select relation, what, keep_days, keep_runs from ops.retention_rules(%s, %s)",
        [settings.dataset, moment.astimezone(UTC).date()],
    ).fetchall()


def _apply(
    publisher: Connection, settings: Settings, moment: datetime, rule: _Rule, is_dry_run: bool
) -> list[Pruning]:
    relation, what, keep_days, keep_runs = rule
    rows = publisher.execute(
        "select pruned_relation, row_count from ops.prune(%s, %s, %s, %s, %s)",
        [settings.dataset, relation, what, moment, is_dry_run],
    ).fetchall()
    return [Pruning(what, name, row_count, keep_days, keep_runs) for name, row_count in rows]
