"""Personal columns: they land in ``raw_restricted``, beside the row of ``raw`` that lacks them."""

from collections.abc import Sequence

from churn_ml.errors import LandingError
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.raw_tables import META_COLUMNS
from churn_ml.warehouse.sql import SQL, Composed, Identifier, Literal


class RowTarget:
    """Where the rows of an entity go: straight into ``raw``, or parted where it has restricted columns.

    Rows to be parted are copied into a temporary table with the defaults of the raw one, which gives
    them their batch and their row number, and from there into ``raw`` and ``raw_restricted``.

    Parameters
    ----------
    entity
        The entity, and its tables.
    restricted_columns
        Raw columns that only ``raw_restricted`` may hold.
    """

    def __init__(self, entity: str, restricted_columns: Sequence[str]) -> None:
        self._entity = entity
        self._restricted = list(restricted_columns)

    def open(self, connection: Connection) -> Composed:
        """Return the table that COPY fills; it lasts to the end of the transaction."""
        raw = SQL("{}").format(Identifier("raw", self._entity))
        if not self._restricted:
            return raw
        texts = SQL(", ").join(SQL("{} text").format(Identifier(name)) for name in self._restricted)
        connection.execute(
            SQL("create temporary table landing_rows (like {} including defaults, {}) on commit drop").format(
                raw, texts
            )
        )
        return SQL("{}").format(Identifier("pg_temp", "landing_rows"))

    def part(self, connection: Connection, raw_columns: Sequence[str], row_count: int, name: str) -> None:
        """Send each copied row's columns where they belong.

        Raises
        ------
        LandingError
            If one of the tables did not get `row_count` rows.
        """
        if not self._restricted:
            return
        delivered = [column for column in raw_columns if column not in META_COLUMNS]
        parts = {
            "raw": [column for column in delivered if column not in self._restricted],
            "raw_restricted": self._restricted,
        }
        for schema, columns in parts.items():
            taken = SQL(", ").join(map(Identifier, [*META_COLUMNS, *columns]))
            inserted = connection.execute(
                SQL("insert into {} ({}) select {} from pg_temp.landing_rows").format(
                    Identifier(schema, self._entity), taken, taken
                )
            ).rowcount
            if inserted != row_count:
                raise LandingError(
                    f"{name}: expected {row_count} rows in {schema}.{self._entity}, found {inserted}. "
                    "Nothing of it was stored."
                )

    def landed_rows(self, batch_ids: list[int]) -> Composed:
        """Return the landed rows of these batches with all their columns, as a relation of a query."""
        parts = {"raw": Identifier("raw", self._entity), "batch_ids": Literal(batch_ids)}
        if not self._restricted:
            return SQL("(select * from {raw} where _batch_id = any({batch_ids})) as landed").format(**parts)
        return SQL(
            "(select landed.*, {restricted} from {raw} as landed"
            " inner join {raw_restricted} as personal"
            " on landed._batch_id = personal._batch_id and landed._row_number = personal._row_number"
            " where landed._batch_id = any({batch_ids}) and personal._batch_id = any({batch_ids})) as landed"
        ).format(
            restricted=SQL(", ").join(Identifier("personal", name) for name in self._restricted),
            raw_restricted=Identifier("raw_restricted", self._entity),
            **parts,
        )
