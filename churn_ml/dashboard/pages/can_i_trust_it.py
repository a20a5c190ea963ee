"""Can I trust it: what the scores were worth once outcomes were known, and how the night was made."""

import pandas as pd
import streamlit as st

from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.charts import Field, bars_with_interval, field, reliability
from churn_ml.dashboard.charts_outcomes import within_interval
from churn_ml.dashboard.formats import show as show_value
from churn_ml.dashboard.formats import show_day
from churn_ml.dashboard.groups import group_label
from churn_ml.dashboard.layout import draw, finding, nothing, section, table, tile, tiles
from churn_ml.dashboard.making import show_campaigns, show_checks, show_costs, show_model
from churn_ml.dashboard.matured import choose_matured, why_no_outcome
from churn_ml.dashboard.metrics import metric
from churn_ml.dashboard.nights import Freshness, Night, freshness
from churn_ml.dashboard.trust import Level, headline, judge

_ICONS = {
    Level.GOOD: ":blue[:material/check_circle:]",
    Level.UNKNOWN: ":gray[:material/help:]",
    Level.CARE: ":orange[:material/warning:]",
    Level.BAD: ":red[:material/cancel:]",
}


def show(night: Night) -> None:
    """Draw the page."""
    performance = ask("trust_performance", as_of_date=night.as_of_date)
    checks = ask("trust_checks", scoring_run_key=night.scoring_run_key)
    age = freshness()
    why = "" if not performance.empty else why_no_outcome(night)
    grounds = judge(performance, _newest_tenths(performance, night), checks, age, why)
    finding(headline(grounds))
    _show_tiles(performance, night, age)
    st.markdown("  \n".join(f"{_ICONS[ground.level]} {ground.sentence}" for ground in grounds))
    if performance.empty:
        section("What became of the customers")
        nothing(why)
    else:
        _show_outcomes(performance, night)
    show_campaigns(night)
    show_checks(checks)
    show_costs(night)
    show_model(night)


def _newest_tenths(performance: pd.DataFrame, night: Night) -> pd.DataFrame:
    if performance.empty:
        return pd.DataFrame()
    newest = performance.iloc[0]["scored_run_key"]
    return ask("trust_tenths", scored_run_key=int(newest), as_of_date=night.as_of_date)


def _show_tiles(performance: pd.DataFrame, night: Night, age: Freshness) -> None:
    newest = None if performance.empty else performance.iloc[0]
    told = "outcome not known" if newest is None else f"scores of {show_day(newest['scored_as_of_date'])}"
    warned = None if newest is None else _warned(_lead_times(int(newest["scored_run_key"]), night))
    places = tiles(4)
    ratio, lift = (None, None) if newest is None else newest[["observed_expected_ratio", "top_decile_lift"]]
    tile(
        places[0],
        metric("observed_expected_ratio"),
        ratio,
        note=told,
        title=metric("observed_by_expected").title,
    )
    tile(places[1], metric("top_decile_lift"), lift, note=told)
    tile(places[2], metric("warned_share"), warned, note=told)
    tile(places[3], metric("data_age"), age.age_days, note=age.sentence())


def _lead_times(scored_run_key: int, night: Night) -> pd.DataFrame:
    return ask("trust_warnings", scored_run_key=scored_run_key, as_of_date=night.as_of_date)


def _warned(times: pd.DataFrame) -> float | None:
    """Return the share of leavers who had been warned of; None where nobody left."""
    return None if times.empty else float(times["flagged_count"].sum() / times["customer_count"].sum())


def _show_outcomes(performance: pd.DataFrame, night: Night) -> None:
    section(
        "Expected against what happened, night by night",
        "Of customers whose outcome is known and who were not treated. Bar: 90 % interval of the money "
        "expected to be lost; about nine dots in ten should lie in theirs. The same leaving counts in each "
        "night whose window it lies in, so nights are not added up.",
    )
    _draw_money(performance.sort_values("scored_as_of_date"))
    _list_nights(performance)
    section("One night's probabilities, held against what happened")
    scored = choose_matured(performance, key="trust_matured")
    tenths = ask("trust_tenths", scored_run_key=scored, as_of_date=night.as_of_date)
    left, right = st.columns(2, gap="large")
    with left:
        _draw_calibration(tenths)
    with right:
        _draw_lift(tenths, performance[performance["scored_run_key"] == scored].iloc[0])
    _show_lead_time(_lead_times(scored, night))


