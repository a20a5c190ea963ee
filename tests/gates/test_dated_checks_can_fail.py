"""The raw gate of the dated dataset: each expectation broken by one delivery, landed as a night lands it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from subscription_deliveries import (
    HISTORY_ENDS,
    NIGHT,
    Row,
    at,
    change,
    contact,
    cut_off_after,
    deliver_day,
    invoice,
    restated,
    usage_week,
    world_of,
)

from churn_ml.declarations import load_dataset
from churn_ml.errors import GateBlocked
from churn_ml.landing.delivery import land_inbox
from churn_ml.quality.gates import run_gate
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import open_run

pytestmark = pytest.mark.usefixtures("without_pages")

SUITES = sorted((Path(__file__).parents[2] / "great_expectations" / "expectations").glob("subscriptions__*"))
CHECKS = {
    item["meta"]["check"]: item for suite in SUITES for item in json.loads(suite.read_text())["expectations"]
}
C1 = "C00000001"
NOON, TOMORROW = at(NIGHT), at(cut_off_after(NIGHT).date(), "02:00:01")
MISSING = {
    entity: "usage_is_delivered" if entity == "usage" else f"{entity}_are_delivered"
    for entity in world_of(NIGHT)
}


@dataclass(frozen=True)
class Fault:
    """Rows delivered beside the night's own, and what they break."""

    check: str
    entity: str
    rows: list[Row]
    also: frozenset[str] = field(default_factory=frozenset)


def fault(check: str, entity: str, rows: list[Row], *also: str) -> Fault:
    return Fault(check, entity, rows, frozenset(also))


def invoices(count: int, **others: object) -> list[Row]:
    return [invoice(f"X{number}", C1, NOON, **others) for number in range(count)]


FAULTS = [
    fault("no_delivered_record_is_quarantined", "usage",
          [*[usage_week(f"C{number}", NIGHT) for number in range(200)],
           usage_week(C1, NIGHT, session_count="1,2")]),
    fault("few_delivered_records_are_quarantined", "usage", [usage_week(C1, NIGHT, session_count="1,2")] * 2,
          "no_delivered_record_is_quarantined"),
    fault("record_keys_are_stated", "contacts", [contact(" ", C1, NOON)]),
    fault("no_amount_is_absurd", "invoices", [*invoices(150), invoice("X", C1, NOON, amount="-0.01")]),
    fault("few_amounts_are_absurd", "invoices", invoices(3, amount="100000.01"), "no_amount_is_absurd"),
    fault("no_event_is_in_the_future", "usage",
          [*[usage_week(f"C{number}", NIGHT) for number in range(200)],
           usage_week(C1, NIGHT, event_at=TOMORROW)]),
    fault("few_events_are_in_the_future", "contacts", [contact("K", C1, TOMORROW)] * 2,
          "no_event_is_in_the_future"),
    fault("amounts_are_in_the_declared_currency", "invoices", [invoice("X", C1, NOON, currency="EUR")]),
    fault("plans_of_changes_are_known", "subscriptions",
          [change("X", C1, NOON, change_type="upgrade", plan_id="P9")]),
    fault("records_do_not_contradict_themselves", "invoices",
          [invoice("X", C1, NOON), invoice("X", C1, NOON, amount="21.00")]),
]  # fmt: skip


@pytest.fixture
def land_night(history: Settings) -> Callable[..., str]:
    """Deliver the night's own events and `rows` beside them, land, and return the run's id."""

    def land(**rows: list[Row]) -> str:
        own = world_of(NIGHT)
        deliver_day(history.inbox, NIGHT, **{entity: own[entity] + rows.get(entity, []) for entity in own})
        run_id = open_run(history, "night", cut_off_after(NIGHT)).run_id
        land_inbox(history, run_id)
        return run_id

    return land


def failed_checks(settings: Settings, run_id: str) -> set[str]:
    """Run the raw gate; it blocks exactly where a blocking check failed."""
    try:
        run_gate(settings, run_id, "raw")
        blocked = False
    except GateBlocked:
        blocked = True
    with connect(settings, Role.AUDITOR) as auditor:
        rows = auditor.execute(
            "select check_name, verdict from ops.validation_results where verdict <> 'pass' and run_id = %s",
            [run_id],
        ).fetchall()
    failed = dict(rows)
    assert set(failed.values()) <= {"fail"}
    assert blocked == any(CHECKS[check]["meta"]["severity"] == "block" for check in failed)
    return set(failed)


