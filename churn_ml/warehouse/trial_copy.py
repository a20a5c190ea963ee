"""A COPY that is undone when Postgres refuses the data or the caller refuses the count."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.copying import copy_in


@dataclass(frozen=True)
class TrialOutcome:
    """The rows that stay, or why none do."""

    row_count: int
    refusal: str | None = None


def try_copy_in(
    connection: Connection,
    statement: sql.Composed,
    blocks: Iterable[bytes],
    find_fault: Callable[[int], str | None],
) -> TrialOutcome:
    """Run ``copy ... from stdin`` behind a savepoint.

    `find_fault` gets the row count and returns why it is wrong, or None; a fault, like data that
    Postgres refuses, leaves the table as it was. Any other error goes up.
    """
    fault: str | None = None
    rows = 0
    try:
        with connection.transaction() as savepoint:
            rows = copy_in(connection, statement, blocks)
            fault = find_fault(rows)
            if fault is not None:
                raise psycopg.Rollback(savepoint)
    except (psycopg.DataError, psycopg.errors.ProgramLimitExceeded) as error:
        fault = error.diag.message_primary or type(error).__name__
    return TrialOutcome(0 if fault else rows, fault)
