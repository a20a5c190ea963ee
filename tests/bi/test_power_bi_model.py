"""Power BI's model, read back with a strict grammar, against the marts of a real warehouse."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dax_reader
import psycopg
import pytest
import tmdl_reader
from published_marts import Marts
from tmdl_reader import Item, TmdlError, split_reference
from tool_queries import POWER_BI_COLUMNS, POWER_BI_KEYS, POWER_BI_RELATIONSHIPS, POWER_BI_TABLES, ask

from churn_ml.bi.power_bi import project_files
from churn_ml.bi.power_bi_marts import power_bi_type, read_metrics
from churn_ml.bi.power_bi_measures import FORMATS
from churn_ml.services.dbt_marts import describe_marts

SEED = Path(__file__).resolve().parents[2] / "dbt_project" / "seeds" / "metrics.csv"
DEFINITION = "churn.SemanticModel/definition/"
Model = dict[str, Item]


@pytest.fixture(scope="module")
def texts(marts: Marts) -> Mapping[str, str]:
    files = project_files(describe_marts(marts.settings), SEED, "localhost:5432", "churn_subscriptions")
    return {path.removeprefix(DEFINITION): text for path, text in files.items()
            if path.startswith(DEFINITION)}  # fmt: skip


@pytest.fixture(scope="module")
def parsed(texts: Mapping[str, str]) -> Mapping[str, list[Item]]:
    return {path: tmdl_reader.read(text) for path, text in texts.items()}


@pytest.fixture(scope="module")
def tables(parsed: Mapping[str, list[Item]]) -> Model:
    found = [item for path, items in parsed.items() if path.startswith("tables/") for item in items]
    assert {item.kind for item in found} == {"table"}
    return {item.name: item for item in found}


@pytest.fixture(scope="module")
def relationships(parsed: Mapping[str, list[Item]]) -> list[Item]:
    return parsed["relationships.tmdl"]


def columns_of(table: Item) -> dict[str, Item]:
    return {column.name: column for column in table.all("column")}


def ends(relationship: Item) -> tuple[tuple[str, str], tuple[str, str]]:
    return (
        split_reference(relationship.properties["fromColumn"]),
        split_reference(relationship.properties["toColumn"]),
    )


def test_the_files_hold_together(parsed: Mapping[str, list[Item]], tables: Model) -> None:
    roots = {path: [item.kind for item in items] for path, items in parsed.items()}
    assert roots["database.tmdl"] == ["database"]
    assert roots["expressions.tmdl"] == ["expression", "expression"]
    assert roots["cultures/en-US.tmdl"] == ["cultureInfo"]
    assert roots["model.tmdl"][0] == "model"
    assert {path for path in roots if path.startswith("tables/")} == {
        f"tables/{name}.tmdl" for name in tables
    }
    model = parsed["model.tmdl"]
    assert model[0].properties["culture"] == "en-US"
    assert [item.name for item in model if item.kind == "ref table"] == sorted(tables)
    assert [item.name for item in model if item.kind == "ref cultureInfo"] == ["en-US"]
    annotations = {item.name: item.expression for item in model if item.kind == "annotation"}
    assert json.loads(annotations["PBI_QueryOrder"]) == ["Server", "Database", *sorted(tables)]
    assert annotations["__PBI_TimeIntelligenceEnabled"] == "0"
    language = parsed["cultures/en-US.tmdl"][0].all("linguisticMetadata")[0]
    assert json.loads(language.expression)["Language"] == "en-US"


def test_the_parameters_are_server_and_database(parsed: Mapping[str, list[Item]]) -> None:
    said = {item.name: item.expression for item in parsed["expressions.tmdl"]}
    meta = ' meta [IsParameterQuery=true, Type="Text", IsParameterQueryRequired=true]'
    assert said == {
        "Server": f'"localhost:5432"{meta}', "Database": f'"churn_subscriptions"{meta}'
    }  # fmt: skip


def test_every_mart_and_column_is_there_with_its_type(tables: Model, reader: psycopg.Connection) -> None:
    assert set(tables) == {row["table_name"] for row in ask(reader, POWER_BI_TABLES)}
    found = {}
    for row in ask(reader, POWER_BI_COLUMNS):
        table, column, sql_type = str(row["table_name"]), str(row["column_name"]), str(row["data_type"])
        if sql_type == "numeric":
            sql_type = f"numeric({row['numeric_precision']},{row['numeric_scale']})"
        found[table, column] = power_bi_type(table, column, sql_type)
    told = {(table.name, column.name): column.properties["dataType"]
            for table in tables.values() for column in table.all("column")}  # fmt: skip
    assert told == found


def test_every_column_is_read_from_its_mart(tables: Model) -> None:
    for name, table in tables.items():
        (partition,) = table.all("partition")
        assert (partition.name, partition.expression, partition.properties["mode"]) == (name, "m", "import")
        (source,) = partition.all("source")
        assert source.expression == (
            "let\n    Source = PostgreSQL.Database(Server, Database),\n"
            f'    Mart = Source{{[Schema="marts",Item="{name}"]}}[Data]\nin\n    Mart'
        )
        assert {column.name: column.properties["sourceColumn"] for column in table.all("column")} == {
            column: column for column in columns_of(table)
        }


def test_descriptions_are_those_of_the_warehouse(tables: Model, reader: psycopg.Connection) -> None:
    rows = reader.execute(
        "select c.relname, a.attname, coalesce(col_description(c.oid, a.attnum), '') from pg_class as c"
        " inner join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped"
        " where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'v', 'p')"
        " union all select relname, '', obj_description(oid, 'pg_class') from pg_class"
        " where relnamespace = 'marts'::regnamespace and relkind in ('r', 'v', 'p')"
    ).fetchall()
    said = {(table, column): " ".join(str(text).split()) for table, column, text in rows}
    told = {(table.name, column.name): column.description
            for table in tables.values() for column in table.all("column")}  # fmt: skip
    told |= {(name, ""): table.description for name, table in tables.items()}
    assert {key: said.get(key) for key in told} == told
    assert all(measure.description for table in tables.values() for measure in table.all("measure"))


def test_relationships_are_the_foreign_keys(
    relationships: list[Item], tables: Model, reader: psycopg.Connection
) -> None:
    keys = {((str(row["fk_table"]), str(row["fk_column"])), (str(row["pk_table"]), str(row["pk_column"])))
            for row in ask(reader, POWER_BI_RELATIONSHIPS)}  # fmt: skip
    told = [ends(relationship) for relationship in relationships]
    assert len(set(told)) == len(told)
    assert keys <= set(told)
    views = {str(row["table_name"]) for row in ask(reader, POWER_BI_TABLES) if row["table_type"] == "VIEW"}
    assert {many[0] for many, _ in set(told) - keys} <= views
    for many, one in told:
        for table, column in (many, one):
            assert columns_of(tables[table])[column].properties["dataType"] == "int64"


def test_one_side_is_unique_and_knows_every_row(
    relationships: list[Item], reader: psycopg.Connection
) -> None:
    unique = Counter((row["table_name"], row["index_name"]) for row in ask(reader, POWER_BI_KEYS))
    alone = {(row["table_name"], row["column_name"]) for row in ask(reader, POWER_BI_KEYS)
             if unique[row["table_name"], row["index_name"]] == 1}  # fmt: skip
    for (many, key), (one, to) in map(ends, relationships):
        assert (one, to) in alone, f"{one}.{to} is not unique"
        (orphans,) = reader.execute(
            f"select count(*) from marts.{many} where {key} is not null"
            f" and {key} not in (select {to} from marts.{one})"
        ).fetchone() or (None,)
        assert orphans == 0, f"{many}.{key} -> {one}.{to}"


def test_no_two_active_ways_lead_from_table_to_table(relationships: list[Item]) -> None:
    """Counted here by walking, apart from the rule that chose them."""
    to: dict[str, list[str]] = {}
    for relationship in relationships:
        (many, _), (one, _) = ends(relationship)
        if relationship.properties.get("isActive") != "false":
            to.setdefault(one, []).append(many)

    def reached(table: str) -> Iterator[str]:
        for filtered in to.get(table, []):
            yield filtered
            yield from reached(filtered)

    for table in list(to):
        assert [name for name, ways in Counter(reached(table)).items() if ways > 1] == []


def test_labels_sort_by_a_column_that_gives_each_one_place(tables: Model, reader: psycopg.Connection) -> None:
    sorted_labels = 0
    for table in tables.values():
        columns = columns_of(table)
        for column in columns.values():
            order = column.properties.get("sortByColumn")
            if order is None:
                assert f"{column.name}_sort" not in columns
                continue
            sorted_labels += 1
            assert columns[order].properties["dataType"] == "int64"
            assert columns[order].properties["isHidden"] == "true"
            doubled = reader.execute(
                f"select {column.name} from marts.{table.name} where {column.name} is not null"
                f" group by 1 having count(distinct {order}) <> 1 or bool_or({order} is null)"
            ).fetchall()
            assert doubled == [], f"{table.name}.{column.name} by {order}"
        sorts = {name for name in columns if name.endswith("_sort")}
        assert sorts <= {column.properties.get("sortByColumn") for column in columns.values()}
    assert sorted_labels > 20


def test_dates_are_a_marked_date_table(tables: Model, reader: psycopg.Connection) -> None:
    assert [name for name, table in tables.items() if table.properties.get("dataCategory") == "Time"] == [
        "dim_date"
    ]
    keys = {name: [column.name for column in table.all("column") if "isKey" in column.properties]
            for name, table in tables.items()}  # fmt: skip
    assert keys["dim_date"] == ["date_day"]
    assert all(len(found) <= 1 for found in keys.values())
    assert columns_of(tables["dim_date"])["date_day"].properties["dataType"] == "dateTime"
    (is_whole,) = reader.execute(
        "select count(*) = max(date_day) - min(date_day) + 1 and count(*) = count(distinct date_day)"
        " and to_char(min(date_day), 'MM-DD') = '01-01' and to_char(max(date_day), 'MM-DD') = '12-31'"
        " from marts.dim_date"
    ).fetchone() or (False,)
    assert is_whole


def test_keys_and_orders_are_hidden(tables: Model) -> None:
    for table in tables.values():
        for name, column in columns_of(table).items():
            if name.endswith(("_key", "_sort")):
                assert "isHidden" in column.properties, f"{table.name}.{name}"
    assert "isHidden" in columns_of(tables["fct_churn_score"])["as_of_date"].properties
    assert "isHidden" not in columns_of(tables["fct_churn_score"])["customer_id"].properties
    assert "isHidden" not in columns_of(tables["run_checks"])["as_of_date"].properties


def test_only_what_adds_up_over_dates_is_summed(tables: Model) -> None:
    summed = {(table.name, column.name) for table in tables.values() for column in table.all("column")
              if column.properties["summarizeBy"] == "sum"}  # fmt: skip
    assert summed == {
        (metric.mart, metric.column_name)
        for metric in read_metrics(SEED)
        if (metric.aggregation, metric.over_dates) == ("sum", "sum") and metric.format != "currency"
    }
    assert ("churn_kpis_daily", "customer_lost_count") in summed


def test_measures_refer_to_what_there_is(tables: Model) -> None:
    columns = {(table.name, column.name) for table in tables.values() for column in table.all("column")}
    measures = Counter(measure.name.lower() for table in tables.values() for measure in table.all("measure"))
    assert [name for name, number in measures.items() if number > 1] == []
    names = {measure.name for table in tables.values() for measure in table.all("measure")}
    assert not names & {column for _, column in columns}
    for table in tables.values():
        for measure in table.all("measure"):
            parts = dax_reader.read(measure.expression)
            assert parts.columns <= columns, measure.name
            assert parts.tables <= set(tables), measure.name
            assert parts.measures <= names - {measure.name}, measure.name
            assert "\t" not in measure.expression


def test_every_metric_of_the_warehouse_is_a_measure(tables: Model, reader: psycopg.Connection) -> None:
    told = {(table.name, measure.name): measure.properties
            for table in tables.values() for measure in table.all("measure")}  # fmt: skip
    rows = reader.execute(
        "select mart, title, format, low_column, high_column from marts.metric_definitions"
    ).fetchall()
    expected = {(mart, title): FORMATS[form] for mart, title, form, _, _ in rows}
    expected |= {(mart, f"{title}, low"): FORMATS[form] for mart, title, form, low, _ in rows if low}
    expected |= {(mart, f"{title}, high"): FORMATS[form] for mart, title, form, _, high in rows if high}
    assert {key: told.get(key, {}).get("formatString") for key in expected} == expected
    assert set(told) - set(expected) == {
        ("dim_scoring_run", name) for name in ("Newest run key", "Newest night", "Published nights")
    }
    assert all(properties["displayFolder"] for properties in told.values())


def test_identities_are_unique(texts: Mapping[str, str]) -> None:
    tags = Counter(
        re.findall(r"lineageTag: (\S+)|^relationship (\S+)", "\n".join(texts.values()), re.MULTILINE)
    )
    assert [tag for tag, number in tags.items() if number > 1] == []
    assert len(tags) > 700


NOTICED = [
    (
        test_every_mart_and_column_is_there_with_its_type,
        "alter table marts.dim_model add column size integer",
    ),
    (test_every_mart_and_column_is_there_with_its_type, "alter table marts.dim_model drop column family"),
    (
        test_every_mart_and_column_is_there_with_its_type,
        "alter table marts.dim_model alter column training_row_count type numeric(18, 2)",
    ),
    (test_every_mart_and_column_is_there_with_its_type, "revoke all on marts.dim_model from bi_reader"),
    (test_descriptions_are_those_of_the_warehouse, "comment on column marts.dim_model.family is 'Other.'"),
    (
        test_labels_sort_by_a_column_that_gives_each_one_place,
        "update marts.fct_churn_score set risk_tier_sort = 7"
        " where customer_id = 'a' and as_of_date > '2026-10-15'",
    ),
    (test_dates_are_a_marked_date_table, "delete from marts.dim_date where date_day = '2026-03-01'"),
    (
        test_every_metric_of_the_warehouse_is_a_measure,
        "update marts.metric_definitions set title = 'Other' where metric = 'mrr'",
    ),
]


@pytest.mark.parametrize(("check", "fault"), NOTICED)
def test_the_warehouse_cannot_change_unseen(
    tables: Model, damaged: psycopg.Connection, check: Callable[..., None], fault: str
) -> None:
    damaged.execute(fault)
    damaged.execute("set local role bi_reader")
    with pytest.raises(AssertionError):
        check(tables, damaged)


def test_a_lost_key_is_noticed(relationships: list[Item], tables: Model, damaged: psycopg.Connection) -> None:
    damaged.execute("alter table marts.fct_churn_score drop constraint fct_churn_score_model_key_fkey")
    damaged.execute("alter table marts.dim_risk_tier drop constraint dim_risk_tier_pkey cascade")
    damaged.execute("set local role bi_reader")
    with pytest.raises(AssertionError):
        test_relationships_are_the_foreign_keys(relationships, tables, damaged)
    with pytest.raises(AssertionError, match=r"dim_risk_tier\.risk_tier_key is not unique"):
        test_one_side_is_unique_and_knows_every_row(relationships, damaged)


def test_a_second_active_way_is_noticed(texts: Mapping[str, str]) -> None:
    all_active = texts["relationships.tmdl"].replace("\tisActive: false\n", "")
    with pytest.raises(AssertionError):
        test_no_two_active_ways_lead_from_table_to_table(tmdl_reader.read(all_active))


FAULTS = [
    ("\tlineageTag", "    lineageTag"),
    ("\t\tdataType: int64", "\t\tdataType: integer"),
    ("\t\tdataType: int64", "\t\tdataKind: int64"),
    ("\t\tdataType: int64", "\t\tdataType: int64\n\t\tdataType: int64"),
    ("\t\tdataType: int64", "\t\t\tdataType: int64"),
    ("\t\tisHidden\n", "\t\tisHidden: yes\n"),
    ("\tcolumn risk_tier\n", "\tcolumn risk tier\n"),
    ("\tcolumn risk_tier\n", "\tcolumn risk_tier_key\n"),
    ("\tcolumn risk_tier\n", "\tfield risk_tier\n"),
    ("\tcolumn risk_tier\n", "\tcolumn risk_tier = 1\n"),
    ("table dim_risk_tier", "table 'dim_risk_tier"),
    ("\t\tlineageTag: ", "\t\tlineageTag: x"),
    ("\t\tsource =\n", "\t\tsource\n"),
    ("\t\t\t\tlet\n", "\t\tlet\n"),
    ("/// The tier as people read it.\n", "/// The tier as people read it.\n\n"),
    ("\n", "\r\n"),
]


@pytest.mark.parametrize(("right", "wrong"), FAULTS)
def test_the_reader_refuses_what_is_not_tmdl(texts: Mapping[str, str], right: str, wrong: str) -> None:
    text = texts["tables/dim_risk_tier.tmdl"]
    assert right in text
    with pytest.raises(TmdlError):
        tmdl_reader.read(text.replace(right, wrong, 1))
