"""What was with one customer up to a night: scores, tiers, campaigns and outcomes."""

import pandas as pd
import streamlit as st

from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.charts import Field, field, line_with_interval, with_marks
from churn_ml.dashboard.formats import NOT_KNOWN, show_day
from churn_ml.dashboard.groups import group_label
from churn_ml.dashboard.layout import draw, nothing, section, table
from churn_ml.dashboard.metrics import metric
from churn_ml.dashboard.nights import Night
from churn_ml.dashboard.words import TIERS

_DAY = Field("as_of_date", "As-of date", "date")
_OUTCOMES = {
    "retained": "Stayed", "churned": "Left", "churned_in_gap": "Left before the window opened",
    "censored": "Cannot be told", "not_labelled": "Cannot be told",
}  # fmt: skip
_ARMS = {"treated": ", treated", "held_out": ", held out"}


def show_history(customer: int, night: Night) -> None:
    """Draw the risk over the published nights, and where another model gave it."""
    history = ask("customer_history", customer_key=customer, as_of_date=night.as_of_date)
    scored = history.dropna(subset=["churn_probability"])
    changed = scored[scored["model_version"] != scored["model_version"].shift()].iloc[1:]
    has_interval = scored["churn_probability_low"].notna().all()
    notes = ["With the 90 % interval of the calibration." if has_interval else "The model gives no interval."]
    notes.append(
        "An upright line: another model from here on." if len(changed) else "One model gave them all."
    )
    section(
        "The risk on one night" if len(scored) == 1 else f"The risk over {len(scored)} published nights",
        " ".join(notes),
        help=metric("churn_probability").help,
    )
    if scored.empty:
        nothing(f"No night up to {show_day(night.as_of_date)} scored this customer.")
        return
    chart = line_with_interval(
        scored,
        _DAY,
        field(metric("churn_probability")),
        low="churn_probability_low" if has_interval else None,
        high="churn_probability_high" if has_interval else None,
        tooltip=(Field("risk_tier", "Tier"), Field("model_version", "Model")),
    )
    if len(changed):
        chart = with_marks(chart, changed.assign(mark="new model"), _DAY, "mark")
    draw(chart, "Churn probability by night, with its interval and the changes of model")


def show_tiers(customer: int, night: Night) -> None:
    """List the spans in each tier."""
    section("Its tiers until now")
    tiers = ask("customer_tiers", customer_key=customer, as_of_date=night.as_of_date)
    if tiers.empty:
        st.caption("No change of tier is known up to this night.")
        return
    tiers = tiers.assign(tier=[_tier(row) for _, row in tiers.iterrows()])
    table(tiers, {"tier": "Tier", "valid_from": ("From", "date"), "span_days": ("For", "days")})


def _tier(row: pd.Series) -> str:
    return TIERS.get(row["risk_tier"]) or f"Not scored: {reason_for_no_score(row)}"


def show_campaigns(campaigns: pd.DataFrame) -> None:
    """List when the customer was treated or held out."""
    section("Campaigns that chose it")
    if campaigns.empty:
        st.caption("None up to this night.")
        return
    arms = ["Held out" if held_out else "Treated" for held_out in campaigns["is_held_out"]]
    table(
        campaigns.assign(arm=arms, treatment=campaigns["treatment"].map(group_label)),
        {
            "assigned_date": ("On", "date"),
            "arm": "Arm",
            "treatment": "Treatment",
            "cooldown_until_date": ("Rests until", "date"),
        },
    )


def show_outcomes(customer: int, night: Night) -> None:
    """List what became of the customer after each score whose outcome was due."""
    section("What became of it")
    outcomes = ask("customer_outcomes", customer_key=customer, as_of_date=night.as_of_date)
    if outcomes.empty:
        st.caption("No score of it has an outcome yet: its window is open, or the dataset has no dates.")
        return
    table(
        outcomes.assign(outcome=[_outcome(row) for _, row in outcomes.iterrows()]),
        {
            "scored_as_of_date": ("Scored on", "date"),
            "churn_probability": ("Probability", "percent"),
            "outcome": "Outcome",
            "value_lost_amount": ("Lost", "currency"),
        },
        night.currency,
    )


def _outcome(row: pd.Series) -> str:
    told = _OUTCOMES.get(row["outcome_status"], row["outcome_status"])
    return f"{told}{_ARMS.get(row['treatment_status'], '')}"


def reason_for_no_score(row: pd.Series) -> str:
    """Return why the customer has no score, in words."""
    return group_label(row["exclusion_reason"] or NOT_KNOWN).lower()
