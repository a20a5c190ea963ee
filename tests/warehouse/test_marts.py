"""The marts as BI meets them: published runs only, keys, comments, and money that adds up."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from clones import clone_warehouse, drop_warehouse
from telco_nights import CUT_OFF, DAY, audit, build, customer, deliver, publish, rows, score, scored_night

from churn_ml.errors import TransformationError
from churn_ml.services.dbt import run_dbt
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import Run, open_run

TABLES = ["dim_scoring_run", "fct_churn_score", "customer_churn_current", "revenue_at_risk_daily"]
RUN_TIME_COLUMNS = {"run_id", "scoring_run_key", "scored_at", "scored_date", "built_at", "built_date"}
PROBABILITIES = {"low": 0.399999, "medium": 0.4, "still medium": 0.699999, "high": 0.7, "sure": 1.0}


@pytest.fixture(scope="module")
def nights(server: Settings) -> Iterator[tuple[Settings, list[Run]]]:
    """Two runs of one night and one of an earlier day; the first of the night is published."""
    settings = clone_warehouse(server)
    people = [customer(name, monthly_charges="33.33") for name in PROBABILITIES]
    people += [customer("gone", churn="Yes"), customer("wrong", tenure="ten", internet_service="Fiber optic")]
    deliver(settings, *people)
    earlier = CUT_OFF - timedelta(days=30)
    deliver(settings, *people[:4], as_of_date=DAY - timedelta(days=30), known_at=earlier)
    four = {name: PROBABILITIES[name] for name in list(PROBABILITIES)[:4]}
    runs = [scored_night(settings, four, earlier)]
    runs += [scored_night(settings, PROBABILITIES, tested=True), open_run(settings, "night", CUT_OFF)]
    score(settings, runs[2], PROBABILITIES)
    build(settings, runs[2], "marts")
    assert rows(settings, "select from marts.fct_churn_score", role=Role.READER) == []
    publish(settings, runs[0])
    publish(settings, runs[1])
    yield settings, runs
    drop_warehouse(settings)


@pytest.fixture(scope="module")
def scored_template(server: Settings) -> Iterator[tuple[Settings, Run]]:
    """A night of one customer with its marts, not published."""
    settings = clone_warehouse(server)
    deliver(settings, customer("a"))
    yield settings, scored_night(settings, {"a": 0.5})
    drop_warehouse(settings)


@pytest.fixture
def scored(scored_template: tuple[Settings, Run]) -> Iterator[tuple[Settings, Run]]:
    """The same in a warehouse of the test's own."""
    settings = clone_warehouse(scored_template[0])
    yield settings, scored_template[1]
    drop_warehouse(settings)


def columns_of(settings: Settings, table: str) -> list[str]:
    found = rows(
        settings,
        "select column_name from information_schema.columns where table_schema = 'marts' and table_name = %s"
        " order by ordinal_position",
        [table],
    )
    return [str(name) for (name,) in found]


def contents(settings: Settings, table: str, run: Run) -> list[tuple[object, ...]]:
    columns = [name for name in columns_of(settings, table) if name not in RUN_TIME_COLUMNS]
    found = rows(settings, f"select {', '.join(columns)} from marts.{table} where run_id = %s", [run.run_id])
    return sorted(found, key=repr)


@pytest.mark.parametrize("table", [*TABLES, "warehouse_freshness"])
def test_reader_sees_published_runs_only(nights: tuple[Settings, list[Run]], table: str) -> None:
    settings, runs = nights
    latest_only = table in ("customer_churn_current", "warehouse_freshness")
    expected = {runs[1].run_id} if latest_only else {runs[0].run_id, runs[1].run_id}
    found = rows(settings, f"select distinct run_id from marts.{table}", role=Role.READER)
    assert {str(run_id) for (run_id,) in found} == expected


def test_reader_sees_nothing_before_the_first_publication(scored: tuple[Settings, Run]) -> None:
    settings, run = scored
    for table in TABLES:
        assert rows(settings, f"select from marts.{table}", role=Role.READER) == []
    freshness = rows(settings, "select run_id, is_stale from marts.warehouse_freshness", role=Role.READER)
    assert freshness == [(None, True)]
    publish(settings, run)
    for table in TABLES:
        assert len(rows(settings, f"select from marts.{table}", role=Role.READER)) == 1


@pytest.mark.parametrize("table", TABLES)
def test_two_runs_of_one_night_are_equal_save_for_run_time(
    nights: tuple[Settings, list[Run]], table: str
) -> None:
    settings, runs = nights
    assert contents(settings, table, runs[1]) == contents(settings, table, runs[2]) != []


