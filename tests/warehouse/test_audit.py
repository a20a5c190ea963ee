"""Every proof holds on the models as they are, and each fails where a model breaks its promise."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest
from clones import clone_warehouse, drop_warehouse
from subscription_deliveries import at, change, contact, deliver_day, deliver_world, invoice, restated

from churn_ml.audit.comparison import Difference
from churn_ml.audit.disturbances import empty_raw
from churn_ml.audit.edges import find_misplaced_edges, read_span
from churn_ml.audit.population import find_wrong_customers
from churn_ml.audit.proofs import PROOFS, Bench, open_bench, prove
from churn_ml.landing.delivery import land_path
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role

NEWEST = date(2026, 10, 31)
NIGHT = NEWEST - timedelta(days=7)
CUSTOMERS = 20


@pytest.fixture(scope="module")
def landed(subscriptions_server: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A little world's first load; its last delivery brings a late contact, end and restated invoice."""
    inbox = tmp_path_factory.mktemp("audited")
    settings = clone_warehouse(subscriptions_server).model_copy(update={"inbox_dir": inbox})
    deliver_world(settings.inbox, [date(2026, 9, 30), NIGHT, NEWEST])
    late = at(date(2026, 10, 20))
    deliver_day(
        settings.inbox,
        NEWEST + timedelta(days=1),
        contacts=[contact("late", "C00000001", late)],
        subscriptions=[change("late", "C00000002", late, change_type="end_voluntary")],
        invoices=[restated(invoice("I3-5", "C00000003", at(date(2026, 9, 6), "06:00:00")), amount="90.00")],
    )
    land_path(settings, settings.inbox, first_load=True)
    yield settings
    drop_warehouse(settings)


@pytest.fixture(scope="module")
def bench(landed: Settings) -> Iterator[Bench]:
    with open_bench(landed, customers=CUSTOMERS, as_of_date=NEWEST) as opened:
        yield opened


@contextmanager
def bench_with(landed: Settings, folder: Path, changes: dict[str, dict[str, str]]) -> Iterator[Bench]:
    """Open a bench on a copy of the project in which each macro file has one text in another's place."""
    for room in ("datasets", "dbt_project"):
        shutil.copytree(landed.project_dir / room, folder / room)
    for name, replacements in changes.items():
        path = folder / "dbt_project" / "macros" / name
        content = path.read_text(encoding="utf-8")
        for text, other in replacements.items():
            assert text in content, f"{name} no longer holds {text!r}: give this test a new fault"
            content = content.replace(text, other)
        path.write_text(content, encoding="utf-8")
    settings = landed.model_copy(update={"project_dir": folder})
    with open_bench(settings, customers=CUSTOMERS, as_of_date=NEWEST) as opened:
        yield opened


@pytest.fixture(scope="module")
def leaky(landed: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Models that forget when a row became known, close the day's interval, let the first batch win a tie."""
    forgetful = {
        "is_visible.sql": {
            "and known_at <= {{ known_as_of_constant() }}": "",
            "and event_at < {{ start_of_day(1) }}": "and event_at <= {{ start_of_day(1) }}",
        },
        "versions.sql": {"order by known_at, row_hash, batch_id": "order by known_at, batch_id"},
    }
    with bench_with(landed, tmp_path_factory.mktemp("leaky"), forgetful) as opened:
        yield opened


@pytest.mark.parametrize("name", PROOFS)
def test_proof_holds(bench: Bench, name: str) -> None:
    proof = prove(bench, name)
    assert proof.passed, f"{proof.checked}: {proof.differences}"


@pytest.mark.parametrize("name", ["truncation", "future_shock", "late_arrival", "shuffled_arrival"])
def test_proof_names_the_rows_of_a_leak(leaky: Bench, name: str) -> None:
    proof = prove(leaky, name)
    assert not proof.passed
    assert 0 < len(proof.differences) <= 10
    assert all(difference.then != difference.now for difference in proof.differences)
    if name == "truncation":
        assert "C00000001" in {difference.customer_id for difference in proof.differences}


def test_closed_interval_puts_the_next_day_on_the_wrong_side(leaky: Bench) -> None:
    with leaky.begin_anew() as owner:
        empty_raw(owner, leaky.dataset)
    with leaky.built() as connection:
        span = read_span(connection, leaky.dataset)
    edges = find_misplaced_edges(leaky.target, leaky.dataset, span, (date(2024, 2, 29),))
    customers = {difference.customer_id for difference in edges.differences}
    assert customers
    assert all(customer_id.endswith("-next") for customer_id in customers)


def test_doubled_and_missing_customers_are_named(bench: Bench) -> None:
    bench.target.restore("built")
    night = {"as_of_date": bench.night.as_of_date, "known_as_of": bench.night.known_as_of}
    this_night = "as_of_date = %(as_of_date)s and known_as_of = %(known_as_of)s"
    with bench.target.connect(Role.OWNER) as owner:
        for relation in ("customer_population", "customer_features"):
            owner.execute(f"create table features.rows as table features.{relation}")
            owner.execute(f"drop table features.{relation} cascade")
            owner.execute(f"alter table features.rows rename to {relation}")
        owner.execute(
            "insert into features.customer_population select * from features.customer_population"
            f" where customer_id = 'C00000001' and {this_night}",
            night,
        )
        owner.execute("delete from features.customer_population where customer_id = 'C00000002'")
        owner.execute("delete from features.customer_features where customer_id = 'C00000003'")
        _, differences = find_wrong_customers(owner, bench.night)
    assert differences == [
        Difference("features.customer_features", "C00000003", "(rows)", "1", "0"),
        Difference("features.customer_population", "C00000001", "(rows)", "1", "2"),
        Difference("features.customer_population", "C00000002", "(rows)", "1", "0"),
    ]
