"""Columns as dbt is told of them: the catalog's answer is the standard view's, to the word."""

from pathlib import Path
from types import SimpleNamespace

from jinja2 import Environment

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import connect_admin

MACRO = Path(__file__).parents[2] / "dbt_project" / "macros" / "columns_in_relation.sql"
STANDARD = """
select column_name::text, data_type::text, character_maximum_length, numeric_precision, numeric_scale
from information_schema.columns
where table_schema = %s and table_name = %s
order by ordinal_position
"""
SHAPES = """
create domain ops.share as numeric(5, 4);
create domain ops.names as text[];
create type ops.mood as enum ('good', 'bad');
create table ops.shapes (
    a integer, b numeric, c numeric(18, 2), d text, e varchar(7), f char(3), g timestamptz, h date[],
    i double precision, j boolean, k ops.share, l ops.names, m ops.mood, n jsonb, o bytea, p name, q bit(3),
    "Odd ""name" smallint, r interval, s ops.mood[], t int4range
);
alter table ops.shapes drop column d;
create view ops.shapes_seen as select * from ops.shapes;
"""


class Relation(SimpleNamespace):
    """What the macro asks of a relation of dbt."""

    def include(self, database: bool) -> str:
        assert not database
        return self.name


def columns_query(relation: str) -> str:
    text = f"{MACRO.read_text()}{{{{ columns_in_catalog(relation) }}}}"
    template = Environment().from_string(text)  # noqa: S701 - it renders SQL
    return template.render(relation=Relation(name=relation))


def test_columns_of_every_kind_are_told_as_the_standard_view_tells_them(settings: Settings) -> None:
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute(SHAPES)
        relations = admin.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_schema in ('ops', 'raw', 'ml', 'scores', 'information_schema')"
        ).fetchall()
        assert ("ops", "shapes_seen") in relations
        for schema, name in relations:
            expected = admin.execute(STANDARD, [schema, name]).fetchall()
            assert expected
            assert admin.execute(columns_query(f'"{schema}"."{name}"')).fetchall() == expected, name


def test_a_temporary_table_is_found_by_its_name_alone(settings: Settings) -> None:
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute("create temporary table fresh__dbt_tmp (a numeric(4, 1), b text)")
        found = admin.execute(columns_query('"fresh__dbt_tmp"')).fetchall()
    assert [row[:2] for row in found] == [("a", "numeric"), ("b", "text")]
