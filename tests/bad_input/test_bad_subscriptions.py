"""Bad deliveries of the dated dataset: each has a declared result, and no row is lost.

| fault | where it shows |
|---|---|
| unknown plan | raw gate warns, customer excluded: unknown_plan |
| overlapping subscriptions | customer excluded: overlapping_subscriptions |
| an end before a start | customer excluded: inconsistent_history |
| negative or absurd amount | raw gate warns (blocks above 1 %), row rejected: rejected_value |
| a rejected change of a subscription | customer excluded: rejected_value |
| a payment for no invoice | dbt test payments_have_an_invoice warns |
| a date in the future | raw gate warns (blocks above 1 %), row rejected: event_in_future |
| a second currency | raw gate warns, row rejected: rejected_value |
| duplicate key, other content | raw gate warns, later row rejected: conflicting_duplicate |
| a line that does not split | quarantine, raw gate warns (blocks above 1 %) |
| a whole entity missing | raw gate blocks or warns as the dataset declares |
| yesterday's file again | raw gate warns, rows rejected: duplicate |
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from subscription_deliveries import (
    HISTORY_ENDS,
    NIGHT,
    Row,
    at,
    change,
    cut_off_after,
    deliver_day,
    invoice,
    payment,
    restated,
    usage_week,
    world_of,
)

from churn_ml.errors import GateBlocked
from churn_ml.landing.delivery import land_inbox
from churn_ml.quality.gates import run_gate
from churn_ml.services.dbt import build_layer
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import open_run

NOON, NEXT_WEEK = at(NIGHT), at(cut_off_after(NIGHT).date(), "12:00:00")
SOUND_ROWS = [usage_week(f"C1{number:07d}", NIGHT) for number in range(400)]
"""Enough rows and amounts beside a fault that it stays below one in a hundred."""
SOUND_INVOICES = [invoice(f"X{number}", "C00000012", NOON) for number in range(400)]


@dataclass(frozen=True)
class BadInput:
    """Rows of a fault, in one entity, and its declared result."""

    fault: str
    entity: str
    rows: tuple[Row, ...]
    warned: str | None = None
    rejected: str | None = None
    excluded: tuple[str, str] | None = None


def of(number: int) -> str:
    return f"C{number:08d}"


BAD_INPUTS = [
    BadInput("unknown plan", "subscriptions",
             (change("u1", of(1), NOON, change_type="upgrade", plan_id="P9"),),
             "plans_of_changes_are_known", None, (of(1), "unknown_plan")),
    BadInput("overlapping subscriptions", "subscriptions",
             (change("u2", of(2), NOON, subscription_id="S-other"),),
             None, None, (of(2), "overlapping_subscriptions")),
    BadInput("end before start", "subscriptions",
             (change("u3", of(30), at(NIGHT, "08:00:00"),
                     change_type="end_voluntary"),
              change("u4", of(30), NOON)),
             None, None, (of(30), "inconsistent_history")),
    BadInput("negative price", "subscriptions",
             (change("u5", of(4), NOON, change_type="price_change", monthly_price_amount="-20.00"),),
             "no_amount_is_absurd", "rejected_value", (of(4), "rejected_value")),
    BadInput("absurd amount", "invoices", (invoice("b1", of(5), NOON, amount="9999999.00"),),
             "no_amount_is_absurd", "rejected_value"),
    BadInput("payment for no invoice", "payments", (payment("b2", "no-invoice", of(6), NOON),)),
    BadInput("event in the future", "subscriptions",
             (change("u6", of(7), NEXT_WEEK, change_type="price_change"),),
             "no_event_is_in_the_future", "event_in_future"),
    BadInput("second currency", "subscriptions",
             (change("u7", of(8), NOON, change_type="price_change", currency="EUR"),),
             "amounts_are_in_the_declared_currency", "rejected_value", (of(8), "rejected_value")),
    BadInput("duplicate key, other content", "invoices",
             (invoice("b3", of(9), NOON), invoice("b3", of(9), NOON, amount="21.00")),
             "records_do_not_contradict_themselves", "conflicting_duplicate"),
]  # fmt: skip
QUARANTINED = usage_week(of(10), NIGHT, session_count="1,2")


@pytest.fixture
def land_night(history: Settings) -> Callable[..., str]:
    """Deliver the night's own events and others beside them, land, and return the run's id."""

    def land(**rows: list[Row]) -> str:
        own = world_of(NIGHT)
        deliver_day(history.inbox, NIGHT, **{entity: own[entity] + rows.get(entity, []) for entity in own})
        run_id = open_run(history, "night", cut_off_after(NIGHT)).run_id
        land_inbox(history, run_id)
        return run_id

    return land


def deliver_all_faults() -> dict[str, list[Row]]:
    rows = {"usage": [*SOUND_ROWS, QUARANTINED], "invoices": list(SOUND_INVOICES)}
    for bad in BAD_INPUTS:
        rows.setdefault(bad.entity, []).extend(bad.rows)
    return rows


def read(settings: Settings, statement: str, role: Role = Role.AUDITOR) -> list[tuple[object, ...]]:
    with connect(settings, role) as connection:
        return connection.execute(statement).fetchall()


def failed_checks(settings: Settings) -> set[str]:
    rows = read(settings, "select check_name from ops.validation_results where verdict <> 'pass'")
    return {str(check) for (check,) in rows}


def test_each_fault_shows_where_it_is_declared_and_no_row_is_lost(
    history: Settings, land_night: Callable[..., str]
) -> None:
    run_id = land_night(**deliver_all_faults())
    run_gate(history, run_id, "raw")
    declared = {bad.warned for bad in BAD_INPUTS if bad.warned}
    assert failed_checks(history) == declared | {"no_delivered_record_is_quarantined"}
    build_layer(history, run_id, "staging")
    assert rejected(history) == declared_rejects()
    assert warned_by_dbt(history) == {"payments_have_an_invoice"}
    assert_no_row_is_lost(history)
    build_layer(history, run_id, "intermediate")
    build_layer(history, run_id, "features")
    excluded = read(
        history,
        "select customer_id, exclusion_reason from features.customer_population"
        f" where exclusion_reason <> 'not_active' and as_of_date = '{NIGHT}'",
    )
    assert dict(excluded) == dict(declared_exclusions())


def declared_rejects() -> dict[str, set[str]]:
    rejects: dict[str, set[str]] = {}
    for bad in BAD_INPUTS:
        if bad.rejected:
            rejects.setdefault(bad.entity, set()).add(bad.rejected)
    return rejects


def declared_exclusions() -> list[tuple[str, str]]:
    return [bad.excluded for bad in BAD_INPUTS if bad.excluded] + [(of(16), "cancel_requested")]


def rejected(settings: Settings) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    statement = "select entity, reject_reason from staging.stg_subscriptions__rejects"
    for entity, reason in read(settings, statement, Role.TRANSFORMER):
        found.setdefault(str(entity), set()).add(str(reason))
    return found


def warned_by_dbt(settings: Settings) -> set[str]:
    rows = read(settings, "select node_name from ops.dbt_results where status = 'warn'", Role.TRANSFORMER)
    return {str(name) for (name,) in rows}


def assert_no_row_is_lost(settings: Settings) -> None:
    """Every row of every file is in raw or in quarantine, and every row of raw is staged once."""
    for entity in world_of(NIGHT):
        [(in_file, landed, quarantined)] = read(
            settings,
            "select sum(row_count_in_file), sum(row_count_landed), sum(row_count_quarantined)"
            f" from ops.landing_batches where entity = '{entity}'",
        )
        assert in_file == landed + quarantined  # type: ignore[operator]
        [(raw, staged)] = read(
            settings,
            f"select (select count(*) from raw.{entity}),"
            f" (select count(*) from staging.stg_subscriptions__{entity})",
            Role.TRANSFORMER,
        )
        assert raw == staged == landed
    assert read(settings, "select entity, count(*) from ops.quarantine group by entity") == [("usage", 1)]


def test_an_entity_missing_for_the_night_stops_it_before_staging(
    history: Settings, land_night: Callable[..., str]
) -> None:
    deliver_day(history.inbox, NIGHT, **world_of(NIGHT))
    for entity in ("usage", "tickets"):
        (history.inbox / NIGHT.isoformat() / f"{entity}.csv").unlink()
    run_id = open_run(history, "night", cut_off_after(NIGHT)).run_id
    land_inbox(history, run_id)
    with pytest.raises(GateBlocked, match="usage_is_delivered"):
        run_gate(history, run_id, "raw")
    assert failed_checks(history) == {"usage_is_delivered", "tickets_are_delivered"}


def test_yesterdays_file_delivered_again_is_warned_of_and_adds_nothing(history: Settings) -> None:
    week = usage_week(of(11), HISTORY_ENDS)
    for day, rows in ((HISTORY_ENDS, [week]), (NIGHT, [week])):
        deliver_day(history.inbox, day, **world_of(day) | {"usage": rows})
    forget_history(history, "usage")
    yesterday = open_run(history, "night", cut_off_after(HISTORY_ENDS)).run_id
    land_inbox(history, yesterday)
    run_id = open_run(history, "night", cut_off_after(NIGHT)).run_id
    land_inbox(history, run_id)
    assert run_gate(history, run_id, "raw").failed_warning == ("no_file_is_delivered_again",)
    build_layer(history, run_id, "staging")
    rejects = "select entity, reject_reason from staging.stg_subscriptions__rejects where entity = 'usage'"
    assert read(history, rejects, Role.TRANSFORMER) == [("usage", "duplicate")]


def forget_history(settings: Settings, entity: str) -> None:
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute(f"truncate raw.{entity}")
        admin.execute("delete from ops.landing_batches where entity = %s", [entity])


def test_a_mended_row_ends_the_exclusion(history: Settings, land_night: Callable[..., str]) -> None:
    faulty = change("u5", of(4), NOON, change_type="price_change", monthly_price_amount="-20.00")
    mended = restated(faulty, monthly_price_amount="20.00")
    run_id = land_night(subscriptions=[faulty, mended], invoices=SOUND_INVOICES)
    build_layer(history, run_id, "staging")
    found = read(
        history,
        "select revision, reject_reason from staging.stg_subscriptions__subscriptions"
        " where change_id = 'u5' order by revision",
        Role.TRANSFORMER,
    )
    assert found == [(1, "rejected_value"), (2, None)]
