"""Money: two nights of a business whose every movement is worked out by hand.

The first night is that of 30 October 2026, the second that of the 31st. The scores are given by hand.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import numpy as np
import pytest
from clones import clone_warehouse, drop_warehouse
from loss_intervals import Z, interval
from psycopg.rows import dict_row
from subscription_deliveries import Row, change, cut_off_after, deliver_day, invoice, plan, restated
from telco_nights import publish
from untested import build_layer

from churn_ml.errors import TransformationError
from churn_ml.landing.delivery import land_inbox, land_path
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run

FIRST, SECOND = date(2026, 10, 30), date(2026, 10, 31)
START, TODAY = "2026-01-10T09:00:00Z", "2026-10-31T09:00:00Z"


def later(customer_id: str, event_at: str, change_type: str, **columns: object) -> Row:
    return change(f"{customer_id}-1", customer_id, event_at, change_type=change_type, **columns)


def one_year(customer_id: str, term_end_date: str) -> Row:
    return change(f"{customer_id}-0", customer_id, START, contract="one_year", term_end_date=term_end_date)


NAMES = ("plain", "up", "down", "leaves", "left", "dear", "back", "euro")
REFUSED = change("mended-0", "mended", START, monthly_price_amount="none")
FIRST_DAY = [
    *(change(f"{name}-0", name, START) for name in NAMES),
    later("back", "2026-03-01T09:00:00Z", "end_voluntary"),
    one_year("term", "2027-04-30"),
    one_year("longer", "2027-05-01"),
    one_year("over", "2026-10-29"),
    REFUSED,
]
SECOND_DAY = [
    later("up", TODAY, "price_change", monthly_price_amount="25.00"),
    later("down", TODAY, "price_change", monthly_price_amount="15.50"),
    later("leaves", TODAY, "end_voluntary"),
    later("left", "2026-10-25T09:00:00Z", "end_voluntary"),
    later("dear", "2026-10-27T09:00:00Z", "price_change", monthly_price_amount="30.00"),
    change("late-0", "late", "2026-10-30T09:00:00Z", monthly_price_amount="7.00"),
    change("fresh-0", "fresh", TODAY, monthly_price_amount="11.00"),
    change("back-2", "back", TODAY, change_type="return", monthly_price_amount="13.00"),
    restated(REFUSED, monthly_price_amount="20.00"),
]
BILLS = [
    invoice(f"I-{name}", name, "2026-10-10T06:00:00Z")
    for name in ("plain", "euro", "term", "longer", "over", "mended")
]


def pay_in_euros(settings: Settings, rate: str) -> None:
    """Let the source have billed one customer in euros, which the shipped files do not hold."""
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("update features.customer_values set currency = 'EUR' where customer_id = 'euro'")
        transformer.execute("delete from features.exchange_rates")
        transformer.execute(
            "insert into features.exchange_rates values"
            " ('subscriptions', 'EUR', 'USD', '2026-01-01', '2026-10-31', 1.10),"
            " ('subscriptions', 'EUR', 'USD', '2026-10-31', null, %s),"
            " ('subscriptions', 'EUR', 'GBP', '2026-01-01', null, 5)",
            [rate],
        )


def score(settings: Settings, run: Run) -> None:
    """Give every eligible customer 0.2, from 0.1 to 0.4, as the scorer would."""
    with connect(settings, Role.SCORER) as scorer:
        scorer.execute("select ops.ensure_score_partition(%s)", [run.as_of_date])
        scorer.execute("select ops.choose_bases(%s)", [run.run_id])
        scorer.execute(
            "insert into scores.customer_scores (as_of_date, run_id, customer_id, churn_probability_raw,"
            " churn_probability, churn_probability_low, churn_probability_high, model_version,"
            " is_out_of_fold, feature_row_sha256, scored_at)"
            " select as_of_date, %s, customer_id, 0.2, 0.2, 0.1, 0.4, 'model-1', false, md5(customer_id),"
            " clock_timestamp() from features.customer_population"
            " where as_of_date = %s and known_as_of = %s and is_eligible",
            [run.run_id, run.as_of_date, run.known_as_of],
        )


def prepare(settings: Settings, day: date, rate: str) -> Run:
    """A night up to its scores, with what its inbox holds."""
    run = open_run(settings, "night", cut_off_after(day))
    land_inbox(settings, run.run_id)
    for layer in ("staging", "intermediate", "features"):
        build_layer(settings, run.run_id, layer, tested=layer == "features")  # type: ignore[arg-type]
    pay_in_euros(settings, rate)
    score(settings, run)
    return run


@pytest.fixture(scope="module")
def nights(
    subscriptions_server: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, list[Run]]]:
    """The first night published, the second built."""
    folder = tmp_path_factory.mktemp("money")
    settings = clone_warehouse(subscriptions_server).model_copy(update={"inbox_dir": folder})
    plans = [plan("P1", "2026-01-01T00:00:00Z")]
    begin = deliver_day(settings.inbox, FIRST, plans=plans, subscriptions=FIRST_DAY)
    land_path(settings, begin, first_load=True)
    first = prepare(settings, FIRST, "1.20")
    build_layer(settings, first.run_id, "marts")
    publish(settings, first)
    deliver_day(settings.inbox, SECOND, subscriptions=SECOND_DAY, invoices=BILLS)
    second = prepare(settings, SECOND, "1.20")
    refuse_unknown_currency(settings, second)
    build_layer(settings, second.run_id, "marts", tested=True)
    yield settings, [first, second]
    drop_warehouse(settings)


def refuse_unknown_currency(settings: Settings, run: Run) -> None:
    """A night with a currency that nobody gave a rate for ends with its name; then put it right."""
    for currency, found in (("JPY", 0), ("EUR", 2)):
        with connect(settings, Role.TRANSFORMER) as transformer:
            transformer.execute(
                "update features.customer_values set currency = %s where customer_id = 'euro'", [currency]
            )
            transformer.execute(
                "insert into features.exchange_rates values"
                " ('subscriptions', 'EUR', 'USD', '2026-10-30', null, 3)"
            )
        with pytest.raises(TransformationError, match=rf"{currency} to USD \(1 customers\): found {found}"):
            build_layer(settings, run.run_id, "marts")
        pay_in_euros(settings, "1.20")


def one(settings: Settings, statement: str, *parameters: object) -> dict[str, Any]:
    with connect(settings, Role.AUDITOR) as auditor:
        [row] = auditor.cursor(row_factory=dict_row).execute(statement, parameters).fetchall()
    return dict(row)


def kpis(settings: Settings, run: Run) -> dict[str, Any]:
    return one(settings, "select * from marts.churn_kpis_daily where run_id = %s", run.run_id)


def texts(row: Mapping[str, Any], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): str(value) for name, value in row.items() if name.startswith(prefix)}


def test_first_night_has_a_closing_and_no_movements(nights: tuple[Settings, list[Run]]) -> None:
    settings, [first, _] = nights
    found = kpis(settings, first)
    assert found["customer_closing_count"] == 11
    assert found["unvalued_customer_count"] == 1
    assert str(found["mrr_closing_amount"]) == "202.00"  # nine of 20 dollars, and 20 euros
    movements = [value for name, value in found.items()
                 if name.startswith(("mrr_", "customer_")) and not name.endswith(("closing_amount", "_closing_count"))]  # noqa: E501  # fmt: skip
    assert set(movements) == {None}


def test_revenue_goes_from_opening_to_closing_by_named_movements(nights: tuple[Settings, list[Run]]) -> None:
    settings, [_, second] = nights
    assert texts(kpis(settings, second), "mrr_") == {
        "opening_amount": "202.00",
        "restatement_amount": "17.00",  # left -20, dear +10, late +7, mended +20
        "currency_amount": "2.00",  # 20 euros from 1.10 to 1.20
        "new_amount": "11.00",
        "reactivation_amount": "13.00",
        "expansion_amount": "5.00",
        "contraction_amount": "-4.50",
        "churn_amount": "-20.00",
        "closing_amount": "225.50",
    }


def test_customers_go_from_opening_to_closing(nights: tuple[Settings, list[Run]]) -> None:
    settings, [_, second] = nights
    found = kpis(settings, second)
    assert texts(found, "customer_") == {
        "opening_count": "11",
        "restatement_count": "0",  # late is one more, left one less
        "new_count": "1",
        "reactivated_count": "1",
        "lost_count": "1",
        "closing_count": "12",
    }
    assert found["unvalued_customer_count"] == 0
    assert found["logo_churn_share"] == pytest.approx(1 / 11, abs=1e-6)


def test_retention_follows_the_customers_of_then_at_the_rates_of_then(
    nights: tuple[Settings, list[Run]],
) -> None:
    settings, [_, second] = nights
    found = kpis(settings, second)
    # Of 202.00: leaves and left are gone; down pays 15.50, up 25 and dear 30 instead of 20.
    assert found["gross_revenue_retention_share"] == pytest.approx((202 - 40 - 4.5) / 202, abs=1e-6)
    assert found["net_revenue_retention_share"] == pytest.approx((202 - 40 - 4.5 + 5 + 10) / 202, abs=1e-6)
    assert found["gross_revenue_retention_28d_share"] is None


def test_amounts_are_told_in_one_currency_beside_that_of_the_bill(nights: tuple[Settings, list[Run]]) -> None:
    settings, [_, second] = nights
    found = one(
        settings,
        "select currency, source_currency, source_monthly_value_amount::text as paid, exchange_rate::text,"
        " monthly_value_amount::text as monthly, value_at_risk_amount::text as at_risk"
        " from marts.fct_churn_score where run_id = %s and customer_id = 'euro'",
        second.run_id,
    )
    assert list(found.values()) == ["USD", "EUR", "20.00", "1.20000000", "24.00", "288.00"]
    assert one(settings, "select array_agg(distinct currency) from marts.revenue_at_risk_daily")[
        "array_agg"
    ] == ["USD"]


def test_contract_remains_for_the_months_begun_and_never_less_than_the_notice(
    nights: tuple[Settings, list[Run]],
) -> None:
    settings, [_, second] = nights
    with connect(settings, Role.AUDITOR) as auditor:
        found = dict(
            auditor.execute(
                "select customer_id, remaining_contract_months from features.customer_values"
                " where as_of_date = %s",
                [second.as_of_date],
            ).fetchall()
        )
    names = ("plain", "term", "longer", "over", "leaves")
    # November to April are six months; a term that has run out leaves the notice of one.
    assert [found[name] for name in names] == [1, 6, 7, 1, None]


def test_bills_of_the_month_are_compared_with_the_revenue(nights: tuple[Settings, list[Run]]) -> None:
    settings, [first, second] = nights
    with connect(settings, Role.TRANSFORMER) as transformer:
        found = dict(
            transformer.execute(
                "select run_id, status from ops.dbt_results"
                " where node_id like '%%.subscriptions__revenue_matches_invoices%%'"
            ).fetchall()
        )
    # Nobody had been billed on the first night; a warning lets it go on.
    assert found == {first.run_id: "warn", second.run_id: "pass"}


def test_interval_of_the_night_is_that_of_its_customers(nights: tuple[Settings, list[Run]]) -> None:
    settings, [_, second] = nights
    with connect(settings, Role.AUDITOR) as auditor:
        values = auditor.execute(
            "select value_at_risk_amount::double precision from marts.fct_churn_score"
            " where run_id = %s and churn_probability is not null",
            [second.run_id],
        ).fetchall()
    value = np.array(values, dtype=float)[:, 0]
    low, high = interval(np.full(len(value), 0.2), np.full(len(value), 0.3 / (2 * Z)), value)
    found = kpis(settings, second)
    ends = [float(found[f"expected_revenue_loss_{end}_amount"]) for end in ("low", "high")]
    assert ends == pytest.approx([low, high], abs=0.011)


def ran_test(settings: Settings, name: str) -> str:
    """The statement of a dbt test, as the night's build ran it."""
    folder = settings.home / "dbt/target/compiled/churn_warehouse/tests"
    return (folder / f"{name}.sql").read_text(encoding="utf-8")


