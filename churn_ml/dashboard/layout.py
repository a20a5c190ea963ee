"""What pages are made of: the finding, tiles, sections, charts, tables, and the reason for a gap."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import altair as alt
import pandas as pd
import streamlit as st

from churn_ml.dashboard.formats import is_shown_as_zero, show
from churn_ml.dashboard.metrics import Metric

_LEFT = ("text", "date", "month", "time")


def finding(sentence: str) -> None:
    """Draw what the page has found, as its main heading."""
    st.header(sentence, anchor=False)


def section(sentence: str, note: str | None = None, *, help: str | None = None) -> None:  # noqa: A002
    """Draw the heading of a part: what it shows, in a sentence, and how to read it."""
    st.subheader(sentence, anchor=False, help=help)
    if note:
        st.caption(note)


def tiles(count: int) -> list[Any]:
    """Return places for `count` tiles in a row; on a phone they stand below each other."""
    return st.columns(count, gap="small")


def tile(
    place: Any, metric: Metric, value: object, *, before: object = None, currency: str = "",
    against: str = "the night before", title: str | None = None, note: str | None = None,
    history: Iterable[float] | None = None,
) -> None:  # fmt: skip
    """Draw one number with its change against `before`, its definition as help, and its past as a line.

    Blue is better and orange is worse by the definition; the sign and the arrow say the direction. `note`
    is a line below, such as the target.
    """
    change = metric.show_change(value, before)
    is_seen = change is not None and not is_shown_as_zero(change)
    with place.container(border=True, height="stretch"):
        st.metric(
            title or metric.title,
            metric.show(value, currency),
            delta=None if change is None else change if is_seen else _no_change(value, before),
            delta_color=_colour(metric, value, before) if is_seen else "off",
            delta_arrow=_arrow(value, before) if is_seen else "off",
            delta_description=None if change is None else f"vs {against}",
            help=metric.help,
            chart_data=[point for point in history if point == point] if history is not None else None,
        )
        if note:
            st.caption(note)


def draw(chart: alt.Chart, alternative: str, *, key: str | None = None) -> None:
    """Draw a chart as wide as the page; `alternative` says what it shows to those who cannot see it."""
    st.altair_chart(chart, width="stretch", theme=None, alt=alternative, key=key)


def table(data: pd.DataFrame, columns: Mapping[str, str | tuple[str, str]], currency: str = "") -> None:
    """Draw a few rows as a plain table that every device reads.

    `columns` names what is shown: its title, or its title and its format of `formats.show`; numbers stand
    on the right.
    """
    titles = {column: told if isinstance(told, str) else told[0] for column, told in columns.items()}
    kinds = {column: "text" if isinstance(told, str) else told[1] for column, told in columns.items()}
    shown = pd.DataFrame(
        {
            titles[column]: [show(value, kinds[column], currency) for value in data[column]]
            for column in columns
        }
    )
    numbers = [titles[column] for column in columns if kinds[column] not in _LEFT]
    right: Any = [{"selector": "td, th", "props": "text-align: right !important"}]
    st.table(shown.style.set_table_styles(dict.fromkeys(numbers, right)), hide_index=True)


def nothing(reason: str, command: str | None = None) -> None:
    """Say why there is nothing to see here, and the next command where there is one."""
    st.info(f"{reason}\n\nNext: `{command}`" if command else reason, icon=":material/info:")


def _colour(metric: Metric, value: Any, before: Any) -> Literal["blue", "orange", "gray"]:
    is_better = metric.is_better(float(value), float(before))
    return "gray" if is_better is None else "blue" if is_better else "orange"


def _arrow(value: Any, before: Any) -> Literal["up", "down", "off"]:
    return "up" if value > before else "down" if value < before else "off"


def _no_change(value: Any, before: Any) -> str:
    return "unchanged" if value == before else "hardly changed"