def test_tiers_change_exactly_at_their_limits(nights: tuple[Settings, list[Run]]) -> None:
    settings, _ = nights
    found = rows(
        settings, "select customer_id, risk_tier from marts.customer_churn_current", role=Role.READER
    )
    assert dict(found) == {
        "low": "low",
        "medium": "medium",
        "still medium": "medium",
        "high": "high",
        "sure": "high",
        "wrong": None,
    }


def test_everyone_of_the_snapshot_is_in_the_history_with_a_score_or_a_reason(
    nights: tuple[Settings, list[Run]],
) -> None:
    settings, runs = nights
    found = rows(
        settings,
        "select customer_id, exclusion_reason from marts.fct_churn_score"
        " where run_id = %s and churn_probability is null order by 1",
        [runs[1].run_id],
        Role.READER,
    )
    assert found == [("gone", "not_active"), ("wrong", "rejected_value")]
    assert len(contents(settings, "fct_churn_score", runs[1])) == 7


def test_money_is_the_same_in_every_mart(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    run = [runs[1].run_id]
    [facts] = rows(
        settings,
        "select count(*), sum(value_at_risk_amount), sum(expected_revenue_loss_amount)"
        " from marts.fct_churn_score where run_id = %s and churn_probability is not null",
        run,
    )
    [daily] = rows(
        settings,
        "select sum(customer_count), sum(revenue_at_risk_amount), sum(expected_revenue_loss_amount)"
        " from marts.revenue_at_risk_daily where run_id = %s",
        run,
    )
    [current] = rows(
        settings,
        "select count(churn_probability), sum(value_at_risk_amount) filter (where is_eligible),"
        " sum(expected_revenue_loss_amount) from marts.customer_churn_current",
        role=Role.READER,
    )
    [groups] = rows(
        settings,
        "select sum(customer_count), sum(revenue_at_risk_amount), sum(expected_revenue_loss_amount)"
        " from marts.risk_by_group_daily where run_id = %s",
        run,
    )
    assert facts == daily == groups == current
    assert str(facts[1]) == "1999.80"


def test_groups_hold_the_scored_customers(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    found = rows(
        settings,
        "select segment, region, contract, tenure_group, tenure_group_sort, customer_count,"
        " valued_customer_count, expected_churned_count from marts.risk_by_group_daily where run_id = %s",
        [runs[1].run_id],
    )
    expected = pytest.approx(sum(PROBABILITIES.values()), abs=1e-6)
    assert found == [("dsl", "not_stated", "month_to_month", "up_to_12_months", 1, 5, 5, expected)]


def test_lifetimes_of_a_snapshot_are_its_tenures(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    found = rows(
        settings,
        "select contract, at_risk_count, ended_count, survival_share from marts.customer_survival"
        " where run_id = %s and lifetime_months in (0, 10) order by contract, lifetime_months",
        [runs[1].run_id],
    )
    assert found == [
        (contract, *point)
        for contract in ("all", "month_to_month")
        for point in ((6, 0, 1), (6, 1, 0.833333))
    ]
    assert rows(settings, "select from marts.cohort_retention") == []


def test_reader_sees_checks_and_costs_of_published_runs_only(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        for run in runs:
            admin.execute(
                "insert into ops.validation_results (run_id, gate, suite, check_name, table_name, severity,"
                " verdict, observed, expected, owner, reason) values"
                " (%s, 'raw', 'raw_telco', 'seen', 'raw.customers', 'warn', 'fail', 'Ann', 'a', 'b', 'c')",
                [run.run_id],
            )
            admin.execute(
                "insert into ops.task_measurements (run_id, task_id, verdict, started_at, finished_at,"
                " seconds, cpu_seconds, peak_memory_mb, is_peak_of_process, rows_out)"
                " values (%s, 'score', 'succeeded', now(), now(), 1, 1, 1, true, 7)",
                [run.run_id],
            )
        checks, costs = (
            "select run_id, scoring_run_key, as_of_date, verdict, observed from marts.run_checks"
            " where check_name = 'seen' order by check_number",
            "select run_id, scoring_run_key, as_of_date, seconds, rows_out, customer_count"
            " from marts.run_costs order by cost_number",
        )
        admin.execute("set local role bi_reader")
        seen = admin.execute(checks).fetchall(), admin.execute(costs).fetchall()
        admin.rollback()
    shown = [(run.run_id, number, run.as_of_date) for number, run in enumerate(runs[:2], start=1)]
    assert seen[0] == [(*run, "fail", None) for run in shown]
    assert seen[1] == [(*run, 1.0, 7, 7) for run in shown]


def test_every_mart_with_a_run_is_under_row_level_security(nights: tuple[Settings, list[Run]]) -> None:
    settings, _ = nights
    open_tables = rows(
        settings,
        "select relname from pg_class where relnamespace = 'marts'::regnamespace and relkind in ('r', 'p')"
        " and not (relrowsecurity and exists (select from pg_policy where polrelid = pg_class.oid))"
        " and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'run_id')",
    )
    assert open_tables == []


def test_freshness_ages_by_the_clock(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    [found] = rows(
        settings,
        "select last_as_of_date, last_known_as_of, age_days = expected_as_of_date - last_as_of_date,"
        " is_stale = (age_days > 35) from marts.warehouse_freshness",
        role=Role.READER,
    )
    assert found == (runs[1].as_of_date, runs[1].known_as_of, True, True)


def test_rebuilt_marts_of_a_run_are_the_same(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    before = [contents(settings, table, runs[2]) for table in TABLES]
    build(settings, runs[2], "marts")
    assert [contents(settings, table, runs[2]) for table in TABLES] == before


def everything(settings: Settings, table: str, run: Run) -> list[tuple[object, ...]]:
    return rows(settings, f"select * from marts.{table} where run_id = %s order by 1, 2", [run.run_id])


@pytest.mark.parametrize("table", TABLES)
def test_no_mart_of_a_published_run_is_built_again(nights: tuple[Settings, list[Run]], table: str) -> None:
    settings, runs = nights
    before = everything(settings, table, runs[1])
    with pytest.raises(TransformationError, match="dbt run"):
        run_dbt(settings, ["run", "--select", table, "--quiet"], runs[1].run_id)
    assert everything(settings, table, runs[1]) == before != []


def test_marts_layer_of_a_published_run_is_refused_by_name(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    with pytest.raises(TransformationError, match=rf"run {runs[0].run_id} was published: its marts stay"):
        build(settings, runs[0], "marts")


def test_run_whose_mart_was_built_after_its_audit_is_not_published(scored: tuple[Settings, Run]) -> None:
    settings, run = scored
    for table in TABLES:
        audit(settings, run)
        run_dbt(settings, ["run", "--select", table, "--quiet"], run.run_id)
        with (
            connect(settings, Role.PUBLISHER) as publisher,
            pytest.raises(psycopg.errors.RaiseException, match="audit it before"),
        ):
            publisher.execute("select ops.publish_run(%s, 'test')", [run.run_id])
    publish(settings, run)
    for table in TABLES:
        assert len(rows(settings, f"select from marts.{table}", role=Role.READER)) == 1


def test_marts_can_be_built_after_another_run_built_staging(scored: tuple[Settings, Run]) -> None:
    settings, night = scored
    before = contents(settings, "fct_churn_score", night)
    build(settings, open_run(settings, "training", CUT_OFF - timedelta(hours=1)), "staging")
    build(settings, night, "marts")
    assert contents(settings, "fct_churn_score", night) == before
    assert len(before) == 1


def test_current_mart_keeps_the_declared_number_of_runs_and_all_published(
    scored: tuple[Settings, Run],
) -> None:
    settings, run = scored
    publish(settings, run)
    with connect(settings, Role.TRANSFORMER) as transformer:
        for _ in range(8):
            other = open_run(settings, "night", CUT_OFF).run_id
            for table in ("dim_scoring_run", "customer_churn_current"):
                keys = ("run_id", "scoring_run_key")
                columns = ", ".join(
                    f"built.{name}" for name in columns_of(settings, table) if name not in keys
                )
                transformer.execute(
                    f"insert into marts.{table} (run_id, scoring_run_key, {columns.replace('built.', '')})"
                    f" select runs.run_id, runs.run_number, {columns} from marts.{table} as built"
                    " join ops.pipeline_runs as runs on runs.run_id = %s where built.run_id = %s",
                    [other, run.run_id],
                )
    newest = open_run(settings, "night", CUT_OFF)
    score(settings, newest, {"a": 0.5})
    run_dbt(settings, ["run", "--select", "+customer_churn_current,path:models/marts"], newest.run_id)
    found = rows(settings, "select run_id from marts.customer_churn_current")
    assert len(found) == 2 + 5
    assert {run.run_id, newest.run_id} <= {str(run_id) for (run_id,) in found}


def test_eligible_customer_without_a_score_stops_the_night(scored: tuple[Settings, Run]) -> None:
    settings, run = scored
    with connect(settings, Role.OWNER) as owner:
        owner.execute("delete from scores.customer_scores where run_id = %s", [run.run_id])
    with pytest.raises(TransformationError, match="marts_add_up"):
        build(settings, run, "marts", tested=True)


def test_discarded_run_leaves_no_row(scored: tuple[Settings, Run]) -> None:
    settings, run = scored
    with connect(settings, Role.PUBLISHER) as publisher:
        publisher.execute("select ops.discard_run(%s)", [run.run_id])
    for table in TABLES:
        assert rows(settings, f"select from marts.{table}") == []
