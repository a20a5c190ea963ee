"""Sentences that several pages say alike."""

from datetime import date

import pandas as pd

from churn_ml.dashboard.formats import show, show_day
from churn_ml.dashboard.metrics import Metric

TIERS = {"low": "Low", "medium": "Medium", "high": "High"}
STATES = {"new": "New", **TIERS, "not_scored": "Not scored", "left": "Left", "absent": "Gone"}


def against(metric: Metric, now: object, before: object, since: date | None) -> str:
    """Return ", 4.0 % more than on 19 November 2026", or nothing where there is nothing to compare with."""
    change = metric.show_change(now, before)
    if change is None or since is None:
        return ""
    size = change.lstrip("+\N{MINUS SIGN}")
    if size == change:
        return f", {'' if now == before else 'about '}the same as on {show_day(since)}"
    return f", {size} {'more' if change.startswith('+') else 'less'} than on {show_day(since)}"


def counted(count: int, noun: str) -> str:
    """Return "1 month" or "3 months"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def interval(low: object, high: object, kind: str, currency: str = "") -> str | None:
    """Return "90 % interval: 1 to 2", or None where the model gives none."""
    if low is None or high is None or low != low or high != high:
        return None
    ends = show(low, kind), show(high, kind, currency)
    return f"90\N{NO-BREAK SPACE}% interval: {ends[0]} to {ends[1]}"


def last_two(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the newest row and the one before it, of nulls where there is none."""
    newest = rows.iloc[-1]
    before = rows.iloc[-2] if len(rows) > 1 else pd.Series(None, index=rows.columns, dtype=object)
    return newest, before


def comparable(now: pd.Series, before: pd.Series) -> pd.Series:
    """Return the night before, without the retention of 28 days where it spans other days than now.

    It is of the newest night at least 28 days before, however far back that is.
    """
    if now["retention_28d_days"] == before["retention_28d_days"]:
        return before
    shares = ["gross_revenue_retention_28d_share", "net_revenue_retention_28d_share"]
    return before.astype(object).where(~before.index.isin(shares), None)
