"""MRR bridge: monthly recurring revenue from opening to closing, by what moved it."""

from datetime import date, timedelta

import pandas as pd
import streamlit as st

from churn_ml.dashboard import palette
from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.charts import Field, field, line_with_interval, waterfall
from churn_ml.dashboard.formats import short_day, show_day
from churn_ml.dashboard.layout import draw, finding, nothing, section, table, tile, tiles
from churn_ml.dashboard.metrics import Metric, metric
from churn_ml.dashboard.nights import Night
from churn_ml.dashboard.words import comparable, last_two

_DAY = Field("as_of_date", "As-of date", "date")
_ABOUT_A_MONTH = timedelta(days=28)
# Column of the answer, label, metric that defines it; in the order of the bridge.
_STEPS = (
    ("restatement_amount", "Restated", "mrr_restatement"),
    ("currency_amount", "Exchange rates", "mrr_currency"),
    ("new_amount", "New", "mrr_new"),
    ("reactivation_amount", "Back", "mrr_reactivation"),
    ("expansion_amount", "Expansion", "mrr_expansion"),
    ("contraction_amount", "Contraction", "mrr_contraction"),
    ("churn_amount", "Churn", "mrr_churn"),
)


def show(night: Night) -> None:
    """Draw the page."""
    nights = ask("kpis_by_night", as_of_date=night.as_of_date)
    since = _chosen_opening(nights)
    bridge = ask("mrr_movements", since=since or night.as_of_date, as_of_date=night.as_of_date)
    if bridge.empty or bridge["is_incomplete"].iloc[0]:
        _show_no_bridge(night, nights)
        return
    moved = bridge.iloc[0]
    _show_finding(night, moved)
    _show_tiles(night, nights, moved)
    _show_bridge(night, moved)
    _show_past(night, nights)


def _chosen_opening(nights: pd.DataFrame) -> date | None:
    """Return the night that the bridge opens with; None where there is no earlier one."""
    newest = nights["as_of_date"].iloc[-1]
    built_on = dict(zip(nights["as_of_date"], nights["previous_as_of_date"], strict=True))
    earlier: list[date] = []
    while not pd.isna(day := built_on.get(earlier[-1] if earlier else newest)):
        earlier.append(day)
    if not earlier:
        return None
    month_ago = next((n for n, day in enumerate(earlier) if newest - day >= _ABOUT_A_MONTH), 0)
    chosen: date = st.selectbox(
        "From the closing of",
        earlier,
        index=month_ago,
        format_func=show_day,
        width=260,
        help="Movements of all nights since then are added up.",
    )
    return chosen


def _show_no_bridge(night: Night, nights: pd.DataFrame) -> None:
    closing = nights["mrr_closing_amount"].iloc[-1]
    told = metric("mrr")
    if pd.isna(closing):
        finding("Monthly recurring revenue is not known: no customer of this night has a monthly value")
        nothing("The dataset declares no monthly value, so there is nothing to bridge.")
        return
    finding(f"Monthly recurring revenue is {told.show(closing, night.currency)}; what moved it is not known")
    nothing("A bridge needs an earlier published night in the same currency whose customers have values.")


def _show_finding(night: Night, moved: pd.Series) -> None:
    change = moved["closing_amount"] - moved["opening_amount"]
    went = "rose" if change > 0 else "fell" if change < 0 else "did not change"
    by = f" by {night.money(abs(change))}" if change else ""
    finding(
        f"Monthly recurring revenue {went}{by} to {night.money(moved['closing_amount'])}"
        f" since {show_day(moved['opening_date'])}"
    )


def _show_tiles(night: Night, nights: pd.DataFrame, moved: pd.Series) -> None:
    first, second, third, fourth = tiles(4)
    since = short_day(moved["opening_date"])
    tile(
        first,
        metric("mrr_opening"),
        moved["opening_amount"],
        currency=night.currency,
        note=show_day(moved["opening_date"]),
    )
    tile(second, metric("mrr"), moved["closing_amount"], before=moved["opening_amount"],
         currency=night.currency, against=since)  # fmt: skip
    now, before = last_two(nights)
    span = "_28d" if pd.notna(now["gross_revenue_retention_28d_share"]) else ""
    against = short_day(night.previous_as_of_date) if night.previous_as_of_date else ""
    base = now["retention_28d_from_date" if span else "previous_as_of_date"]
    if span:
        before = comparable(now, before)
    for place, kind in ((third, "gross"), (fourth, "net")):
        column = f"{kind}_revenue_retention{span}_share"
        tile(place, metric(f"{kind}_revenue_retention{span}"), now[column], before=before[column],
             against=against, title=f"{kind.title()} retention", note=f"since {show_day(base)}")  # fmt: skip


