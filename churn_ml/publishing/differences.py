"""Where two runs of one night differ: customers counted, rows listed."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from churn_ml.publishing.fingerprints import RUN_TIME_COLUMNS
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.sql import SQL, Composed, Identifier, Literal

# What people know a row by, in the place of the integer that keys it.
_NATURAL_IDS = {
    "customer_key": "customer_id",
    "as_of_date_key": "as_of_date",
    "model_key": "model_version",
    "risk_tier_key": "risk_tier",
    "scored_run_key": "scored_as_of_date",
}


@dataclass(frozen=True)
class CustomerDifferences:
    """Numbers of customers: only in one of two runs, or with another value in the later one."""

    appeared: int = 0
    vanished: int = 0
    probability: int = 0
    risk_tier: int = 0
    expected_loss: int = 0


@dataclass(frozen=True)
class RowDifference:
    """One value of one row in which two runs differ; `column` is ``*`` where a run lacks the row."""

    mart: str
    key: str
    column: str
    then: str | None
    now: str | None

    def __str__(self) -> str:
        """Return the difference as half a sentence."""
        return f"{self.mart} {self.key}: {self.column} was {self.then}, is {self.now}"


_COUNT = """
    with was as (select * from marts.fct_churn_score where run_id = %(then)s),
    now as (select * from marts.fct_churn_score where run_id = %(now)s)

    select
        count(*) filter (where was.customer_id is null),
        count(*) filter (where now.customer_id is null),
        count(*) filter (where was.churn_probability is distinct from now.churn_probability),
        count(*) filter (where was.risk_tier is distinct from now.risk_tier),
        count(*) filter (
            where was.expected_revenue_loss_amount is distinct from now.expected_revenue_loss_amount
        )
    from was
    full join now on was.customer_id = now.customer_id
"""
_LIST = SQL(
    """
    with was as (
        select {key} as key, to_jsonb(mart) - {left_out}::text[] as content
        from {mart} as mart where run_id = {then}
    ),
    now as (
        select {key} as key, to_jsonb(mart) - {left_out}::text[] as content
        from {mart} as mart where run_id = {now}
    )

    select
        coalesce(was.key, now.key) as key,
        columns.name,
        was.content ->> columns.name,
        now.content ->> columns.name,
        was.key is not null
    from was
    full join now on was.key = now.key
    cross join lateral (
        select '*' as name where was.key is null or now.key is null
        union all
        select name from jsonb_object_keys(was.content) as names (name)
        where was.content -> name is distinct from now.content -> name and now.key is not null
    ) as columns
    where was.content is distinct from now.content
    order by coalesce(was.key, now.key) collate "C", columns.name collate "C"
    limit {limit}
    """
)


def count_customers(auditor: Connection, then: str, now: str) -> CustomerDifferences:
    """Count the customers whose row of the fact table differs between two runs."""
    [row] = auditor.execute(_COUNT, {"then": then, "now": now}).fetchall()
    return CustomerDifferences(*row)


def first_differences(
    auditor: Connection, marts: Iterable[str], then: str, now: str, left_out: frozenset[str], limit: int
) -> tuple[RowDifference, ...]:
    """Return the first `limit` differing values of each mart, in order of the mart's key."""
    found: list[RowDifference] = []
    for mart in marts:
        query = _LIST.format(
            key=_key(auditor, mart), mart=Identifier("marts", mart), then=Literal(then), now=Literal(now),
            left_out=Literal(sorted(left_out)), limit=Literal(limit),
        )  # fmt: skip
        for key, column, before, after, was_there in auditor.execute(query).fetchall():
            if column == "*":
                before, after = ("a row", "no row") if was_there else ("no row", "a row")
            found.append(RowDifference(mart, key, column, before, after))
    return tuple(found)


def _key(auditor: Connection, mart: str) -> Composed:
    """Return the text of the primary key, less what names the run, as an expression of natural ids."""
    rows = auditor.execute(
        "select attributes.attname, exists (select from pg_attribute as ids"
        "  where ids.attrelid = indexes.indrelid and ids.attname = %s::jsonb ->> attributes.attname::text)"
        " from pg_index as indexes"
        " join pg_attribute as attributes on attributes.attrelid = indexes.indrelid"
        " and attributes.attnum = any(indexes.indkey)"
        " where indexes.indrelid = format('marts.%%I', %s::text)::regclass and indexes.indisprimary"
        " and attributes.attname <> all(%s) order by attributes.attnum",
        [json.dumps(_NATURAL_IDS), mart, sorted(RUN_TIME_COLUMNS - _NATURAL_IDS.keys())],
    ).fetchall()
    # An id may be null where its key is not, as the tier of a customer without a score.
    parts: list[Composed | Literal] = [
        SQL("coalesce(mart.{}::text, mart.{}::text)").format(
            Identifier(_NATURAL_IDS[name] if has_id else name), Identifier(name)
        )
        for name, has_id in rows
    ]
    return SQL("concat_ws(' ', {})").format(SQL(", ").join(parts or [Literal("the run")]))