def test_a_sound_delivery_passes(history: Settings, land_night: Callable[..., str]) -> None:
    assert failed_checks(history, land_night()) == set()


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.check)
def test_each_check_fails_when_its_rule_is_broken(
    case: Fault, history: Settings, land_night: Callable[..., str]
) -> None:
    run_id = land_night(**{case.entity: case.rows})
    assert failed_checks(history, run_id) == {case.check} | case.also


def test_each_entity_missing_for_the_night_fails_its_own_check(
    history: Settings, land_night: Callable[..., str]
) -> None:
    land_night()
    forget_batches(history, "tickets")
    run_id = open_run(history, "night", cut_off_after(NIGHT)).run_id
    assert failed_checks(history, run_id) == {MISSING["tickets"]}
    for entity in set(MISSING) - {"tickets"}:
        forget_batches(history, entity)
    run_id = open_run(history, "night", cut_off_after(NIGHT)).run_id
    assert failed_checks(history, run_id) == set(MISSING.values())


def forget_batches(settings: Settings, entity: str) -> None:
    """Take the night's batch of `entity` back, as if its file had never come."""
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute(f"delete from raw.{entity} where _as_of_date = %s", [NIGHT])
        admin.execute(
            "delete from ops.landing_batches where entity = %s and as_of_date = %s", [entity, NIGHT]
        )


def test_severity_of_a_missing_entity_is_what_the_dataset_declares(history: Settings) -> None:
    declared = {name: entity.missing_delivery for name, entity in load_dataset(history).entities.items()}
    assert {entity: CHECKS[check]["meta"]["severity"] for entity, check in MISSING.items()} == declared


def test_a_file_of_another_day_is_noticed(history: Settings, land_night: Callable[..., str]) -> None:
    deliver_day(history.inbox, HISTORY_ENDS, usage=[usage_week(C1, HISTORY_ENDS)])
    yesterday = open_run(history, "night", cut_off_after(HISTORY_ENDS)).run_id
    land_inbox(history, yesterday)
    own = world_of(NIGHT) | {"usage": [usage_week(C1, HISTORY_ENDS)]}
    deliver_day(history.inbox, NIGHT, **own)
    run_id = open_run(history, "night", cut_off_after(NIGHT)).run_id
    land_inbox(history, run_id)
    assert failed_checks(history, run_id) == {"no_file_is_delivered_again"}


def test_rows_missing_from_raw_block(history: Settings, land_night: Callable[..., str]) -> None:
    run_id = land_night()
    with connect_admin(history, database=history.warehouse_database) as admin:
        admin.execute("delete from raw.usage where _as_of_date = %s", [NIGHT])
    assert failed_checks(history, run_id) == {"delivered_rows_are_in_raw"}


def test_a_run_without_a_batch_of_its_own_judges_the_deliveries_of_its_date(
    history: Settings, land_night: Callable[..., str]
) -> None:
    land_night(invoices=[invoice("X", C1, NOON, currency="EUR")])
    run_id = open_run(history, "reproduce", cut_off_after(NIGHT)).run_id
    assert failed_checks(history, run_id) == {"amounts_are_in_the_declared_currency"}


def test_what_became_known_later_is_not_judged(history: Settings, land_night: Callable[..., str]) -> None:
    land_night(invoices=[restated(invoice("X", C1, NOON), currency="EUR")])
    run_id = open_run(history, "night", cut_off_after(HISTORY_ENDS)).run_id
    assert failed_checks(history, run_id) == set()


def test_every_dated_check_has_a_fault_here() -> None:
    one_row = {name for name, item in CHECKS.items() if item["kwargs"] == {"min_value": 1, "max_value": 1}}
    broken = {check for case in FAULTS for check in {case.check} | case.also} | set(MISSING.values())
    broken |= {"no_file_is_delivered_again", "delivered_rows_are_in_raw"}
    assert broken == set(CHECKS) - one_row