def _show_bridge(night: Night, moved: pd.Series) -> None:
    steps = _bridge_of(moved)
    gained = sum(amount for amount in steps["amount"][1:-1] if amount > 0)
    lost = sum(amount for amount in steps["amount"][1:-1] if amount < 0)
    section(
        f"{night.money(gained)} came in and {night.money(-lost)} went out",
        "Grey: opening and closing, cut off at the foot. Blue adds, orange takes away, each with its sign.",
    )
    draw(
        waterfall(steps, Field("step", "Step"), Field("amount", "MRR", "currency", night.currency),
                  total="is_total", tooltip=(Field("meaning", "What it is"),)),
        "Monthly recurring revenue from opening to closing by movement",
    )  # fmt: skip
    with st.expander("The same in numbers, with definitions"):
        table(
            steps, {"step": "Step", "amount": ("Amount", "currency"), "meaning": "What it is"}, night.currency
        )


def _bridge_of(moved: pd.Series) -> pd.DataFrame:
    rows = [("Opening", moved["opening_amount"], "mrr_opening", True)]
    rows += [(label, moved[column], key, False) for column, label, key in _STEPS]
    steps = pd.DataFrame(rows, columns=["step", "amount", "metric", "is_total"])
    steps["meaning"] = [metric(key).formula for key in steps["metric"]]
    if moved["replaced_amount"]:
        steps.loc[len(steps)] = ["Replaced", moved["replaced_amount"], "", False,
                                 "What nights that were published anew say otherwise"]  # fmt: skip
    steps.loc[len(steps)] = ["Closing", moved["closing_amount"], "mrr", True, metric("mrr").formula]
    return steps


def _show_past(night: Night, nights: pd.DataFrame) -> None:
    left, right = st.columns(2, gap="large")
    mrr = metric("mrr")
    with left:
        first = nights.dropna(subset=["mrr_closing_amount"]).iloc[0]
        section(f"{mrr.title} since {show_day(first['as_of_date'])}", "By night.", help=mrr.help)
        draw(line_with_interval(nights, _DAY, field(mrr, currency=night.currency), from_zero=False),
             "Monthly recurring revenue by night")  # fmt: skip
    with right:
        _show_retention(nights)


def _told(nights: pd.DataFrame, gross: Metric) -> str:
    share = nights[gross.column_name].iloc[-1]
    if pd.isna(share):
        return "What customers of 28 days before still pay is not known"
    since = show_day(nights["retention_28d_from_date"].iloc[-1])
    return f"Customers of {since} still pay {gross.show(share)} of what they paid"


def _show_retention(nights: pd.DataFrame) -> None:
    gross, net = metric("gross_revenue_retention_28d"), metric("net_revenue_retention_28d")
    parts = [
        nights[["as_of_date", told.column_name]].rename(columns={told.column_name: "share"}).assign(kind=name)
        for told, name in ((gross, "Gross"), (net, "Net"))
    ]
    rows = pd.concat(parts, ignore_index=True).dropna(subset=["share"])
    section(
        _told(nights, gross),
        "Since the newest night at least 28 days before. Net counts what they pay more.",
        help=f"{gross.help} {net.help}",
    )
    if rows.empty:
        nothing("It takes two published nights at least 28 days apart.")
        return
    kind = Field("kind", "Retention", colours=(("Gross", palette.BLUE), ("Net", palette.ORANGE)))
    draw(line_with_interval(rows, _DAY, Field("share", "Revenue retention", "percent"), colour=kind,
                            from_zero=False),
         "Gross and net revenue retention of 28 days by night")  # fmt: skip
