"""Who is scored, what the features say at the edges of their windows, and what the labels state.

One business for the module: every test has customers of its own and expects what a reader works out by
hand. The nights are 29 February 2024 and 31 October 2026, whose 28 days hold the end of summer time.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from clones import clone_warehouse, drop_warehouse
from subscription_deliveries import (
    Row,
    change,
    contact,
    customer,
    cut_off_after,
    deleted,
    deliver_day,
    invoice,
    payment,
    plan,
    restated,
    ticket,
    treatment,
    usage_week,
)

from churn_ml.landing.delivery import land_path
from churn_ml.services.dated_nights import Night, write_label_nights
from churn_ml.services.dbt import build_labels, build_layer, build_night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run

DAY, LEAP_DAY = date(2026, 10, 31), date(2024, 2, 29)
NIGHT, LEAP_NIGHT = (Night(day, cut_off_after(day)) for day in (DAY, LEAP_DAY))
CLOSED = date(2026, 12, 17)  # gap 7, horizon 30, grace 7 and allowance 3 days after DAY
START = "2026-01-10T09:00:00Z"
World = dict[date, dict[str, list[Row]]]


class Deliveries:
    """Rows by the day on which they are delivered."""

    def __init__(self) -> None:
        self.rows: World = defaultdict(lambda: defaultdict(list))

    def add(self, day: date, entity: str, *rows: Row) -> None:
        self.rows[day][entity] += rows

    def starts(self, customer_id: str, *later: Row, day: date = DAY, **columns: object) -> None:
        """A customer who started on 10 January 2026, and what changed since."""
        self.add(day, "subscriptions", change(f"{customer_id}-0", customer_id, START, **columns), *later)

    def land(self, settings: Settings, inbox: Path) -> None:
        for day, rows in sorted(self.rows.items()):
            land_path(settings, deliver_day(inbox, day, **rows), first_load=True)


def later(customer_id: str, event_at: str, change_type: str, number: int = 1, **columns: object) -> Row:
    """A change of a customer who has started before."""
    return change(f"{customer_id}-{number}", customer_id, event_at, change_type=change_type, **columns)


def eligibility(world: Deliveries) -> None:
    world.starts("Cplain")
    world.starts("Casks", later("Casks", "2026-10-31T23:59:59Z", "cancel_request"))
    world.starts("Cstays", later("Cstays", "2026-10-20T08:00:00Z", "cancel_request"),
                 later("Cstays", "2026-10-21T08:00:00Z", "cancel_withdrawal", 2))  # fmt: skip
    world.starts("Ctwo", change("Ctwo-1", "Ctwo", "2026-05-01T09:00:00Z", subscription_id="Sother"))
    world.starts("Cback", later("Cback", "2026-01-09T09:00:00Z", "end_voluntary"),
                 later("Cback", "2026-02-01T09:00:00Z", "return", 2))  # fmt: skip
    world.starts("Cplan", plan_id="P9")
    world.starts("Cprice", later("Cprice", "2026-10-01T09:00:00Z", "price_change", monthly_price_amount="-5"))
    world.starts("Cmended", later("Cmended", "2026-10-01T09:00:00Z", "price_change",
                                  monthly_price_amount="-5"), day=date(2026, 10, 30))  # fmt: skip
    world.add(DAY, "subscriptions", restated(later("Cmended", "2026-10-01T09:00:00Z", "price_change"),
                                             monthly_price_amount="25.00"))  # fmt: skip
    wrong = later("Csameday", "2026-10-01T09:00:00Z", "price_change", monthly_price_amount="-5")
    world.starts("Csameday", wrong, restated(wrong, monthly_price_amount="25.00"))
    older = later("Cnewer", "2026-10-01T09:00:00Z", "price_change", monthly_price_amount="-5")
    world.starts("Cnewer", restated(older, monthly_price_amount="25.00"), day=date(2026, 10, 30))
    world.add(DAY, "subscriptions", older)
    newer = later("Colder", "2026-10-01T09:00:00Z", "price_change", revision=2, monthly_price_amount="-5")
    world.starts("Colder", newer, day=date(2026, 10, 30))
    world.add(DAY, "subscriptions", restated(newer, 1, monthly_price_amount="25.00"))
    world.starts("Conly", monthly_price_amount="none")
    world.starts("Cleft", later("Cleft", "2026-08-03T00:00:00Z", "end_voluntary"))
    world.starts("Cgone", later("Cgone", "2026-08-02T23:59:59Z", "end_voluntary"))


def windows(world: Deliveries) -> None:
    world.starts("Cuse")
    weeks = {"2026-10-31T23:59:59Z": 1, "2026-10-25T00:00:00Z": 2, "2026-10-24T23:59:59Z": 4,
             "2026-10-04T00:00:00Z": 8, "2026-10-03T23:59:59Z": 16, "2026-08-03T00:00:00Z": 32,
             "2026-08-02T23:59:59Z": 64}  # fmt: skip
    world.add(DAY, "usage", *[usage_week("Cuse", DAY, event_at=moment, session_count=count, export_count=0)
                              for moment, count in weeks.items()])  # fmt: skip
    world.starts("Cidle")
    world.starts("Cdear", later("Cdear", "2026-10-10T09:00:00Z", "price_change", monthly_price_amount="22"),
                 later("Cdear", "2026-10-20T09:00:00Z", "upgrade", 2, plan_id="P2",
                       monthly_price_amount="44", discount_share="0.25"))  # fmt: skip
    world.starts("Cpays")
    world.add(DAY, "invoices",
              invoice("I1", "Cpays", "2026-09-01T06:00:00Z", due_date="2026-09-15"),
              invoice("I2", "Cpays", "2026-10-01T06:00:00Z", due_date="2026-10-15"),
              invoice("I3", "Cpays", "2026-10-16T06:00:00Z", due_date="2026-10-30"),
              invoice("I4", "Cpays", "2026-10-17T06:00:00Z", due_date="2026-10-31"))  # fmt: skip
    world.add(DAY, "payments",
              payment("B1", "I1", "Cpays", "2026-09-15T23:59:59Z"),
              payment("B2", "I2", "Cpays", "2026-10-16T00:00:00Z"),
              payment("B3", "I2", "Cpays", "2026-10-14T00:00:00Z", status="failed"),
              payment("B4", "I1", "Cpays", "2026-10-01T00:00:00Z", status="refunded", amount="5.00"),
              payment("B5", "I99", "Cpays", "2026-10-20T00:00:00Z", amount="999.00"))  # fmt: skip
    world.starts("Ctalks")
    world.add(DAY, "tickets",
              ticket("T1", "Ctalks", "2026-10-20T00:00:00Z"),
              ticket("T1", "Ctalks", "2026-10-20T12:00:00Z", "resolved"),
              ticket("T1", "Ctalks", "2026-10-21T00:00:00Z", "rated", csat="2"),
              ticket("T2", "Ctalks", "2026-09-01T00:00:00Z", priority="high"))  # fmt: skip
    world.add(DAY, "contacts", contact("K1", "Ctalks", "2026-10-20T00:00:00Z"),
              contact("K2", "Ctalks", "2026-09-20T00:00:00Z", direction="outbound"))  # fmt: skip
    world.add(DAY, "treatments", treatment("R1", "Ctalks", "2026-10-04T00:00:00Z"),
              treatment("R2", "Ctalks", "2026-10-05T00:00:00Z", is_held_out=True))  # fmt: skip
    world.starts("Ctwice")
    week = usage_week("Ctwice", date(2026, 10, 30), session_count=5)
    dropped = usage_week("Ctwice", date(2026, 10, 23), session_count=9)
    world.add(date(2026, 10, 30), "usage", week, dropped)
    world.add(DAY, "usage", restated(week, session_count=6), deleted(dropped))


def leap_year(world: Deliveries) -> None:
    world.add(LEAP_DAY, "plans", plan("P1", "2023-01-01T00:00:00Z"),
              plan("P2", "2023-01-01T00:00:00Z", plan_tier="premium", list_price_amount="40.00"))  # fmt: skip
    world.add(LEAP_DAY, "subscriptions", change("Cleap-0", "Cleap", "2023-02-28T12:00:00Z",
                                                contract="one_year", term_end_date="2024-03-01"))  # fmt: skip
    world.add(LEAP_DAY, "usage", *[
        usage_week("Cleap", LEAP_DAY, event_at=moment, session_count=count)
        for moment, count in {"2024-02-29T23:59:59Z": 1, "2024-02-23T00:00:00Z": 2,
                              "2024-02-22T23:59:59Z": 4}.items()
    ])  # fmt: skip
    world.add(date(2024, 3, 1), "usage",
              usage_week("Cleap", LEAP_DAY, event_at="2024-03-01T00:00:00Z", session_count=8))  # fmt: skip


ENDS = {
    "Cgap": ("2026-11-07T23:59:59Z", "end_voluntary"),
    "Cfirst": ("2026-11-08T00:00:00Z", "end_voluntary"),
    "Clast": ("2026-12-07T23:59:59Z", "end_voluntary"),
    "Cafter": ("2026-12-08T00:00:00Z", "end_voluntary"),
    "Creturns": ("2026-11-20T12:00:00Z", "end_voluntary"),
    "Clate": ("2026-11-20T12:00:00Z", "end_voluntary"),
    "Cunpaid": ("2026-11-20T12:00:00Z", "end_involuntary"),
}


def endings(world: Deliveries) -> None:
    for customer_id, (moment, change_type) in ENDS.items():
        world.starts(customer_id)
        world.add(CLOSED, "subscriptions", later(customer_id, moment, change_type))
    world.add(CLOSED, "subscriptions", later("Creturns", "2026-11-27T11:59:59Z", "return", 2),
              later("Clate", "2026-11-27T12:00:00Z", "return", 2))  # fmt: skip
    world.starts("Chidden")  # its end of the day before is delivered weeks later
    world.add(CLOSED, "subscriptions", later("Chidden", "2026-10-30T09:00:00Z", "end_voluntary"))
    world.starts("Ctreated")
    world.starts("Cheld")
    world.starts("Cearly")
    world.add(CLOSED, "treatments", treatment("R3", "Ctreated", "2026-11-01T00:00:00Z"),
              treatment("R4", "Cheld", "2026-12-07T23:59:59Z", is_held_out=True),
              treatment("R5", "Cearly", "2026-10-31T23:59:59Z"))  # fmt: skip


@pytest.fixture(scope="module")
def built(
    subscriptions_server: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Run]]:
    """The two nights, built by one run on the day on which the labels have closed."""
    settings = clone_warehouse(subscriptions_server)
    world = Deliveries()
    for describe in (leap_year, eligibility, windows, endings):
        describe(world)
    world.add(DAY, "customers", customer("Cplain", START, region="south"))
    world.land(settings, tmp_path_factory.mktemp("inbox"))
    run = open_run(settings, "training", cut_off_after(CLOSED))
    for layer in ("staging", "intermediate", "features"):
        build_layer(settings, run.run_id, layer)
    for night in (LEAP_NIGHT, NIGHT):
        build_night(settings, run, night)
    yield settings, run
    drop_warehouse(settings)


def rows(settings: Settings, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
    with connect(settings, Role.AUDITOR) as auditor:
        return auditor.execute(statement, list(parameters)).fetchall()


def features(settings: Settings, customer_id: str, *columns: str, night: Night = NIGHT) -> list[object]:
    [found] = rows(
        settings,
        f"select {', '.join(columns)} from features.customer_features"
        " where customer_id = %s and as_of_date = %s and known_as_of = %s",
        [customer_id, night.as_of_date, night.known_as_of],
    )
    return list(found)


@pytest.mark.parametrize(
    ("customer_id", "expected"),
    [
        ("Cplain", (True, True, None)),
        ("Cstays", (True, True, None)),
        ("Cmended", (True, True, None)),
        ("Csameday", (True, True, None)),
        ("Cnewer", (True, True, None)),
        ("Colder", (True, False, "rejected_value")),
        ("Casks", (True, False, "cancel_requested")),
        ("Ctwo", (True, False, "overlapping_subscriptions")),
        ("Cback", (True, False, "inconsistent_history")),
        ("Cplan", (True, False, "unknown_plan")),
        ("Cprice", (True, False, "rejected_value")),
        ("Conly", (True, False, "rejected_value")),
        ("Cleft", (False, False, "not_active")),
        ("Chidden", (True, True, None)),
    ],
)
def test_population_says_who_is_scored_and_why_not(
    built: tuple[Settings, Run], customer_id: str, expected: tuple[object, ...]
) -> None:
    found = rows(built[0], "select is_active, is_eligible, exclusion_reason from features.customer_population"
                 " where customer_id = %s and as_of_date = %s", [customer_id, DAY])  # fmt: skip
    assert found == [expected]


def test_population_forgets_who_left_more_than_90_days_ago(built: tuple[Settings, Run]) -> None:
    statement = "select count(*) from features.customer_population where customer_id = %s and as_of_date = %s"
    assert rows(built[0], statement, ["Cgone", DAY]) == [(0,)]


def test_features_are_of_active_customers_without_refused_rows(built: tuple[Settings, Run]) -> None:
    found = rows(
        built[0],
        "select customer_id from features.customer_population"
        " left join features.customer_features using (customer_id, as_of_date, known_as_of)"
        " where as_of_date = %s and tenure_days is null order by 1",
        [DAY],
    )
    assert found == [("Cleft",), ("Colder",), ("Conly",), ("Cprice",)]


def test_windows_are_half_open_and_count_from_the_end_of_the_day(built: tuple[Settings, Run]) -> None:
    found = features(built[0], "Cuse", "sessions_7d", "sessions_28d", "sessions_90d", "metrics_used_28d",
                     "days_since_usage_90d", "is_usage_missing_28d")  # fmt: skip
    assert found == [3, 15, 63, 4, 0, False]


def test_usage_is_compared_with_its_own_past(built: tuple[Settings, Run]) -> None:
    trend, level = features(built[0], "Cuse", "session_trend_28d", "session_level_84d")
    assert trend == pytest.approx((15 - 16) / (15 + 16))
    assert level == pytest.approx((15 / 4) / (31 / 12))


def test_customer_without_usage_has_zeros_and_flags(built: tuple[Settings, Run]) -> None:
    found = features(built[0], "Cidle", "sessions_90d", "session_trend_28d", "session_level_84d",
                     "days_since_usage_90d", "is_usage_missing_28d", "days_since_contact_90d",
                     "is_contact_missing_90d", "csat_mean_90d", "has_csat_90d", "region")  # fmt: skip
    assert found == [0, 0, 0, 90, True, 90, True, None, False, "not_stated"]


def test_restated_and_deleted_weeks_count_as_they_are_known(built: tuple[Settings, Run]) -> None:
    assert features(built[0], "Ctwice", "sessions_28d") == [6]


def test_price_is_told_after_discount_and_against_the_past(built: tuple[Settings, Run]) -> None:
    net, rise, then, listed, discount = features(
        built[0], "Cdear", "net_price_amount", "price_rise_28d", "net_price_ratio_28d",
        "net_to_list_price_ratio", "discount_change_pts_90d",
    )  # fmt: skip
    assert (net, discount) == (33.0, 25.0)
    assert [rise, then, listed] == pytest.approx([0.1, 33 / 20, 33 / 40])
    counts = features(built[0], "Cdear", "upgrades_28d", "downgrades_90d", "price_moves_90d", "days_on_plan")
    assert counts == [1, 0, 1, 11]


def test_bills_are_late_or_past_due_from_the_day_after(built: tuple[Settings, Run]) -> None:
    counts = features(built[0], "Cpays", "late_payments_90d", "failed_payments_28d", "refunds_90d",
                      "past_due_invoices_120d", "days_past_due_120d", "days_since_payment_90d")  # fmt: skip
    assert counts == [1, 1, 1, 1, 1, 15]


def test_payment_without_an_invoice_counts_nowhere(built: tuple[Settings, Run]) -> None:
    paid, spend = features(built[0], "Cpays", "paid_amount_28d", "average_monthly_spend_90d")
    assert paid == 20.0
    assert spend == pytest.approx((40 - 5) / 3)


def test_tickets_contacts_and_treatments_are_counted(built: tuple[Settings, Run]) -> None:
    tickets = features(built[0], "Ctalks", "tickets_opened_28d", "tickets_opened_90d",
                       "high_priority_tickets_90d", "open_tickets_120d", "oldest_open_ticket_days_120d",
                       "csat_mean_28d", "hours_to_resolve_mean_90d")  # fmt: skip
    assert tickets == [1, 2, 1, 1, 60, 2.0, 12.0]
    contacts = features(built[0], "Ctalks", "inbound_contacts_28d", "outbound_contacts_28d",
                        "outbound_contacts_90d", "days_since_contact_90d", "treatments_28d")  # fmt: skip
    assert contacts == [1, 0, 1, 11, 1]


def test_leap_day_ends_a_week_and_a_year(built: tuple[Settings, Run]) -> None:
    found = features(built[0], "Cleap", "sessions_7d", "sessions_28d", "tenure_days", "days_to_term_end",
                     night=LEAP_NIGHT)  # fmt: skip
    assert found == [3, 7, 366, 1]


def test_values_and_attributes_cover_the_population(built: tuple[Settings, Run]) -> None:
    found = rows(
        built[0],
        "select customer_id, monthly_value_amount::text, currency, value_status, region, tenure_group"
        " from features.customer_values join features.customer_attributes"
        " using (customer_id, as_of_date, known_as_of)"
        " where as_of_date = %s and customer_id in ('Cplain', 'Cdear', 'Conly') order by 1",
        [DAY],
    )
    assert found == [
        ("Cdear", "33.00", "USD", "known", "not_stated", "90_to_364_days"),
        ("Conly", None, "USD", "missing", "not_stated", "not_stated"),
        ("Cplain", "20.00", "USD", "known", "south", "90_to_364_days"),
    ]


def labels(settings: Settings, run: Run) -> dict[str, tuple[object, ...]]:
    """Label the night of 31 October with the knowledge of `run`."""
    with connect(settings, Role.TRANSFORMER) as warehouse:
        write_label_nights(warehouse, run, [NIGHT])
    build_labels(settings, run)
    found = rows(
        settings,
        "select customer_id, churned, label_status, churn_date, value_lost_amount::text, treatment_status"
        " from features.customer_labels where as_of_date = %s and known_as_of = %s",
        [DAY, run.known_as_of],
    )
    return {str(customer_id): tuple(outcome) for customer_id, *outcome in found}


@pytest.fixture(scope="module")
def closed_labels(built: tuple[Settings, Run]) -> Mapping[str, tuple[object, ...]]:
    return labels(*built)


STAYED, UNKNOWN = (False, "retained", None, "0.00", "none"), (None, "censored", None, None, "none")


@pytest.mark.parametrize(
    ("customer_id", "expected"),
    [
        ("Cplain", STAYED),
        ("Cgap", (None, "churned_in_gap", date(2026, 11, 7), None, "none")),
        ("Cfirst", (True, "churned", date(2026, 11, 8), "240.00", "none")),
        ("Clast", (True, "churned", date(2026, 12, 7), "240.00", "none")),
        ("Cafter", STAYED),
        ("Creturns", STAYED),
        ("Clate", (True, "churned", date(2026, 11, 20), "240.00", "none")),
        ("Cunpaid", (True, "churned", date(2026, 11, 20), "240.00", "none")),
        ("Cleft", UNKNOWN),
        ("Chidden", UNKNOWN),
        ("Ctreated", (False, "retained", None, "0.00", "treated")),
        ("Cheld", (False, "retained", None, "0.00", "held_out")),
        ("Cearly", STAYED),
    ],
)
def test_label_states_what_became_of_the_customer(
    closed_labels: Mapping[str, tuple[object, ...]], customer_id: str, expected: tuple[object, ...]
) -> None:
    assert closed_labels[customer_id] == expected


def test_whole_population_is_labelled_once(
    built: tuple[Settings, Run], closed_labels: Mapping[str, tuple[object, ...]]
) -> None:
    settings, run = built
    assert labels(settings, run) == closed_labels
    counts = rows(settings, "select count(*), (select count(*) from features.customer_labels"
                  " where as_of_date = %(day)s and known_as_of = %(cut_off)s)"
                  " from features.customer_population where as_of_date = %(day)s".replace(
                      "%(day)s", f"'{DAY}'").replace("%(cut_off)s", f"'{run.known_as_of}'"))  # fmt: skip
    assert counts == [(len(closed_labels), len(closed_labels))]


def test_label_is_immature_until_late_rows_have_been_awaited(built: tuple[Settings, Run]) -> None:
    settings, _ = built
    a_day_early = open_run(settings, "training", cut_off_after(CLOSED - timedelta(days=1)))
    assert {outcome[:2] for outcome in labels(settings, a_day_early).values()} == {(None, "immature")}


def test_involuntary_end_is_censored_where_it_does_not_count(
    built: tuple[Settings, Run], tmp_path: Path
) -> None:
    settings, run = built
    found = labels(_voluntary_only(settings, tmp_path), run)
    assert found["Cunpaid"] == UNKNOWN
    assert found["Clast"][:2] == (True, "churned")


def _voluntary_only(settings: Settings, folder: Path) -> Settings:
    """A deployment whose label definition leaves involuntary leaving out."""
    (folder / "datasets").mkdir()
    (folder / "dbt_project").symlink_to(settings.project_dir / "dbt_project")
    declared = (settings.project_dir / "datasets" / "subscriptions.yml").read_text()
    changed = declared.replace('"subscriptions_30d"', '"subscriptions_30d_voluntary"')
    (folder / "datasets" / "subscriptions.yml").write_text(changed)
    return settings.model_copy(update={"project_dir": folder})


INTERFACE = ("customer_population", "customer_features", "customer_values", "customer_attributes")


def night_hash(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: rows(
            settings,
            f"select md5(string_agg(t::text, '|' order by customer_id)), count(*) from features.{table} as t"
            " where as_of_date = %s and known_as_of = %s",
            [DAY, NIGHT.known_as_of],
        )
        for table in INTERFACE
    }


def test_nothing_that_happens_or_becomes_known_later_changes_a_night(
    built: tuple[Settings, Run], tmp_path: Path
) -> None:
    settings, run = built
    before = night_hash(settings)
    world, next_day = Deliveries(), DAY + timedelta(days=1)
    world.add(next_day, "usage", usage_week("Cuse", DAY, event_at="2026-11-01T00:00:00Z"),
              usage_week("Cidle", date(2026, 10, 28)),
              restated(usage_week("Ctwice", date(2026, 10, 30)), 3, session_count=50))  # fmt: skip
    world.add(next_day, "subscriptions",
              later("Cplain", "2026-10-15T00:00:00Z", "downgrade", monthly_price_amount="10.00"),
              change("Cnew-0", "Cnew", "2026-10-31T10:00:00Z"),
              deleted(change("Cidle-0", "Cidle", START)))  # fmt: skip
    world.add(next_day, "payments", deleted(payment("B2", "I2", "Cpays", "2026-10-16T00:00:00Z")))
    world.add(next_day, "customers", customer("Cidle", START, region="west"))
    world.add(next_day, "plans", plan("P9", START))
    world.land(settings, tmp_path)
    build_layer(settings, run.run_id, "staging")
    build_night(settings, run, NIGHT)
    assert night_hash(settings) == before


def test_contract_says_which_features_may_be_null(built: tuple[Settings, Run]) -> None:
    found = rows(built[0], "select feature_name from features.feature_contract where is_nullable order by 1")
    assert [name for (name,) in found] == [
        "csat_mean_28d", "csat_mean_90d", "days_to_term_end", "hours_to_resolve_mean_90d",
        "net_to_list_price_ratio",
    ]  # fmt: skip
