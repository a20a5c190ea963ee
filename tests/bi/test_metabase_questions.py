"""Every question of ``bi/metabase/`` runs as bi_reader on published marts, with and without its filters."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from metabase_server import Metabase, serving
from metabase_sql import Value, resolved
from published_marts import Marts

from churn_ml.bi.metabase import load_metabase
from churn_ml.bi.metabase_api import Patience
from churn_ml.bi.metabase_checks import read_representation
from churn_ml.bi.metabase_files import Card
from churn_ml.warehouse.connection import Role, connect

REPRESENTATION = read_representation(Path(__file__).parents[2] / "bi" / "metabase")
QUESTIONS = {REPRESENTATION.files[key].stem: card for key, card in REPRESENTATION.cards.items()}
# What this warehouse has nothing of: dated outcomes, cohorts, movements, nights that a DAG ran.
EMPTY = {
    "calibration", "checks_not_passed", "cohort_sizes", "customer_bridge", "expected_against_realised",
    "lead_time", "lift_by_tenth", "model_quality", "mrr_bridge", "observed_by_expected", "reasons_of_risk",
    "observed_churn_by_segment", "retention_by_cohort", "risk_risers", "rows_by_task", "task_costs",
}  # fmt: skip
NAMES_OF_COLUMNS = (
    "graph.dimensions", "graph.metrics", "scalar.field", "sankey.source", "sankey.target", "sankey.value",
    "table.pivot_column", "table.cell_column",
)  # fmt: skip
MOVEMENTS = """
update marts.churn_kpis_daily
set mrr_opening_amount = 100, mrr_restatement_amount = -1, mrr_currency_amount = 2, mrr_new_amount = 20,
    mrr_reactivation_amount = 5, mrr_expansion_amount = 10, mrr_contraction_amount = -3,
    mrr_churn_amount = -12, mrr_closing_amount = 121,
    customer_opening_count = 10, customer_restatement_count = 1,
    customer_new_count = 4, customer_reactivated_count = 2, customer_lost_count = 3,
    customer_closing_count = 14
where as_of_date = (select max(as_of_date) from marts.churn_kpis_daily)
"""
INFORMATION = """
select columns.table_name, columns.column_name
from information_schema.columns
where columns.table_schema = any(%s)
"""


@pytest.fixture(scope="module")
def asking(marts: Marts) -> Iterator[psycopg.Connection]:
    with connect(marts.settings, Role.READER, autocommit=True) as connection:
        yield connection


def columns_named(card: Card) -> set[str]:
    """Return the columns that the question's settings speak of."""
    settings = card.visualization_settings
    named: set[str] = {json.loads(key)[1] for key in settings["column_settings"]}
    for key in NAMES_OF_COLUMNS:
        value = settings.get(key, [])
        named |= {value} if isinstance(value, str) else set(value)
    for rule in settings.get("table.column_formatting", []):
        named |= set(rule["columns"])
    return named | {one["name"] for one in settings.get("table.columns", [])}


def some_values(card: Card, asking: psycopg.Connection, *, empty: bool = False) -> dict[str, Value]:
    """Return a value for each filter: such as there are, or such as nothing has."""
    values: dict[str, Value] = {}
    for tag in card.tags:
        if tag.field is None:
            values[tag.name] = "2020-01-01" if empty else "2026-12-31"
        else:
            table, column = tag.field
            found = asking.execute(f"select distinct {column} from marts.{table} order by 1").fetchall()
            values[tag.name] = "it's none" if empty else [str(row[0]) for row in found] or ["none"]
    return values


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_runs_with_and_without_filters(asking: psycopg.Connection, name: str) -> None:
    card = QUESTIONS[name]
    unfiltered = asking.execute(resolved(card, {}))
    assert unfiltered.description is not None
    columns = [column.name for column in unfiltered.description]
    assert len(columns) == len(set(columns))
    assert columns_named(card) == set(columns), "each column has a title, and each named column is there"
    rows = unfiltered.fetchall()
    assert bool(rows) == (name not in EMPTY)
    assert asking.execute(resolved(card, some_values(card, asking))).fetchall() == rows
    for tag in card.tags:
        alone = {tag.name: some_values(card, asking, empty=True)[tag.name]}
        assert asking.execute(resolved(card, alone)).fetchall() == [], f"{tag.name} filters nothing"