OF_RUN = "where run_id = current_setting('churn.run_id')"
FAULTS = {
    "a movement is a cent off": ("mrr_movements_reconcile", "update marts.churn_kpis_daily"
                                 f" set mrr_new_amount = mrr_new_amount + 0.01 {OF_RUN}"),
    "a customer is lost twice": ("mrr_movements_reconcile", "update marts.churn_kpis_daily"
                                 f" set customer_lost_count = customer_lost_count + 1 {OF_RUN}"),
    "the previous night said otherwise": (
        "mrr_movements_reconcile", "update marts.churn_kpis_daily set mrr_closing_amount = 1"
        " where run_id <> current_setting('churn.run_id')"),
    "a closing is a cent off": ("marts_add_up", "update marts.churn_kpis_daily"
                                f" set mrr_closing_amount = mrr_closing_amount + 0.01 {OF_RUN}"),
    "money moves between segments": (
        "marts_add_up",
        f"update marts.revenue_at_risk_daily set segment = 'elsewhere' {OF_RUN}",
    ),
    "a group holds a customer of another": (
        "marts_add_up", f"update marts.risk_by_group_daily set customer_count = customer_count + 1 {OF_RUN}"),
    "a reason is counted of nobody": (
        "marts_add_up", "insert into marts.reason_by_tier_daily select run_id, scoring_run_key, as_of_date,"
        " as_of_date_key, known_as_of, risk_tier_key, risk_tier, risk_tier_sort, 'a__raises', 'a', 'raises',"
        f" true, 1, customer_count, 1 from marts.revenue_at_risk_daily {OF_RUN} limit 1"),
    "an unknown value is not counted": (
        "marts_add_up", "update marts.churn_kpis_daily set unvalued_customer_count = 1" f" {OF_RUN}"),
    "a rate is not the one applied": (
        "marts_add_up", f"update marts.fct_churn_score set exchange_rate = 2 {OF_RUN}"
        " and customer_id = 'euro'"),
    "an interval is above what can be lost": (
        "marts_add_up", "update marts.revenue_at_risk_daily"
        f" set expected_revenue_loss_high_amount = revenue_at_risk_amount + 0.01 {OF_RUN}"),
    "a month is not billed": ("subscriptions__revenue_matches_invoices",
                              "delete from staging.stg_subscriptions__invoices"
                              " where customer_id = 'plain'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_identity_fails_where_it_does_not_hold(nights: tuple[Settings, list[Run]], fault: str) -> None:
    settings, [_, second] = nights
    name, statement = FAULTS[fault]
    with connect(settings, Role.TRANSFORMER) as transformer:
        for setting, value in {"run_id": second.run_id, "as_of_date": str(second.as_of_date),
                               "known_as_of": second.known_as_of.isoformat(),
                               "label_definition": "subscriptions_30d"}.items():  # fmt: skip
            transformer.execute("select set_config(%s, %s, true)", [f"churn.{setting}", value])
        # Bills were compared before the source was made to bill in euros.
        transformer.execute("update features.customer_values set currency = 'USD'")
        assert transformer.execute(ran_test(settings, name)).fetchall() == []
        transformer.execute(statement)
        assert transformer.execute(ran_test(settings, name)).fetchall() != []
        transformer.rollback()
