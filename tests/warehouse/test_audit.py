"""Every proof holds on the models as they are, and each fails where a model breaks its promise."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from clones import clone_warehouse, drop_warehouse
from subscription_deliveries import (
    at,
    change,
    contact,
    cut_off_after,
    deliver_day,
    deliver_world,
    invoice,
    restated,
)

from churn_ml.audit.bench import BUILT, NO_CHAMPION, Bench, open_bench
from churn_ml.audit.champions import begin_by, copy_champion
from churn_ml.audit.comparison import Difference
from churn_ml.audit.databases import ThrowAway
from churn_ml.audit.nights import build_nights, forget_nights
from churn_ml.audit.population import find_unscored_customers, find_wrong_customers
from churn_ml.audit.proofs import PROOFS, prove
from churn_ml.features.contract import read_contract
from churn_ml.features.stream import read_table
from churn_ml.landing.delivery import land_path
from churn_ml.models.calibration import calibrated, fit_calibrator
from churn_ml.models.candidates import RandomForest
from churn_ml.models.contributions import build_reference
from churn_ml.models.deployments import champion_at, promote
from churn_ml.models.golden_rows import choose_golden_rows
from churn_ml.models.registration import GateResult, NewModel, register
from churn_ml.models.registry import show_version
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect_admin
from churn_ml.warehouse.runs import open_run
from churn_ml.warehouse.sql import SQL

pytestmark = pytest.mark.long

NEWEST = date(2026, 10, 31)
NIGHT = NEWEST - timedelta(days=7)
CUSTOMERS = 20
LEAP_DAY, CLOCK_CHANGE = date(2024, 2, 29), date(2026, 10, 25)


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
    """The audited night is older than its champion, who begins with the newest one."""
    with open_bench(landed, customers=CUSTOMERS, as_of_date=NEWEST) as opened:
        version = register_model(landed, opened)
        promote(landed, version, cut_off_after(NEWEST), "the only one", "tests")
        yield replace(opened, edge_days=(LEAP_DAY,))


def register_model(settings: Settings, bench: Bench) -> str:
    """Register a small forest that was fitted on the bench's features and a made-up outcome."""
    with bench.built() as auditor:
        contract = read_contract(auditor, bench.dataset)
        columns = SQL("select customer_id, {} from features.customer_features order by 1")
        query = columns.format(contract.select_list("customer_features"))
        rows = read_table(auditor, query, [], {"customer_id": pa.string()} | contract.arrow_types)
    churned = np.arange(rows.num_rows) % 3 == 0
    frame = contract.to_frame(rows.select(contract.names))
    forest = RandomForest(tree_count=5, least_leaf=1).build(contract, 1).fit(frame, churned)
    raw = forest.predict_proba(frame)[:, 1]
    pipeline = calibrated(forest, fit_calibrator("none", raw, churned, seed=1))
    night, run = bench.night, open_run(settings, "training", cut_off_after(NEWEST))
    constants = {"fold": None, "churn_probability": None, "as_of_date": night.as_of_date,
                 "known_as_of": night.known_as_of}  # fmt: skip
    training_rows = pa.table(
        {"customer_id": rows.column("customer_id"), "churned": pa.array(churned)}
        | {name: pa.array([value] * rows.num_rows) for name, value in constants.items()}
    )
    new = NewModel(
        run.run_id, "subscriptions", bench.dataset.label_definition, RandomForest.family, "out_of_time",
        run.as_of_date, run.known_as_of, 1, contract, [pipeline], {"roc_auc": 0.5}, training_rows,
        [GateResult("calibration", 1.0, 0.9, 1.1)],
        parameters={}, calibration="none", training_sha256="0" * 64,
        reference=build_reference([pipeline], frame, [np.arange(len(frame))]),
        golden_rows=choose_golden_rows(frame, None, seed=1),
    )  # fmt: skip
    return register(settings, new)


def with_models(bench: Bench, folder: Path, changes: dict[str, dict[str, str]]) -> Bench:
    """Give `bench` a copy of the project in which each file has one text in another's place."""
    settings = bench.target.settings
    for room in ("datasets", "dbt_project", "great_expectations"):
        shutil.copytree(settings.project_dir / room, folder / room)
    for name, replacements in changes.items():
        path = folder / "dbt_project" / name
        content = path.read_text(encoding="utf-8")
        for text, other in replacements.items():
            assert text in content, f"{name} no longer holds {text!r}: give this test a new fault"
            content = content.replace(text, other)
        path.write_text(content, encoding="utf-8")
    changed = settings.model_copy(update={"project_dir": folder})
    return replace(bench, target=replace(bench.target, settings=changed))


