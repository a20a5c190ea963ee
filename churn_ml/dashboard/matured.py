"""Matured nights: those whose outcomes are known, which to look at, and why there are none."""

from collections.abc import Mapping
from datetime import date

import pandas as pd
import streamlit as st

from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.formats import show_day
from churn_ml.dashboard.nights import Night


def choose_matured(outcomes: pd.DataFrame, *, key: str) -> int:
    """Let the reader pick one of the scored nights in `outcomes`, the newest at first; return its key."""
    days: Mapping[int, date] = dict(
        zip(outcomes["scored_run_key"], outcomes["scored_as_of_date"], strict=True)
    )
    keys = sorted(days, key=lambda one: days[one], reverse=True)
    chosen = st.selectbox(
        "What became of the customers of the night of",
        keys,
        format_func=lambda one: show_day(days[one]),
        key=key,
        help="Nights whose outcome is known by the as-of date. Windows of neighbouring nights overlap: the "
        "same leaving is an outcome of each, so nights are not added up.",
    )
    return int(chosen)


def is_snapshot(night: Night) -> bool:
    """Say whether the night's model was trained on one row per customer, without dates."""
    model = ask("trust_model", scoring_run_key=night.scoring_run_key)
    return bool((model["validation"] == "cross_sectional").any())


def why_no_outcome(night: Night) -> str:
    """Return why no outcome is known."""
    if is_snapshot(night):
        return (
            "What happened is not known: this dataset has one snapshot per customer and no dates of leaving, "
            "so no score can be held against an outcome."
        )
    return (
        "What happened is not known yet: no published night's label window has closed by "
        f"{show_day(night.as_of_date)}. Outcomes come with later nights."
    )
