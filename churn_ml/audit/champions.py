"""The champions of one warehouse in another, so that a night there is scored as it would be here."""

import logging
from datetime import datetime

from churn_ml.audit.sample import copy_rows
from churn_ml.errors import ModelError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.sql import SQL, Composed, Identifier

log = logging.getLogger(__name__)

_NEWEST = "select model_version from ml.model_deployments where alias = 'champion' and valid_to = 'infinity'"
_VERSIONS = "select model_version from ml.model_deployments where alias = 'champion'"
# In the order of their foreign keys.
_TABLES = {
    ("ops", "pipeline_runs"): SQL(
        "run_id in (select run_id from ml.model_versions where model_version in ({}))"
    ).format(SQL(_VERSIONS)),
    ("ml", "model_versions"): SQL("model_version in ({})").format(SQL(_VERSIONS)),
    ("ml", "gate_results"): SQL("model_version in ({})").format(SQL(_VERSIONS)),
    ("ml", "model_deployments"): SQL("alias = 'champion'").format(),
}


def newest_champion(settings: Settings) -> str | None:
    """Return the version of the newest deployment of a champion, whenever it begins."""
    with connect(settings, Role.AUDITOR) as auditor:
        row = auditor.execute(_NEWEST).fetchone()
    return str(row[0]) if row else None


def copy_champion(source: Settings, target: Settings) -> str | None:
    """Copy every champion of `source`, its training run, gates and deployments to `target`.

    `target` must not hold them yet. Who trained a model is not copied: a model of dated rows scores
    everyone by the same pipeline.

    Returns
    -------
    str or None
        The version of the newest champion; None where nobody was ever promoted.
    """
    champion = newest_champion(source)
    if champion is None:
        return None
    with connect(source, Role.AUDITOR) as auditor, connect(target, Role.OWNER) as owner:
        auditor.execute("set transaction isolation level repeatable read, read only")
        for table, condition in _TABLES.items():
            _copy_table(auditor, owner, table, condition)
    log.info("copied the champions up to %s to %s", champion, target.warehouse_database)
    return champion


def begin_by(settings: Settings, cut_off: datetime, champion: str) -> bool:
    """Let `champion` hold from the cut-off on where no other one does; return whether that was needed.

    It ends where the first other one begins. Only for a throw-away warehouse: who was champion on a
    night of the real one never changes.
    """
    with connect(settings, Role.OWNER) as owner:
        inserted = owner.execute(
            "insert into ml.model_deployments"
            " (alias, model_version, valid_from, valid_to, recorded_by, reason)"
            " select 'champion', %(model)s, %(cut_off)s, coalesce(min(valid_from), 'infinity'), 'audit',"
            " 'it begins after the audited night' from ml.model_deployments"
            " where alias = 'champion' and valid_from > %(cut_off)s and valid_from < valid_to"
            " having ml.champion_at(%(cut_off)s) is null",
            {"model": champion, "cut_off": cut_off},
        ).rowcount
    return inserted > 0


def _copy_table(auditor: Connection, owner: Connection, table: tuple[str, str], condition: Composed) -> None:
    rows = owner.execute(
        "select column_name from information_schema.columns where (table_schema, table_name) = (%s, %s)"
        " and is_identity = 'NO' and is_generated = 'NEVER' order by ordinal_position",
        table,
    ).fetchall()
    columns = SQL(", ").join([Identifier(str(name)) for (name,) in rows])
    query = SQL("select {} from {} where {}").format(columns, Identifier(*table), condition)
    copied = copy_rows(auditor, query, [], owner, SQL("{} ({})").format(Identifier(*table), columns))
    if not copied and table[1] != "gate_results":
        raise ModelError(f"Expected champions to copy, found no row of them in {'.'.join(table)}.")