@pytest.fixture(scope="module")
def leaky(
    bench: Bench, subscriptions_server: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Models that forget when a row became known, close the day's interval, let the first batch win a tie.

    There is no champion, so that features are all that is compared.
    """
    forgetful = {
        "macros/is_visible.sql": {
            "and known_at <= {{ known_as_of_constant() }}": "",
            "and event_at < {{ start_of_day(1) }}": "and event_at <= {{ start_of_day(1) }}",
        },
        "macros/versions.sql": {"order by known_at, row_hash, batch_id": "order by known_at, batch_id"},
    }
    bench.target.restore(BUILT)
    cloned = clone_warehouse(bench.target.settings)
    with connect_admin(cloned) as admin:
        copied = replace(bench, live=subscriptions_server, target=ThrowAway(cloned, admin))
        changed = with_models(copied, tmp_path_factory.mktemp("leaky"), forgetful)
        with changed.target.connect(Role.OWNER) as owner:
            forget_nights(owner)
        build_nights(changed.target, [changed.night])
        changed.target.keep(BUILT)
        yield changed
        changed.target.restore(BUILT)
        admin.execute(f"drop database {changed.target.database_of(BUILT)} with (force)")
    drop_warehouse(cloned)


@pytest.mark.parametrize("name", [name for name in PROOFS if name != "late_arrival"])
def test_proof_holds(bench: Bench, name: str) -> None:
    proof = prove(bench, name)
    assert proof.passed, f"{proof.checked}: {proof.differences}"


def test_champions_are_copied_with_all_that_a_night_asks_of_them(
    bench: Bench, landed: Settings, subscriptions_server: Settings
) -> None:
    target = clone_warehouse(subscriptions_server)
    assert copy_champion(subscriptions_server, target) is None
    version = copy_champion(landed, target)
    assert version == champion_at(landed, cut_off_after(NEWEST)) == champion_at(target, cut_off_after(NEWEST))
    assert show_version(target, version) == show_version(landed, version)
    assert not begin_by(target, cut_off_after(NEWEST), version)
    assert begin_by(target, bench.night.known_as_of, version)
    assert champion_at(target, bench.night.known_as_of) == version
    drop_warehouse(target)


def test_late_rows_show_in_the_restated_marts_only(bench: Bench) -> None:
    """The published night is held against its repetitions, and what differs is counted and listed."""
    proof = prove(bench, "late_arrival")
    assert proof.passed, f"{proof.checked}: {proof.differences}"
    assert "who is champion from a later night on" in proof.checked
    assert re.search(r"reproduced, \d+ rows of 4 marts and \d+ feature rows equal", proof.checked)
    assert re.search(r"other rows: .*[1-9]\d* of fct_churn_score", proof.checked)
    assert re.search(r"[1-9]\d* have another probability.*: C\d+ \w+: .* -> ", proof.checked)


def test_reproduction_that_differs_names_the_rows_of_the_marts(bench: Bench, tmp_path: Path) -> None:
    clock = {"attributes.segment,": "clock_timestamp()::text as segment,"}
    faulty = with_models(bench, tmp_path, {"models/marts/fct_churn_score.sql": clock})
    proof = prove(faulty, "late_arrival")
    assert not proof.passed
    assert {(found.relation, found.column) for found in proof.differences} == {
        ("marts.fct_churn_score", "segment")
    }
    assert all(found.customer_id.startswith("C0") for found in proof.differences)


@pytest.mark.parametrize("name", ["truncation", "future_shock", "late_arrival", "shuffled_arrival"])
def test_proof_names_the_rows_of_a_leak(leaky: Bench, name: str) -> None:
    proof = prove(leaky, name)
    assert not proof.passed
    assert 0 < len(proof.differences) <= 10
    assert all(difference.then != difference.now for difference in proof.differences)
    if name == "truncation":
        assert "C00000001" in {difference.customer_id for difference in proof.differences}
    if name == "late_arrival":
        assert NO_CHAMPION in proof.checked


def test_closed_interval_puts_the_next_day_on_the_wrong_side(leaky: Bench) -> None:
    proof = prove(replace(leaky, edge_days=(CLOCK_CHANGE,)), "calendar_edges")
    customers = {difference.customer_id for difference in proof.differences}
    assert customers
    assert all(customer_id.endswith("-next") for customer_id in customers)


def test_doubled_and_missing_customers_are_named(bench: Bench) -> None:
    bench.target.restore(BUILT)
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


def test_unscored_and_doubled_customers_are_named(bench: Bench) -> None:
    bench.begin_published()
    with bench.target.connect(Role.OWNER) as owner:
        before = find_unscored_customers(owner, bench.night, bench.run_id)
        [(first, second)] = owner.execute(
            "select min(customer_id), max(customer_id) from scores.customer_scores"
        ).fetchall()
        owner.execute("delete from scores.customer_scores where customer_id = %s", [first])
        owner.execute(
            "update scores.customer_scores set customer_id = 'nobody' where customer_id = %s", [second]
        )
        owner.execute("delete from marts.customer_churn_current where customer_id = %s", [first])
        owner.execute("delete from marts.fct_churn_score where customer_id = %s", [second])
        scores, mart_rows, differences = find_unscored_customers(owner, bench.night, bench.run_id)
    assert before[2] == []
    assert (scores, mart_rows) == (before[0] - 1, before[1] - 1)
    assert [(found.relation, found.customer_id, found.then, found.now) for found in differences] == [
        ("marts.customer_churn_current", first, "1", "0"),
        ("marts.fct_churn_score", second, "1", "0"),
        ("scores.customer_scores", first, "1", "0"),
        ("scores.customer_scores", second, "1", "0"),
        ("scores.customer_scores", "nobody", "0", "1"),
    ]
