"""Retention summary: who stays, how much is expected to be lost, and what changed since the night before."""

import pandas as pd
import streamlit as st

from churn_ml.dashboard import palette
from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.charts import Field, bars_with_interval, field, line_with_interval
from churn_ml.dashboard.formats import short_day, show_day, signed
from churn_ml.dashboard.formats import show as show_value
from churn_ml.dashboard.layout import draw, finding, nothing, section, table, tile, tiles
from churn_ml.dashboard.metrics import Metric, metric
from churn_ml.dashboard.nights import Night
from churn_ml.dashboard.words import STATES, TIERS, against, comparable, counted, interval, last_two

_ALL = "All tiers"
_DAY = Field("as_of_date", "As-of date", "date")


def show(night: Night) -> None:
    """Draw the page."""
    nights = ask("kpis_by_night", as_of_date=night.as_of_date)
    tiers = ask("tiers_by_night", as_of_date=night.as_of_date)
    now, before = last_two(nights)
    _show_finding(night, now, before)
    _show_tiles(night, nights, tiers)
    left, right = st.columns(2, gap="large")
    with left:
        _show_churn(nights, now)
    with right:
        _show_loss(night, nights, tiers)
    left, right = st.columns(2, gap="large")
    with left:
        _show_spread(night)
    with right:
        _show_moves(night)


def _show_finding(night: Night, now: pd.Series, before: pd.Series) -> None:
    loss = metric("night_expected_loss")
    amount = now["expected_revenue_loss_amount"]
    if pd.isna(amount):
        finding("What leaving would cost is not known: no customer of this night has a value")
        return
    change = against(loss, amount, before["expected_revenue_loss_amount"], night.previous_as_of_date)
    finding(f"{loss.show(amount, night.currency)} is expected to be lost to churn{change}")


def _show_tiles(night: Night, nights: pd.DataFrame, tiers: pd.DataFrame) -> None:
    now, before = last_two(nights)
    before = comparable(now, before)
    high = tiers[tiers["risk_tier"] == "high"].set_index("as_of_date")["customer_count"]
    since = short_day(night.previous_as_of_date) if night.previous_as_of_date else ""
    first, second, third = tiles(3)
    fourth, fifth, sixth = tiles(3)
    for place, key, note in (
        (first, "active_customers", None),
        (second, "logo_churn_28d", _target_note(now)),
        (third, "mrr", _unvalued_note(now)),
        (fourth, "gross_revenue_retention_28d", _retention_note(now)),
        (fifth, "night_expected_loss", interval(
            now["expected_revenue_loss_low_amount"], now["expected_revenue_loss_high_amount"], "currency",
            night.currency)),
    ):  # fmt: skip
        told = metric(key)
        tile(place, told, now[told.column_name], before=before[told.column_name], currency=night.currency,
             against=since, note=note, history=nights[told.column_name])  # fmt: skip
    counts = [int(high.get(day, 0)) for day in nights["as_of_date"]]
    tile(sixth, metric("high_risk_customers"), counts[-1], before=counts[-2] if len(counts) > 1 else None,
         against=since, history=counts, note=f"of {now['scored_customer_count']:,.0f} scored")  # fmt: skip


def _target_note(now: pd.Series) -> str:
    churn, target = now["logo_churn_28d_share"], now["logo_churn_28d_target_share"]
    if pd.isna(target):
        return "No target is set."
    told = f"Target: at most {metric('logo_churn_28d_target').show(target)}"
    if pd.isna(churn):
        return told
    distance = signed(100 * (churn - target), "points").lstrip("+\N{MINUS SIGN}")
    return f"{told}; {distance} {'above' if churn > target else 'below'}"


def _retention_note(now: pd.Series) -> str | None:
    """Say since when, since the newest night at least 28 days before may be older."""
    since = now["retention_28d_from_date"]
    return (
        None
        if pd.isna(since)
        else f"{show_value(now['retention_28d_days'], 'days')}: since {show_day(since)}"
    )


def _unvalued_note(now: pd.Series) -> str | None:
    count = int(now["unvalued_customer_count"])
    return f"Without the {count:,} customers whose value is not known." if count else None


def _show_churn(nights: pd.DataFrame, now: pd.Series) -> None:
    churn = metric("logo_churn_28d")
    known = nights.dropna(subset=["logo_churn_28d_share"])
    if known.empty:
        section("The churn rate of 28 days is not known yet", help=churn.help)
        nothing("It takes two published nights at least 28 days apart; datasets of one delivery have none.")
        return
    share, target = now["logo_churn_28d_share"], now["logo_churn_28d_target_share"]
    section(_told_against_target(churn, share, target), "Customers lost in 28 days; dashed: the target.",
            help=churn.help)  # fmt: skip
    draw(
        line_with_interval(known, _DAY, field(churn), target=None if pd.isna(target) else
                           "logo_churn_28d_target_share",
                           tooltip=(Field("logo_churn_28d_target_share", "Target", "percent"),)),
        "Churn rate of 28 days by night against the target",
    )  # fmt: skip


