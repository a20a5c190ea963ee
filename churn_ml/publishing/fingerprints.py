"""A run's rows of every mart as one hash each: two runs of a night must agree."""

from dataclasses import dataclass

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.sql import SQL, Identifier

RUN_TIME_COLUMNS = frozenset({
    "run_id", "scoring_run_key", "run_kind", "scored_at", "scored_date", "built_at", "published_at",
})  # fmt: skip
"""The declared columns in which two runs of one night may differ: data about the run, not the night."""

CURRENT_MART = "customer_churn_current"
"""The mart of which BI sees the latest night only: an older night's run has no rows there."""


@dataclass(frozen=True)
class Fingerprint:
    """Row count and hash of one mart's rows, in any order, less the run-time columns."""

    mart: str
    row_count: int
    rows_md5: str


def take_fingerprints(settings: Settings, run_id: str) -> tuple[Fingerprint, ...]:
    """Read the published marts of `run_id` as ``bi_reader`` and record one hash each."""
    with connect(settings, Role.READER) as reader, connect(settings, Role.PUBLISHER) as publisher:
        is_current = publisher.execute("select ops.current_run_id()").fetchone() == (run_id,)
        marts = [mart for mart in marts_with_run_id(reader) if is_current or mart != CURRENT_MART]
        taken = tuple(fingerprint_mart(reader, mart, run_id) for mart in marts)
        publisher.cursor().executemany(
            "insert into ops.publication_fingerprints (run_id, mart, row_count, rows_md5)"
            " values (%s, %s, %s, %s) on conflict do nothing",
            [(run_id, item.mart, item.row_count, item.rows_md5) for item in taken],
        )
    return taken


def read_fingerprints(settings: Settings, run_id: str) -> tuple[Fingerprint, ...]:
    """Return the hashes recorded when `run_id` was published."""
    with connect(settings, Role.PUBLISHER) as publisher:
        rows = publisher.execute(
            "select mart, row_count, rows_md5 from ops.publication_fingerprints"
            " where run_id = %s order by mart",
            [run_id],
        ).fetchall()
    return tuple(Fingerprint(*row) for row in rows)


def marts_with_run_id(connection: Connection) -> list[str]:
    """Return the names of the marts whose rows carry their run, in order."""
    rows = connection.execute(
        "select columns.table_name from information_schema.columns as columns"
        " join information_schema.tables as tables using (table_schema, table_name)"
        " where table_schema = 'marts' and column_name = 'run_id' and table_type = 'BASE TABLE'"
        " order by 1"
    ).fetchall()
    return [str(name) for (name,) in rows]


def fingerprint_mart(
    connection: Connection, mart: str, run_id: str, leave_out: frozenset[str] = RUN_TIME_COLUMNS
) -> Fingerprint:
    """Hash the rows of `run_id` in `mart` that the role of `connection` sees, less `leave_out`."""
    rows = connection.execute(
        "select column_name from information_schema.columns"
        " where table_schema = 'marts' and table_name = %s order by column_name",
        [mart],
    ).fetchall()
    columns = [Identifier(str(name)) for (name,) in rows if name not in leave_out]
    [(row_count, rows_md5)] = connection.execute(
        SQL(
            "select count(*), md5(coalesce(string_agg(row_md5, '' order by row_md5), '')) from"
            " (select md5(row({columns})::text) as row_md5 from {mart} where run_id = %s) as hashed"
        ).format(columns=SQL(", ").join(columns), mart=Identifier("marts", mart)),
        [run_id],
    ).fetchall()
    return Fingerprint(mart, row_count, rows_md5)
