"""Where it hurts, Cohorts and Can I trust it: what is chosen is shown, what is not known is said."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pandas as pd
import pytest
from app_pages import texts
from scipy.stats import binomtest
from streamlit.testing.v1 import AppTest

from churn_ml.dashboard.charts import Field
from churn_ml.dashboard.charts_outcomes import cells
from churn_ml.dashboard.groups import feature_label, group_label, wilson_interval
from churn_ml.dashboard.nights import Freshness
from churn_ml.dashboard.survival import stays
from churn_ml.dashboard.trust import Level, headline, judge

App = Callable[..., AppTest]

FRESH = Freshness(date(2026, 10, 30), date(2026, 10, 30), 0, is_stale=False, failed_since_count=0)
STALE = Freshness(date(2026, 10, 30), date(2026, 11, 9), 10, is_stale=True, failed_since_count=2)
PASSED = pd.DataFrame({"verdict": ["pass", "pass"], "severity": ["block", "warn"]})


def matured(*churned: int, expected: float = 50.0, is_within: bool = True) -> pd.DataFrame:
    """Nights of 2,000 measured customers, newest first."""
    return pd.DataFrame(
        [
            {
                "scored_as_of_date": date(2026, 9 - number, 28),
                "measured_count": 2000,
                "churned_count": count,
                "expected_churned_count": expected,
                "top_decile_lift": 4.0,
                "value_lost_amount": 900.0,
                "expected_revenue_loss_low_amount": 500.0,
                "expected_revenue_loss_high_amount": 1000.0,
                "is_value_lost_within_interval": is_within,
                "currency": "EUR",
            }
            for number, count in enumerate(churned)
        ]
    )


def tenths(*, missed: int = 0, highest_low: float = 0.06) -> pd.DataFrame:
    """Ten tenths, of which `missed` lie outside their interval."""
    return pd.DataFrame(
        {
            "mean_churn_probability": [0.5 if number < missed else 0.02 for number in range(9)] + [0.08],
            "churned_share_low": [0.01] * 9 + [highest_low],
            "churned_share_high": [0.03] * 9 + [0.12],
        }
    )


def judged(*churned: int, age: Freshness = FRESH, checks: pd.DataFrame = PASSED, **parts: Any) -> str:
    performance = matured(*churned, is_within=parts.pop("is_within", True)) if churned else pd.DataFrame()
    return headline(judge(performance, tenths(**parts), checks, age, "No outcome is known yet."))


@pytest.mark.parametrize(("count", "total"), [(0, 40), (3, 40), (57, 2933), (40, 40)])
def test_wilson_interval_is_scipys(count: int, total: int) -> None:
    reference = binomtest(count, total).proportion_ci(confidence_level=0.9, method="wilson")
    assert wilson_interval(count, total) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_numbers_are_trusted_where_everything_agrees() -> None:
    assert judged(53, 48).startswith("Yes: as many left as expected")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"age": STALE}, "Yes, with care: the newest night is stale"),
        ({"missed": 4}, "Yes, with care: some tenths by risk are off"),
        ({"is_within": False}, "Yes, with care: the loss was outside its interval"),
        (
            {"checks": PASSED.assign(verdict=["pass", "fail"])},
            "Yes, with care: 1 check warned",
        ),
        (
            {"checks": PASSED.assign(verdict=["error", "pass"])},
            "No: checks that block failed",
        ),
        ({"highest_low": 0.01}, "No: the order is no better than chance"),
    ],
)
def test_headline_names_what_is_wrong(parts: dict[str, Any], told: str) -> None:
    assert judged(53, 48, **parts) == told


def test_more_leavers_than_chance_explains_are_a_no() -> None:
    assert judged(90) == "No: more left than expected"
    assert judged(20) == "No: fewer left than expected"


def test_nights_that_all_err_to_one_side_ask_for_care() -> None:
    assert judged(57, 80, 55) == "Yes, with care: in each of 3 matured nights more left than expected"
    assert judged(57, 80, 45).startswith("Yes: "), "one miss of three is chance, and they err to both sides"
    assert judged(57, 80, 20) == "Yes, with care: 2 of 3 matured nights were off"


def test_scores_without_outcomes_are_not_proven() -> None:
    assert judged() == "Checked but not proven: no outcome is known"
    assert judged(age=STALE).endswith("; and the newest night is stale")
    levels = [ground.level for ground in judge(pd.DataFrame(), tenths(), PASSED.head(0), FRESH, "Not yet.")]
    assert levels == [Level.UNKNOWN, Level.UNKNOWN, Level.GOOD]


def test_half_gone_is_told_only_of_enough_customers() -> None:
    survival = pd.DataFrame(
        {
            "contract": ["all"] * 3 + ["one_year"] * 3 + ["two_year"] * 3,
            "lifetime_months": [0, 1, 2] * 3,
            "at_risk_count": [90, 80, 70, 60, 50, 40, 40, 35, 2],
            "ended_count": [0, 10, 40, 0, 10, 20, 0, 4, 1],
            "survival_share": [1.0, 0.9, 0.4, 1.0, 0.8, 0.45, 1.0, 0.9, 0.45],
        }
    )
    told = [stay.sentence() for stay in stays(survival)]
    assert told == [
        "Half of all customers are gone after 2 months.",
        "Half of the one-year customers are gone after 2 months.",
        "90.0\N{NO-BREAK SPACE}% of the two-year customers are still there after 1 month, the longest that "
        "enough of them were followed.",
    ]


def test_cells_of_few_customers_take_no_colour_and_stretch_no_scale() -> None:
    data = pd.DataFrame(
        {
            "contract": ["a", "b", "c", "d"],
            "tenure": ["new"] * 4,
            "share": [0.01, 0.03, 0.9, None],
            "count": [500, 400, 3, 200],
            "is_few": [False, False, True, False],
        }
    )
    share, count = Field("share", "Share", "percent"), Field("count", "Customers", "integer")
    chart = cells(
        data, Field("contract", "Contract"), Field("tenure", "Tenure"), share, count, is_few="is_few"
    )
    spec = chart.to_dict()
    assert spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == [0.01, 0.03]
    [drawn] = [rows for rows in spec["datasets"].values() if "is_gray" in rows[0]]
    assert [row["is_gray"] for row in drawn] == [False, False, True, True]
    assert drawn[3]["share__text"] == "not known"


def test_codes_are_told_in_words() -> None:
    assert group_label("90_to_364_days") == "90 to 364 days"
    assert feature_label("late_payments_90d") == "Late payments, 90 days"


def test_division_that_is_chosen_is_shown(app: App) -> None:
    page = app("where_it_hurts")
    assert "Month to month" in table_of(page)
    page.button_group(key="where_division").set_value("tenure_group").run()
    assert not page.exception
    assert "Month to month" not in table_of(page)
    assert "days" in table_of(page)


def test_loss_is_told_instead_of_churn(app: App) -> None:
    page = app("where_it_hurts")
    page.button_group(key="where_measure").set_value("Expected loss").run()
    assert not page.exception
    assert "No cell has enough customers" in texts(page)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("where_it_hurts", "What happened is not known yet: no published night's label window has closed"),
        ("can_i_trust_it", "Checked but not proven: no outcome is known"),
    ],
)
def test_night_without_outcomes_says_so(app: App, name: str, told: str) -> None:
    page = app(name)
    assert told not in texts(page)
    page.sidebar.selectbox(key="night").set_value("2026-10-30").run()
    assert not page.exception
    assert told in texts(page)


def show_three_cohorts() -> None:
    """Draw the cohorts of July to September; run by Streamlit, so it brings its own imports."""
    from datetime import date

    import pandas as pd

    from churn_ml.dashboard.pages.cohorts import show_retention

    counted = [(month, since, 40 - 5 * since) for month in (7, 8, 9) for since in range(10 - month)]
    told = [(date(2026, month, 1), since, 40, left, left / 40) for month, since, left in counted]
    columns = ["cohort_month", "months_since_signup", "customer_count", "retained_count", "retained_share"]
    show_retention(pd.DataFrame(told, columns=columns))


def test_oldest_month_of_signup_is_told_in_words(app: App) -> None:
    assert "No month of signup can be followed yet" in texts(app("cohorts"))
    page = AppTest.from_function(show_three_cohorts, default_timeout=60).run()
    assert not page.exception
    told = [caption.value.replace("\N{NO-BREAK SPACE}", " ") for caption in page.caption]
    assert "Of the 40 customers who signed up in July 2026, 75.0 % were still there 2 months later." in told


def table_of(page: AppTest) -> str:
    """Return the first table of the page as text."""
    return str(page.table[0].value)