def _draw_money(performance: pd.DataFrame) -> None:
    currency = str(performance["currency"].iat[-1])
    known = performance.dropna(subset=["expected_revenue_loss_amount", "value_lost_amount"])
    if known.empty:
        nothing("The money of matured nights is not known: no customer's value was.")
        return
    known = known.assign(night=[f"{day.day} {day:%b %y}" for day in known["scored_as_of_date"]])
    draw(
        within_interval(
            known,
            Field("night", "Scores of"),
            field(metric("matured_expected_loss"), currency=currency),
            field(metric("matured_value_lost"), currency=currency),
            low="expected_revenue_loss_low_amount",
            high="expected_revenue_loss_high_amount",
            tooltip=[field(metric("observed_churned")), field(metric("expected_churned"))],
        ),
        "Expected revenue loss of each matured night with its interval, and what was lost.",
    )


def _list_nights(performance: pd.DataFrame) -> None:
    table(
        performance,
        {
            "scored_as_of_date": ("Scores of", "date"),
            "measured_count": ("Measured", "integer"),
            "churned_count": ("Left", "integer"),
            "expected_churned_count": ("Expected", "decimal"),
            "observed_expected_ratio": (metric("observed_by_expected").title, "decimal"),
            "roc_auc": ("ROC AUC", "decimal"),
            "top_decile_lift": ("Lift of highest tenth", "decimal"),
            "value_lost_amount": ("Value lost", "currency"),
            "expected_revenue_loss_amount": ("Loss expected", "currency"),
        },
        str(performance["currency"].iat[0]),
    )


def _draw_calibration(tenths: pd.DataFrame) -> None:
    st.markdown("**Calibration**: each dot a tenth of the customers by risk; on the dashed line is right.")
    draw(
        reliability(
            tenths,
            Field("mean_churn_probability", "Expected to leave", "percent"),
            Field("churned_share", "Left", "percent"),
            low="churned_share_low",
            high="churned_share_high",
            tooltip=[
                Field("bin_number", "Tenth", "integer"),
                field(metric("calibration_customers"), "customer_count"),
                field(metric("calibration_churned"), "churned_count"),
            ],
        ),
        "Share who left against the expected share, by tenth of the customers.",
    )


def _draw_lift(tenths: pd.DataFrame, performance: pd.Series) -> None:
    overall = performance["churned_count"] / performance["measured_count"]
    everyone = show_value(overall, "percent")
    st.markdown(f"**Lift by tenth**: how many times as often as all ({everyone}) each tenth left.")
    if not overall:
        nothing("Nobody left: there is no lift to tell.")
        return
    data = tenths.sort_values("bin_number", ascending=False).assign(
        tenth=lambda rows: [_tenth(int(number)) for number in rows["bin_number"]],
        lift=lambda rows: rows["churned_share"] / overall,
        low=lambda rows: rows["churned_share_low"] / overall,
        high=lambda rows: rows["churned_share_high"] / overall,
    )
    draw(
        bars_with_interval(
            data,
            Field("tenth", "Tenth by risk"),
            Field("lift", "Times as often as all", "decimal"),
            low="low",
            high="high",
            tooltip=[
                field(metric("calibration_customers"), "customer_count"),
                field(metric("calibration_churned"), "churned_count"),
            ],
            height=320,
        ),
        "How many times as often as all customers each tenth by risk left.",
    )


def _tenth(number: int) -> str:
    return {10: "10 (highest risk)", 1: "1 (lowest)"}.get(number, str(number))


def _show_lead_time(times: pd.DataFrame) -> None:
    if times.empty:
        section("How early the leavers were warned of")
        nothing("Nobody left within the window of this night.")
        return
    left, warned = int(times["customer_count"].sum()), int(times["flagged_count"].sum())
    days = times["mean_lead_days"].mul(times["flagged_count"]).sum() / warned if warned else None
    section(
        f"{warned} of {left} who left had been shown above low risk before"
        + (f", on average {days:.0f} days earlier" if days is not None else ""),
        "By the time from the first warning to the leaving. Left in gap: before the window of the score "
        "opened, too late to act on it.",
    )
    data = times.assign(label=times["lead_time"].map(group_label))
    warned_of = data.assign(kind="warned of", shown_count=data["flagged_count"])
    missed = data.assign(kind="not warned of", shown_count=data["customer_count"] - data["flagged_count"])
    draw(
        bars_with_interval(
            pd.concat([warned_of, missed]),
            Field("label", "Lead time"),
            Field("shown_count", "Customers who left", "integer"),
            colour=Field("kind", "Leavers"),
            is_stacked=True,
            tooltip=[field(metric("mean_lead_days"))],
        ),
        "Customers who left by the time from the first warning.",
    )
