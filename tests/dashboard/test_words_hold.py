"""Sentences of the pages where a number is missing, small, or does not compare with the one before."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from app_pages import open_page, texts
from clones import clone_warehouse, drop_warehouse

import churn_ml.dashboard
from churn_ml.dashboard.layout import _no_change
from churn_ml.dashboard.pages.mrr_bridge import _told
from churn_ml.dashboard.pages.where_it_hurts import _finding as contract_finding
from churn_ml.dashboard.pages.who_to_call_first import _finding as queue_finding
from churn_ml.dashboard.pages.who_to_call_first import _why_short
from churn_ml.dashboard.report_facts import comparable_kpis
from churn_ml.dashboard.survival import stays
from churn_ml.dashboard.words import comparable
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import connect_admin

OLDER, NEWEST = date(2026, 10, 30), date(2026, 12, 16)
QUESTIONS = Path(churn_ml.dashboard.__file__).parent / "questions"
QUEUE = {
    "queue_count": 3, "to_treat_count": 0, "no_campaign_count": 1, "to_treat_profit_amount": None,
    "active_count": 50, "scored_count": 40, "resting_count": 0, "held_out_count": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def copied(shown: Settings) -> Iterator[Settings]:
    """The same warehouse, for tests that change it."""
    settings = clone_warehouse(shown)
    yield settings
    drop_warehouse(settings)


def admin_of(settings: Settings) -> psycopg.Connection:
    return connect_admin(settings, database=settings.warehouse_database)


def night(days: int | None, **more: object) -> pd.Series:
    shares = {"gross_revenue_retention_28d_share": 0.96, "net_revenue_retention_28d_share": 0.98}
    return pd.Series(
        {"retention_28d_days": days, "mrr_closing_amount": 100.0, **shares, **more}, dtype=object
    )


def test_contract_of_unknown_loss_is_not_the_one_that_costs_most() -> None:
    contracts = pd.DataFrame(
        {
            "customer_group": ["month_to_month", "one_year", "two_year"],
            "customer_count": [60, 30, 10],
            "expected_churned_count": [6.0, 2.0, 1.0],
            "expected_revenue_loss_amount": [300.0, 100.0, None],
        }
    )
    told = contract_finding(contracts, "EUR").replace("\N{NO-BREAK SPACE}", " ")
    assert told.startswith("Month-to-month contracts make 75.0 % of the expected loss: 300.00 EUR")


def test_retention_over_other_days_is_not_compared() -> None:
    assert comparable(night(28), night(28))["gross_revenue_retention_28d_share"] == 0.96
    other = comparable(night(49), night(31))
    assert (other["gross_revenue_retention_28d_share"], other["mrr_closing_amount"]) == (None, 100.0)


def test_report_leaves_out_what_does_not_compare() -> None:
    now = {"currency": "EUR", "as_of_date": NEWEST, "retention_28d_from_date": OLDER}
    amounts = {"mrr_closing_amount": 1, "gross_revenue_retention_28d_share": 0.9, "customer_closing_count": 5}
    assert comparable_kpis(now, now | amounts) == now | amounts
    before = now | amounts | {"currency": "USD", "as_of_date": date(2026, 12, 1)}
    kept = comparable_kpis(now, before)
    assert "customer_closing_count" in kept
    assert not {"mrr_closing_amount", "gross_revenue_retention_28d_share"} & set(kept)


def test_retention_names_the_night_it_is_counted_from() -> None:
    from churn_ml.dashboard.metrics import Metric

    gross = Metric(
        "m", "T", "mart", "gross_revenue_retention_28d_share", "F", "share", "percent", "higher", "o"
    )
    told = _told(pd.DataFrame([night(47, retention_28d_from_date=OLDER)]), gross)
    assert told.replace("\N{NO-BREAK SPACE}", " ") == (
        "Customers of 30 October 2026 still pay 96.0 % of what they paid"
    )


def test_queue_that_no_budget_reaches_states_no_earning() -> None:
    assert queue_finding(pd.Series(QUEUE), "EUR") == (
        "3 customers are worth a call; tonight's budget reaches nobody"
    )


def test_customers_without_a_score_are_told_apart() -> None:
    assert _why_short(pd.Series(QUEUE)) == (
        "The other 47 active customers are not expected to repay a call, or have no score (10)."
    )


def test_what_changed_too_little_to_see_is_not_called_unchanged() -> None:
    assert (_no_change(101_977.0, 101_977.0), _no_change(102_010.0, 101_977.0)) == (
        "unchanged",
        "hardly changed",
    )


@pytest.mark.parametrize(
    ("months", "at_risk"),
    [([0, 1, 2, 3], [40, 2, 400, 400]), ([2, 3, 4], [400, 400, 400]), ([0, 3, 4], [40, 400, 400])],
)
def test_half_gone_is_not_told_after_months_of_few(months: list[int], at_risk: list[int]) -> None:
    survival = pd.DataFrame(
        {
            "contract": "one_year",
            "lifetime_months": months,
            "at_risk_count": at_risk,
            "ended_count": 1,
            "survival_share": [1.0, 0.5, 0.48, 0.47][: len(months)],
        }
    )
    [told] = [stay.sentence() for stay in stays(survival)]
    assert (
        told
        == "Too few one-year customers were followed from their first month on to say how long they stay."
    )


def test_amounts_in_another_currency_are_not_compared(
    monkeypatch: pytest.MonkeyPatch, shown: Settings, copied: Settings
) -> None:
    with admin_of(copied) as admin:
        for mart in ("churn_kpis_daily", "revenue_at_risk_daily"):
            admin.execute(f"update marts.{mart} set currency = 'JPY' where as_of_date = %s".encode(), [OLDER])
    told = [texts(open_page(monkeypatch, each, "retention_summary")) for each in (shown, copied)]
    assert all("is expected to be lost to churn" in one for one in told)
    assert ["on 30 October 2026" in one.splitlines()[1] for one in told] == [True, False]


def test_night_made_up_for_later_counts_in_no_bridge(copied: Settings) -> None:
    """The newest night is built on the older one; one between them, published after, is built on it too."""
    statement = (QUESTIONS / "mrr_movements.sql").read_text(encoding="utf-8").encode()
    wanted = {"since": OLDER, "as_of_date": NEWEST}
    with admin_of(copied) as admin, admin.transaction(force_rollback=True):
        [before] = admin.execute(statement, wanted).fetchall()
        # The row is of no run: that keys are followed is not what is looked at here.
        admin.execute("set local session_replication_role = replica")
        admin.execute(
            "insert into marts.churn_kpis_daily select (jsonb_populate_record(kpis, jsonb_build_object("
            "'scoring_run_key', -1, 'as_of_date', date '2026-11-20'))).* from marts.churn_kpis_daily as kpis"
            " where as_of_date = %s",
            [NEWEST],
        )
        [after] = admin.execute(statement, wanted).fetchall()
    assert after == before
