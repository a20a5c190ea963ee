"""A run's rows of every mart as one hash each: two runs of a night must agree."""

from dataclasses import dataclass

from churn_ml.errors import PublishingError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.sql import SQL, Identifier

RUN_TIME_COLUMNS = frozenset({
    "run_id", "scoring_run_key", "run_kind", "scored_at", "scored_date", "built_at", "published_at",
    "built_date", "scored_run_id", "scored_run_key",
})  # fmt: skip
"""The declared columns in which two runs of one night may differ: data about the run, not the night."""


@dataclass(frozen=True)
class Fingerprint:
    """Row count and hash of one mart's rows, in any order, less the run-time columns."""

    mart: str
    row_count: int
    rows_md5: str


def take_fingerprints(settings: Settings, run_id: str) -> tuple[Fingerprint, ...]:
    """Read the published marts of `run_id` as ``bi_reader`` and record one hash each.

    Marts that show the newest night only are left out where the run is of an older one.

    Raises
    ------
    PublishingError
        If the run is no longer published: what BI sees is not its rows.
    """
    with connect(settings, Role.READER) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("set local statement_timeout = 0")  # the limit is for dashboards
        published = [
            str(found)
            for (found,) in reader.execute(
                "select run_id from marts.dim_scoring_run order by as_of_date desc"
            ).fetchall()
        ]
        if run_id not in published:
            raise PublishingError(
                f"Expected run {run_id} to be published, found that it was superseded or un-published "
                "before its rows were hashed. See `churn-ml run list`."
            )
        hidden = current_marts(reader) if run_id != published[0] else frozenset()
        marts = [mart for mart in marts_with_run_id(reader) if mart not in hidden]
        taken = tuple(fingerprint_mart(reader, mart, run_id) for mart in marts)
    with connect(settings, Role.PUBLISHER) as publisher:
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


def current_marts(connection: Connection) -> frozenset[str]:
    """Return the names of the marts of which BI sees the newest night only, as their policies say."""
    rows = connection.execute(
        "select relname from pg_policy join pg_class on pg_class.oid = polrelid"
        " where relnamespace = 'marts'::regnamespace and polname = 'published_runs'"
        " and pg_get_expr(polqual, polrelid) like '%current_run_id%'"
    ).fetchall()
    return frozenset(str(name) for (name,) in rows)


def fingerprint_mart(
    connection: Connection, mart: str, run_id: str, leave_out: frozenset[str] = RUN_TIME_COLUMNS
) -> Fingerprint:
    """Hash the rows of `run_id` in `mart` that the role of `connection` sees, less `leave_out`.

    Each row's MD5 is read as two numbers, and each is summed up: that needs neither an order nor
    memory, and a row that is there twice counts twice.
    """
    rows = connection.execute(
        "select column_name from information_schema.columns"
        " where table_schema = 'marts' and table_name = %s order by column_name",
        [mart],
    ).fetchall()
    columns = [Identifier(str(name)) for (name,) in rows if name not in leave_out]
    [(row_count, rows_md5)] = connection.execute(
        SQL(
            "select count(*), md5(concat_ws(' ', count(*),"
            " sum(('x' || left(row_md5, 16))::bit(64)::bigint),"
            " sum(('x' || right(row_md5, 16))::bit(64)::bigint))) from"
            " (select md5(row({columns})::text) as row_md5 from {mart} where run_id = %s offset 0) as hashed"
        ).format(columns=SQL(", ").join(columns), mart=Identifier("marts", mart)),
        [run_id],
    ).fetchall()
    return Fingerprint(mart, row_count, rows_md5)
