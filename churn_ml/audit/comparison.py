"""The same relation in two databases or of two nights: equal by hash, or the first differing rows."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from churn_ml.declarations import Dataset
from churn_ml.publishing.fingerprints import RUN_TIME_COLUMNS
from churn_ml.services.dated_nights import Night
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.sql import SQL, Composed, Identifier, Literal

LISTED = 10
"""How many differences are listed."""

FEATURE_RELATIONS = ("customer_population", "customer_features", "customer_values", "customer_attributes")
_ARRIVAL_COLUMNS = frozenset({"batch_id", "row_number"})
_NIGHT_COLUMNS = RUN_TIME_COLUMNS | {"known_as_of"}


@dataclass(frozen=True)
class Difference:
    """One value that is not the same; `customer_id` names the record where no customer is at hand."""

    relation: str
    customer_id: str
    column: str
    then: str | None
    now: str | None


@dataclass(frozen=True)
class Rows:
    """Rows of a relation to compare: which ones, what names one, and the columns that may differ."""

    relation: str
    key: tuple[str, ...]
    leave_out: frozenset[str]
    night: Night | None = None

    @property
    def table(self) -> Composed:
        """The relation as an identifier."""
        return SQL("{}").format(Identifier(*self.relation.split(".")))

    @property
    def condition(self) -> Composed:
        """Which rows: those of the night, or all."""
        if self.night is None:
            return SQL("true").format()
        return SQL("as_of_date = {} and known_as_of = {}").format(
            Literal(self.night.as_of_date), Literal(self.night.known_as_of)
        )


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a connection and the rows to read on it."""

    connection: Connection
    rows: Rows

    def hash(self) -> tuple[int, str]:
        """Return the number of rows and the hash over all of them in order."""
        query = SQL(
            "select count(*), md5(coalesce(string_agg(row_md5, '' order by row_md5), '')) from"
            " (select md5(row({})::text) as row_md5 from {} where {}) as hashed"
        ).format(self._columns(), self.rows.table, self.rows.condition)
        [(count, rows_md5)] = self.connection.execute(query).fetchall()
        return count, rows_md5

    def row_hashes(self) -> dict[str, list[str]]:
        """Return the hashes of the rows under each key."""
        query = SQL("select {}, md5(row({})::text) from {} where {} order by 1, 2").format(
            self._key(), self._columns(), self.rows.table, self.rows.condition
        )
        found: dict[str, list[str]] = defaultdict(list)
        for key, row_md5 in self.connection.execute(query):
            found[key].append(row_md5)
        return dict(found)

    def read_all(self) -> dict[str, list[dict[str, object]]]:
        """Return all rows as `read` does: for relations known to be small."""
        return self.read(list(self.row_hashes()))

    def read(self, keys: Sequence[str]) -> dict[str, list[dict[str, object]]]:
        """Return the rows under `keys`, each as a mapping of column to value."""
        query = SQL("select {}, to_jsonb(given) from {} as given where {} and {} = any(%s) order by 1, 2")
        statement = query.format(self._key(), self.rows.table, self.rows.condition, self._key())
        found: dict[str, list[dict[str, object]]] = defaultdict(list)
        for key, row in self.connection.execute(statement, [list(keys)]):
            found[key].append({name: row[name] for name in sorted(row) if name not in self.rows.leave_out})
        return found

    def _key(self) -> Composed:
        return SQL("concat_ws('|', {})").format(SQL(", ").join(map(Identifier, self.rows.key)))

    def _columns(self) -> Composed:
        rows = self.connection.execute(
            "select column_name from information_schema.columns"
            " where table_schema || '.' || table_name = %s order by column_name",
            [self.rows.relation],
        ).fetchall()
        return SQL(", ").join([Identifier(str(name)) for (name,) in rows if name not in self.rows.leave_out])


def feature_rows(night: Night) -> list[Rows]:
    """Return what a night's features are: population, features, values and attributes."""
    return [Rows(f"features.{name}", ("customer_id",), _NIGHT_COLUMNS, night) for name in FEATURE_RELATIONS]


def history_rows(dataset: Dataset) -> list[Rows]:
    """Return the typed versions of every entity, less what only tells how they arrived."""
    return [
        Rows(
            f"staging.stg_{dataset.dataset}__{name}",
            (*entity.key, "revision", "known_at", "row_hash"),
            _ARRIVAL_COLUMNS,
        )
        for name, entity in dataset.entities.items()
    ]


def compare(
    then: Connection, now: Connection, pairs: Iterable[tuple[Rows, Rows]]
) -> tuple[int, list[Difference]]:
    """Compare each pair by hash; return how many rows there were and the first differences."""
    row_count, differences = 0, []
    for rows_then, rows_now in pairs:
        side_then, side_now = Side(then, rows_then), Side(now, rows_now)
        hash_then, hash_now = side_then.hash(), side_now.hash()
        row_count += hash_then[0]
        if hash_then != hash_now:
            differences += first_differences(side_then, side_now)
    return row_count, differences[:LISTED]


def first_differences(then: Side, now: Side) -> list[Difference]:
    """List the first values that are not the same, by key and column."""
    hashes_then, hashes_now = then.row_hashes(), now.row_hashes()
    differing = [
        key
        for key in sorted(hashes_then.keys() | hashes_now.keys())
        if hashes_then.get(key) != hashes_now.get(key)
    ][:LISTED]
    rows_then, rows_now = then.read(differing), now.read(differing)
    found = (
        difference
        for key in differing
        for difference in _differences(then.rows.relation, key, rows_then[key], rows_now[key])
    )
    return list(islice(found, LISTED))


def _differences(
    relation: str, key: str, then: list[dict[str, object]], now: list[dict[str, object]]
) -> list[Difference]:
    customer_id = str((then or now)[0].get("customer_id") or key)
    if len(then) != len(now):
        return [Difference(relation, customer_id, "(rows)", str(len(then)), str(len(now)))]
    return [
        Difference(relation, customer_id, column, as_text(former[column]), as_text(new.get(column)))
        for former, new in zip(then, now, strict=True)
        for column in former
        if former[column] != new.get(column)
    ]


def as_text(value: object) -> str | None:
    """Return a value of a JSON row as it is shown."""
    return None if value is None else value if isinstance(value, str) else json.dumps(value)