def _told_against_target(churn: Metric, share: float, target: float) -> str:
    if pd.isna(share):
        return "The churn rate of 28 days is not known for this night"
    rate = f"{churn.show(share)} of customers left in 28 days"
    if pd.isna(target):
        return rate
    side = "above" if share > target else "within"
    return f"{rate}, {side} the target of {churn.show(target)}"


def _show_loss(night: Night, nights: pd.DataFrame, tiers: pd.DataFrame) -> None:
    loss = metric("expected_revenue_loss")
    newest = tiers[tiers["as_of_date"] == night.as_of_date].dropna(subset=["expected_revenue_loss_amount"])
    if newest.empty:
        section("The expected loss is not known", help=loss.help)
        nothing("No customer of this night has a value: the dataset declares none.")
        return
    most = newest.sort_values("expected_revenue_loss_amount").iloc[-1]
    part = most["expected_revenue_loss_amount"] / newest["expected_revenue_loss_amount"].sum()
    section(
        f"{TIERS[most['risk_tier']]} risk carries {show_value(part, 'percent')} of the expected loss",
        "Expected revenue loss by tier; the band is the 90\N{NO-BREAK SPACE}% interval of all tiers.",
        help=loss.help,
    )
    whole = nights.assign(tier=_ALL)
    parts = tiers.assign(tier=tiers["risk_tier"].map(TIERS))
    colours = {_ALL: palette.BLUE} | {TIERS[tier]: colour for tier, colour in palette.TIERS.items()}
    draw(
        line_with_interval(
            pd.concat([whole, parts], ignore_index=True)[
                ["as_of_date", "tier", "expected_revenue_loss_amount", "expected_revenue_loss_low_amount",
                 "expected_revenue_loss_high_amount"]],
            _DAY, field(loss, currency=night.currency),
            low="expected_revenue_loss_low_amount", high="expected_revenue_loss_high_amount",
            colour=Field("tier", "Risk tier", colours=tuple(colours.items())),
        ),
        "Expected revenue loss by risk tier and night, with the interval of all tiers",
    )  # fmt: skip


def _show_spread(night: Night) -> None:
    buckets = ask("risk_buckets", scoring_run_key=night.scoring_run_key)
    told = metric("customers_in_bucket")
    occupied = buckets[buckets["customer_count"] > 0]
    if occupied.empty:
        section("Nobody was scored", help=told.help)
        nothing("No customer of this night was eligible for a score.")
        return
    safest = buckets.iloc[0]
    part = safest["customer_count"] / buckets["customer_count"].sum()
    section(f"{show_value(part, 'percent')} of the scored customers are below a risk of 5\N{NO-BREAK SPACE}%",
            "Customers by churn probability.", help=told.help)  # fmt: skip
    shown = buckets[buckets["bucket_number"] <= occupied["bucket_number"].max()]
    draw(
        bars_with_interval(
            shown, Field("bucket_label", "Churn probability"), field(told),
            tooltip=(field(metric("expected_revenue_loss"), currency=night.currency),),
        ),
        "Customers by churn probability",
    )  # fmt: skip


def _show_moves(night: Night) -> None:
    moves = ask("tier_moves", scoring_run_key=night.scoring_run_key)
    told = metric("customers_moved")
    since = moves["previous_as_of_date"].iloc[0] if len(moves) else None
    if since is None:
        section("Who changed tier is not known", help=told.help)
        nothing("No earlier night was published when this one was scored.")
        return
    rose = moves[(moves["to_state"] == "high") & moves["from_state"].isin(["low", "medium"])]
    count = int(rose["customer_count"].sum())
    section(
        f"{counted(count, 'customer')} rose to high risk since {show_day(since)}",
        "Customers by tier then (rows) and now (columns), less those who had left.",
        help=told.help,
    )
    seen = moves[moves["from_state"] != "left"]
    counts = seen.assign(then=seen["from_state"].map(STATES), now=seen["to_state"].map(STATES))
    rows, columns = (list(dict.fromkeys(counts.sort_values(f"{end}_state_sort")[name]))
                     for end, name in (("from", "then"), ("to", "now")))  # fmt: skip
    grid = counts.pivot_table(
        index="then", columns="now", values="customer_count", aggfunc="sum", fill_value=0
    )
    grid = grid.reindex(index=rows, columns=columns).reset_index()
    table(grid, {"then": "Then"} | {column: (column, "integer") for column in columns})
