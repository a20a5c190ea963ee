"""Publishing for all marts at once: what a polling reader sees, and what was built on a replaced night."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest
from clones import clone_warehouse, drop_warehouse
from copied_runs import copy_run
from polling_reader import Poller, contents
from psycopg import sql
from telco_nights import CUT_OFF, DAY, audit, build, customer, deliver, rows, scored_night

from churn_ml.errors import PublishingError, TransformationError
from churn_ml.publishing.fingerprints import (
    RUN_TIME_COLUMNS,
    current_marts,
    fingerprint_mart,
    marts_with_run_id,
    take_fingerprints,
)
from churn_ml.publishing.outdated import read_outdated_runs
from churn_ml.services.dbt_checks import sample_keys
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run

EARLIER_DAY, EARLIER_CUT_OFF = DAY - timedelta(days=30), CUT_OFF - timedelta(days=30)
PUBLICATIONS = 21


@dataclass
class Nights:
    """Two runs of one night, one of an earlier night, and one that was never audited."""

    settings: Settings
    earlier: Run
    first: Run
    second: Run
    unaudited: Run

    def publish(self, run: Run) -> None:
        act(self.settings, "select ops.publish_run(%s, 'test')", run)

    def unpublish(self, run: Run) -> None:
        act(self.settings, "select ops.unpublish_run(%s, 'test')", run)

    @property
    def published(self) -> set[str]:
        return {str(name) for (name,) in rows(self.settings, "select run_id from ops.published_runs")}


@pytest.fixture(scope="module")
def nights(server: Settings) -> Iterator[Nights]:
    settings = clone_warehouse(server)
    people = [customer(name, monthly_charges="33.33") for name in "abcde"]
    deliver(settings, *people)
    deliver(settings, *people[:4], as_of_date=EARLIER_DAY, known_at=EARLIER_CUT_OFF)
    earlier = scored_night(settings, dict.fromkeys("abcd", 0.2), EARLIER_CUT_OFF)
    first = scored_night(settings, dict.fromkeys("abcde", 0.5), tested=True)
    runs = [first, copy_run(settings, first, "second"), copy_run(settings, first, "unaudited")]
    for run in (earlier, *runs[:2]):
        audit(settings, run)
    yield Nights(settings, earlier, *runs)
    drop_warehouse(settings)


@pytest.fixture
def clean(nights: Nights) -> Iterator[Nights]:
    """The nights with nothing published, before and after."""
    yield nights
    for run in (nights.earlier, nights.first, nights.second):
        if run.run_id in nights.published:
            nights.unpublish(run)


def act(settings: Settings, statement: str, run: Run) -> None:
    with connect(settings, Role.PUBLISHER) as publisher:
        publisher.execute(statement, [run.run_id])


def built_on(settings: Settings, run: Run, base: Run, role: str = "previous") -> None:
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.run_bases (run_id, base_role, base_as_of_date, base_run_id)"
            " values (%s, %s, %s, %s)",
            [run.run_id, role, base.as_of_date, base.run_id],
        )


def make_poller(nights: Nights) -> Poller:
    audited = {run.run_id: run.as_of_date for run in (nights.earlier, nights.first, nights.second)}
    with connect(nights.settings, Role.AUDITOR) as auditor:
        marts = marts_with_run_id(auditor)
        return Poller(nights.settings, audited, marts, current_marts(auditor), contents(auditor, marts))


def test_polling_reader_sees_whole_audited_nights_only(clean: Nights) -> None:
    """Publishing, superseding and un-publishing in turn, until the reader has looked often enough."""
    poller = make_poller(clean)
    assert {"customer_churn_current", "retention_queue"} <= poller.current < set(poller.marts)
    filled = {mart for mart, run_id in poller.whole if run_id == clean.second.run_id}
    assert len(filled) >= 8, "most marts must have rows, or the poll proves little"
    thread = threading.Thread(target=poller.run)
    thread.start()
    try:
        count = 0
        while thread.is_alive() and (count < PUBLICATIONS or sum(poller.seen.values()) < PUBLICATIONS):
            for run in (clean.earlier, clean.first, clean.second):
                clean.publish(run)
            clean.unpublish(clean.second)
            clean.unpublish(clean.earlier)
            count += 3
    finally:
        poller.stopping.set()
        thread.join()
    assert poller.wrong == []
    assert count >= PUBLICATIONS <= sum(poller.seen.values())
    allowed = [set(), {clean.earlier}, {clean.earlier, clean.first}, {clean.earlier, clean.second}]
    assert set(poller.seen) <= {frozenset(run.run_id for run in state) for state in allowed}  # type: ignore[attr-defined]
    assert len(poller.seen) >= 2


def test_every_state_between_is_told_by_all_marts_alike(clean: Nights) -> None:
    poller = make_poller(clean)
    with connect(clean.settings, Role.READER, autocommit=True) as reader:
        poller.poll(reader)
        for run in (clean.first, clean.earlier, clean.second):
            clean.publish(run)
            poller.poll(reader)
        clean.unpublish(clean.second)
        poller.poll(reader)
    assert poller.wrong == []
    expected = [
        [],
        [clean.first],
        [clean.first, clean.earlier],
        [clean.second, clean.earlier],
        [clean.earlier],
    ]
    assert set(poller.seen) == {frozenset(run.run_id for run in state) for state in expected}


@pytest.mark.parametrize("mart", ["fct_churn_score", "customer_churn_current", "risk_distribution_daily"])
@pytest.mark.parametrize("condition", ["true", "false"])
def test_poller_notices_a_mart_that_follows_another_rule(clean: Nights, mart: str, condition: str) -> None:
    """A mart that shows unaudited rows, or lags behind the others, must not go unseen."""
    poller = make_poller(clean)
    clean.publish(clean.first)
    policy = sql.SQL("alter policy published_runs on {} using ({})")
    table = sql.Identifier("marts", mart)
    [(former,)] = rows(
        clean.settings,
        "select pg_get_expr(polqual, polrelid) from pg_policy"
        " where polrelid = %s::regclass and polname = 'published_runs'",
        [f"marts.{mart}"],
    )
    try:
        with connect(clean.settings, Role.TRANSFORMER) as transformer:
            transformer.execute(policy.format(table, sql.SQL(condition)))
        with connect(clean.settings, Role.READER, autocommit=True) as reader:
            poller.poll(reader)
    finally:
        with connect(clean.settings, Role.TRANSFORMER) as transformer:
            transformer.execute(policy.format(table, sql.SQL(str(former))))
    assert [told for told in poller.wrong if told.startswith((mart, "shown"))]


def test_publication_is_one_row_whatever_the_number_of_marts(clean: Nights) -> None:
    before = rows(clean.settings, "select count(*) from ops.publications")[0][0]
    clean.publish(clean.first)
    assert rows(clean.settings, "select run_id from ops.published_runs") == [(clean.first.run_id,)]
    assert rows(clean.settings, "select count(*) from ops.publications") == [(int(str(before)) + 1,)]


def test_hash_sees_a_changed_a_missing_and_a_doubled_row_in_any_order(clean: Nights) -> None:
    with connect(clean.settings, Role.OWNER) as owner:
        owner.execute("create table marts.hashed (run_id text, name text, amount numeric)")

        def hash_of(*values: tuple[str, int]) -> tuple[int, str]:
            owner.execute("truncate marts.hashed")
            owner.cursor().executemany("insert into marts.hashed values ('r', %s, %s)", values)
            found = fingerprint_mart(owner, "hashed", "r")
            return found.row_count, found.rows_md5

        same = hash_of(("a", 1), ("b", 2))
        assert hash_of(("b", 2), ("a", 1)) == same
        others = [
            hash_of(("a", 1)),
            hash_of(("a", 2), ("b", 1)),
            hash_of(("a", 1), ("b", 2), ("b", 2)),
            hash_of(),
        ]
        assert len({same[1], *(rows_md5 for _, rows_md5 in others)}) == 5
        owner.rollback()


def test_hashes_are_of_what_bi_sees_and_of_every_mart(clean: Nights) -> None:
    clean.publish(clean.first)
    clean.publish(clean.earlier)
    newest = {item.mart: item.row_count for item in take_fingerprints(clean.settings, clean.first.run_id)}
    older = {item.mart: item.row_count for item in take_fingerprints(clean.settings, clean.earlier.run_id)}
    with connect(clean.settings, Role.READER) as reader:
        assert newest.keys() == set(marts_with_run_id(reader))
        assert newest.keys() - older.keys() == current_marts(reader)
    assert newest["fct_churn_score"] == 5
    with pytest.raises(PublishingError, match="superseded or un-published"):
        take_fingerprints(clean.settings, clean.second.run_id)


def test_run_time_columns_are_in_the_marts(clean: Nights) -> None:
    found = rows(
        clean.settings,
        "select distinct column_name from information_schema.columns where table_schema = 'marts'",
    )
    assert {name for (name,) in found} >= RUN_TIME_COLUMNS - {"published_at"}


def test_night_built_on_a_replaced_one_is_named_with_the_command(clean: Nights) -> None:
    clean.publish(clean.first)
    clean.publish(clean.earlier)
    bases = [str(base) for (base,) in rows(clean.settings, "select base_run_id from ops.run_bases")]
    assert bases == [], "nights that were scored by hand chose no bases"
    built_on(clean.settings, clean.first, clean.earlier)
    built_on(clean.settings, clean.first, clean.earlier, "recent")
    assert read_outdated_runs(clean.settings) == ()
    clean.unpublish(clean.earlier)
    [outdated] = read_outdated_runs(clean.settings)
    assert (outdated.run_id, outdated.as_of_date) == (clean.first.run_id, DAY)
    assert (outdated.base_run_id, outdated.base_as_of_date) == (clean.earlier.run_id, EARLIER_DAY)
    assert (outdated.base_roles, outdated.standing_run_id) == ("previous, recent", None)
    assert outdated.command == f"churn-ml night --as-of {DAY}"
    assert read_outdated_runs(clean.settings, DAY) == ()
    clean.publish(clean.earlier)
    assert read_outdated_runs(clean.settings) == ()


def test_base_replaced_by_equal_rows_asks_for_nothing(clean: Nights) -> None:
    """By hash: the night of the base is shown as another run that knows more and says the same."""
    with connect(clean.settings, Role.OWNER) as owner:
        owner.execute("delete from ops.run_bases")
        owner.execute(
            "insert into ops.run_bases values (%s, 'previous', %s, %s)",
            [clean.earlier.run_id, DAY, clean.first.run_id],
        )
    for run in (clean.earlier, clean.first):
        clean.publish(run)
        take_fingerprints(clean.settings, run.run_id)
    clean.publish(clean.second)
    [unknown] = read_outdated_runs(clean.settings)
    assert (unknown.is_different, unknown.standing_run_id) == (True, clean.second.run_id)
    assert unknown.command == f"churn-ml restate --as-of {EARLIER_DAY} --publish", "the base knows more"
    take_fingerprints(clean.settings, clean.second.run_id)
    assert read_outdated_runs(clean.settings) == ()
    assert [night.is_different for night in read_outdated_runs(clean.settings, with_equal=True)] == [False]
    with connect(clean.settings, Role.OWNER) as owner:
        owner.execute("update ops.publication_fingerprints set rows_md5 = 'other' where run_id = 'second'"
                      " and mart = 'fct_churn_score'")  # fmt: skip
    assert [night.is_different for night in read_outdated_runs(clean.settings)] == [True]
    with connect(clean.settings, Role.OWNER) as owner:
        owner.execute("delete from ops.publication_fingerprints")
        owner.execute("delete from ops.run_bases")


def test_failed_night_leaves_yesterday_visible_and_says_so(clean: Nights) -> None:
    clean.publish(clean.earlier)
    with connect(clean.settings, Role.OWNER) as owner:
        owner.execute("update ops.pipeline_runs set status = 'failed', started_at = clock_timestamp()"
                      " where run_id = %s", [clean.unaudited.run_id])  # fmt: skip
    statement = (
        "select run_id, age_days = expected_as_of_date - last_as_of_date, last_attempt_as_of_date,"
        " last_attempt_status, failed_since_count from marts.warehouse_freshness"
    )
    freshness = rows(clean.settings, statement, role=Role.READER)
    assert freshness == [(clean.earlier.run_id, True, DAY, "failed", 1)]
    clean.publish(clean.first)
    [(run_id, *_, failed)] = rows(clean.settings, statement, role=Role.READER)
    assert (run_id, failed) == (clean.first.run_id, 0)


def test_dbts_tests_are_rows_beside_the_gates_and_audit_nothing(clean: Nights) -> None:
    run = [clean.first.run_id]
    tested = rows(
        clean.settings,
        "select layer, node_name from ops.dbt_results where run_id = %s and resource_type = 'test'",
        run, Role.OWNER,
    )  # fmt: skip
    found = rows(
        clean.settings,
        "select suite, check_name, gate, verdict, failing_count, severity in ('block', 'warn'),"
        " table_name <> '', sample_keys, owner, threshold from ops.validation_results"
        " where run_id = %s and tool = 'dbt'",
        run,
    )
    assert sorted(row[:2] for row in found) == sorted(tested) != []
    told = (None, "pass", 0, True, True, None, "data-platform", "fails if != 0")
    assert {row[2:] for row in found} == {told}
    with connect(clean.settings, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.validation_results (run_id, tool, suite, check_name, table_name, severity,"
            " verdict, expected, owner, reason)"
            " values (%s, 'dbt', 'marts', 'by hand', '', 'block', 'pass', '', '', '')",
            [clean.unaudited.run_id],
        )
    with pytest.raises(psycopg.errors.RaiseException, match="has no results of the marts gate"):
        clean.publish(clean.unaudited)


def test_failed_dbt_test_is_a_row_that_names_what_failed(clean: Nights) -> None:
    with connect(clean.settings, Role.OWNER) as owner:
        owner.execute(
            "delete from scores.customer_scores where run_id = %s and customer_id = 'e'",
            [clean.unaudited.run_id],
        )
    with pytest.raises(TransformationError, match="marts_add_up"):
        build(clean.settings, clean.unaudited, "marts", tested=True)
    failed = rows(
        clean.settings,
        "select check_name, suite, severity, verdict, observed, failing_count,"
        " position('fct_churn_score' in table_name) > 0 from ops.validation_results"
        " where run_id = %s and verdict <> 'pass'",
        [clean.unaudited.run_id],
    )
    assert ("marts_add_up", "marts", "block", "fail", "1 rows fail", 1, True) in failed


def test_keys_of_failing_rows_are_those_of_customers_and_runs_only(clean: Nights) -> None:
    failing = (
        "select scores.contract, customer_id, run_id from marts.fct_churn_score as scores\n"
        "join features.customer_features using (customer_id)\n"
        "where run_id = current_setting('churn.run_id') order by customer_id -- all of them"
    )
    session = {"churn.run_id": clean.first.run_id}
    with connect(clean.settings, Role.TRANSFORMER, autocommit=True) as transformer:
        keys = sample_keys(transformer, session, failing)
        assert str(keys).split("; ")[0] == f"customer_id a, run_id {clean.first.run_id}"
        many = sample_keys(
            transformer, session, "select number as customer_id from generate_series(1, 99) as number"
        )
        assert len(str(many).split("; ")) == 20
        for query in (
            "select count(*) as fault_count",
            "select contract from nowhere",
            "select 1 / 0 as customer_id",
        ):
            assert sample_keys(transformer, session, query) is None
        assert transformer.execute("select 1").fetchone() == (1,)


def test_discarded_run_leaves_no_row_and_no_base_and_every_dimension(clean: Nights) -> None:
    run = clean.unaudited
    built_on(clean.settings, run, clean.earlier)
    with connect(clean.settings, Role.SCORER) as scorer:
        scorer.execute(
            "insert into scores.model_change_scores values (%s, 'a', %s, 'model-1', 0.5, clock_timestamp())",
            [run.run_id, clean.earlier.run_id],
        )
    keyed = "select count(*) from marts.dim_customer"
    before = rows(clean.settings, keyed)
    act(clean.settings, "select ops.discard_run(%s)", run)
    for table in ("ops.run_bases", "scores.model_change_scores", "scores.customer_scores"):
        assert rows(clean.settings, f"select from {table} where run_id = %s", [run.run_id], Role.OWNER) == []
    with connect(clean.settings, Role.AUDITOR) as auditor:
        for mart in marts_with_run_id(auditor):
            assert fingerprint_mart(auditor, mart, run.run_id).row_count == 0
    assert rows(clean.settings, keyed) == before
    with pytest.raises(psycopg.errors.RaiseException, match="audit it before"):
        clean.publish(run)
