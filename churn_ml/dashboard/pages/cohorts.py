"""Cohorts: who is left of each month of signup, and how long customers stay by contract."""

import pandas as pd
import streamlit as st

from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.charts import Field, field, heatmap, line_with_interval
from churn_ml.dashboard.formats import show as show_value
from churn_ml.dashboard.groups import FEW_CUSTOMERS, group_label
from churn_ml.dashboard.layout import draw, finding, nothing, section, table
from churn_ml.dashboard.matured import is_snapshot
from churn_ml.dashboard.metrics import metric
from churn_ml.dashboard.nights import Night
from churn_ml.dashboard.survival import ALL, Stay, share_at, stays
from churn_ml.dashboard.words import counted

_NEWEST = {12: "12", 24: "24", 0: "all"}
# More cells than these in a row cannot be read as numbers on a laptop.
_LETTERED_UP_TO = 13
_TOLD_AT_MONTHS = (3, 12, 24)
_OF_LIVES = "A customer counts by the contract they began with."
_OF_A_SNAPSHOT = (
    "The file tells how long customers had stayed at one date and who left in one period: the curves compare "
    "contracts and are no forecast."
)


def show(night: Night) -> None:
    """Draw the page."""
    survival = ask("cohorts_survival", scoring_run_key=night.scoring_run_key)
    retention = ask("cohorts_retention", scoring_run_key=night.scoring_run_key)
    if survival.empty:
        nothing("How long customers stay is not known: nobody's leaving is known in this dataset yet.")
    else:
        told = stays(survival)
        finding(_finding(told))
        _show_survival(survival, told, is_snapshot=is_snapshot(night))
    section(
        "Who is left of each month of signup",
        "Share of the customers of a signup month who were still there so many months later (across). Only "
        "months that have passed for all of them are shown.",
    )
    if retention.empty:
        nothing(_why_no_cohort(night))
    else:
        show_retention(retention)


def _finding(told: list[Stay]) -> str:
    """Return the sentence of the contract that loses customers soonest."""
    by_contract = [stay for stay in told if stay.contract != ALL] or told
    return by_contract[0].sentence().split(", the longest")[0].rstrip(".")


def _show_survival(survival: pd.DataFrame, told: list[Stay], *, is_snapshot: bool) -> None:
    section(
        "How long customers stay, by contract",
        "Share of customers still there after so many months (Kaplan-Meier), with a band of 90 %. A band "
        "grows where few are followed that long. " + (_OF_A_SNAPSHOT if is_snapshot else _OF_LIVES),
    )
    order = [stay.contract for stay in told if stay.contract != ALL]
    shown = survival[survival["contract"] != ALL] if order else survival
    shown = pd.concat([shown[shown["contract"] == contract] for contract in order or [ALL]])
    shown = shown.assign(label=shown["contract"].map(group_label))
    draw(
        line_with_interval(
            shown,
            Field("lifetime_months", "Months since signup", "integer"),
            field(metric("survival")),
            low="survival_share_low",
            high="survival_share_high",
            colour=Field("label", "Contract"),
            is_stepped=True,
            tooltip=[field(metric("lifetimes_at_risk"))],
            height=320,
        ),
        "Share of customers still there by months since signup, one line per contract. "
        + " ".join(stay.sentence() for stay in told),
    )
    st.markdown("\n".join(f"- {stay.sentence()}" for stay in told))
    rows = [_row(survival, stay) for stay in told]
    table(pd.DataFrame(rows), {column: column for column in rows[0]})


def _row(survival: pd.DataFrame, stay: Stay) -> dict[str, str]:
    """Return what the table says of one contract."""
    half = "not seen" if stay.last_month else "too few to say"
    if stay.half_after_months is not None:
        half = counted(stay.half_after_months, "month")
    told = {
        "Contract": stay.label,
        "Seen to leave": show_value(stay.ended_count, "integer"),
        "Half gone after": half,
    }
    for month in _TOLD_AT_MONTHS:
        row = share_at(survival, stay.contract, month)
        share = "not followed" if row is None else show_value(row["survival_share"], "percent")
        told[f"Still there after {month} months"] = share
    return told


def _why_no_cohort(night: Night) -> str:
    if is_snapshot(night):
        return (
            "This dataset has no cohorts: its customers carry no date of signup, so nobody can be followed "
            "from month to month."
        )
    return (
        "No month of signup can be followed yet: it has to have passed, and to lie after the first leaving "
        "that is known."
    )


def show_retention(retention: pd.DataFrame) -> None:
    """Draw who is left of the newest months of signup, as many of them as the reader picks."""
    newest = st.segmented_control(
        "Newest months of signup",
        list(_NEWEST),
        default=12,
        required=True,
        format_func=_NEWEST.__getitem__,
        key="cohorts_newest",
    )
    months = sorted(retention["cohort_month"].unique(), reverse=True)[: newest or None]
    shown = retention[retention["cohort_month"].isin(months)].sort_values(
        ["cohort_month", "months_since_signup"]
    )
    month = Field("months_since_signup", "Months since signup", "integer")
    share = field(metric("cohort_retention"))
    draw(
        heatmap(
            shown,
            month,
            Field("cohort_month", "Signed up in", "month"),
            share,
            is_lettered=shown["months_since_signup"].nunique() <= _LETTERED_UP_TO,
            tooltip=[
                field(metric("cohort_retained")),
                field(metric("cohort_customers")),
            ],
            height=70 + (30 if len(months) <= 12 else 18) * len(months),
        ),
        f"Share of customers still there by month of signup and months since. {_oldest(shown)}",
    )
    st.caption(_oldest(shown))


def _oldest(shown: pd.DataFrame) -> str:
    """Say in words what became of the oldest cohort shown, and that small ones jump."""
    last = shown[shown["cohort_month"] == shown["cohort_month"].min()].iloc[-1]
    told = (
        f"Of the {show_value(last['customer_count'], 'integer')} customers who signed up in "
        f"{show_value(last['cohort_month'], 'month')}, {show_value(last['retained_share'], 'percent')} were "
        f"still there {counted(int(last['months_since_signup']), 'month')} later."
    )
    least = int(shown["customer_count"].min())
    if least < FEW_CUSTOMERS:
        told += f" The smallest month has {least} customers: one who leaves is {100 / least:.0f} points."
    return told
