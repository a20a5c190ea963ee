"""One warehouse for every question that BI asks: two published nights and three runs of all marts."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from clones import clone_warehouse, drop_warehouse
from published_marts import Marts

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin

sys.path.append(str(Path(__file__).parents[1] / "warehouse"))

KEYS_AND_INDEXES = """
select conrelid::regclass::text, conname, pg_get_constraintdef(oid)
from pg_constraint
where connamespace = 'marts'::regnamespace
union all
select indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid)
from pg_index
inner join pg_class on indrelid = pg_class.oid
where relnamespace = 'marts'::regnamespace
order by 1, 2
"""


@pytest.fixture(scope="session")
def marts(server: Settings) -> Iterator[Marts]:
    """Two nights a month apart, the second with its marts built twice, both published."""
    from telco_nights import CUT_OFF, DAY, build, customer, deliver, publish, rows, scored_night

    settings = clone_warehouse(server)
    people = [customer(name, monthly_charges=f"{20 + 10 * n}.33") for n, name in enumerate("abcdef")]
    people += [customer("=1+1", contract="Two year"), customer("gone", churn="Yes")]
    earlier = timedelta(days=30)
    deliver(settings, *people[:4], as_of_date=DAY - earlier, known_at=CUT_OFF - earlier)
    deliver(settings, *people)
    first = scored_night(settings, {"a": 0.1, "b": 0.2, "c": 0.5, "d": 0.9}, CUT_OFF - earlier)
    keys_and_indexes = [rows(settings, KEYS_AND_INDEXES)]
    publish(settings, first)
    probabilities = {"a": 0.1, "b": 0.5, "c": 0.5, "d": 0.8, "e": 0.71, "f": 0.69, "=1+1": 0.05}
    second = scored_night(settings, probabilities)
    keys_and_indexes.append(rows(settings, KEYS_AND_INDEXES))
    build(settings, second, "marts")
    keys_and_indexes.append(rows(settings, KEYS_AND_INDEXES))
    publish(settings, second)
    yield Marts(settings, (first, second), (keys_and_indexes[0], keys_and_indexes[1], keys_and_indexes[2]))
    drop_warehouse(settings)


@pytest.fixture
def reader(marts: Marts) -> Iterator[psycopg.Connection]:
    """A connection as the role of BI tools."""
    with connect(marts.settings, Role.READER) as connection:
        yield connection


@pytest.fixture
def damaged(marts: Marts) -> Iterator[psycopg.Connection]:
    """A connection that may damage the marts and then read as BI does; all is undone at the end."""
    admin = connect_admin(marts.settings, database=marts.settings.warehouse_database)
    admin.autocommit = False
    yield admin
    admin.rollback()
    admin.close()