def test_question_shows_the_newest_night_and_an_earlier_one_when_asked(asking: psycopg.Connection) -> None:
    night = QUESTIONS["night_shown"]
    days = [row[0] for row in asking.execute("select as_of_date from marts.dim_scoring_run order by 1")]
    assert len(days) == 2
    assert asking.execute(resolved(night, {})).fetchall()[0][0] == days[1]
    assert asking.execute(resolved(night, {"as_of_date": str(days[0])})).fetchall()[0][0] == days[0]
    between = asking.execute(resolved(night, {"as_of_date": "2026-10-15"})).fetchall()
    assert between[0][0] == max(day for day in days if str(day) <= "2026-10-15")


def test_questions_tell_the_numbers_of_the_marts(asking: psycopg.Connection) -> None:
    tiers = asking.execute(resolved(QUESTIONS["revenue_at_risk_by_tier"], {})).fetchall()
    wanted = asking.execute(
        "select risk_tier, sum(revenue_at_risk_amount), sum(expected_revenue_loss_amount) "
        "from marts.revenue_at_risk_daily "
        "where as_of_date = (select max(as_of_date) from marts.dim_scoring_run) "
        "group by risk_tier, risk_tier_sort order by risk_tier_sort"
    ).fetchall()
    assert tiers == wanted
    sizes = asking.execute(resolved(QUESTIONS["active_customers"], {})).fetchall()
    assert (
        sizes
        == asking.execute(
            "select as_of_date, customer_closing_count from marts.churn_kpis_daily order by as_of_date"
        ).fetchall()
    )


def test_bridges_lead_from_opening_to_closing(damaged: psycopg.Connection) -> None:
    """The last bar, which Metabase adds up itself, is what the mart calls closing."""
    damaged.execute(MOVEMENTS)
    damaged.execute("set local role bi_reader")
    money = damaged.execute(resolved(QUESTIONS["mrr_bridge"], {})).fetchall()
    assert [int(amount) for _, amount in money] == [100, -1, 2, 20, 5, 10, -3, -12]
    assert [title for title, _ in money][:2] == ["MRR at opening", "MRR restated"]
    people = damaged.execute(resolved(QUESTIONS["customer_bridge"], {})).fetchall()
    assert [count for _, count in people] == [10, 1, 4, 2, -3]
    closing = damaged.execute(
        "select mrr_closing_amount, customer_closing_count from marts.churn_kpis_daily"
    ).fetchall()
    assert (sum(amount for _, amount in money), sum(count for _, count in people)) in closing


def test_loader_connects_to_the_real_warehouse_and_finds_its_columns(marts: Marts) -> None:
    """The details that are sent open a connection, and the schema filter shows what the filters offer."""

    def columns_of(details: dict[str, Any]) -> set[tuple[str, str]]:
        names = {"host": "host", "port": "port", "dbname": "dbname", "user": "user", "password": "password"}
        try:
            with psycopg.connect(**{key: details[name] for key, name in names.items()}) as connection:
                schemas = details["schema-filters-patterns"].split(",")
                return {(table, column) for table, column in connection.execute(INFORMATION, [schemas])}
        except psycopg.OperationalError as error:
            raise ConnectionError(str(error)) from None

    account = {"metabase_email": "ada@example.com", "metabase_password": "a-long-one-7"}
    with serving(Metabase(columns_of)) as metabase:
        settings = marts.settings.model_copy(update={"metabase_url": metabase.address})
        settings = type(settings)(_env_file=None, **{**settings.model_dump(exclude_none=True), **account})
        loaded = load_metabase(settings, Patience(limit=60, pause=0.01))
        assert len(loaded.created) == 1 + len(REPRESENTATION.files)
        (database,) = metabase.databases.values()
        assert database["details"]["user"] == "bi_reader"
