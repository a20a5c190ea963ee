"""How a column becomes an axis, a colour or a tooltip, for all charts alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from churn_ml.dashboard import palette
from churn_ml.dashboard.formats import show
from churn_ml.dashboard.metrics import Metric

Shape = dict[str, Any]

AXIS_FORMATS = {
    "integer": "~s", "decimal": ",~f", "percent": ".3~p", "points": "+~g", "days": "~g", "currency": "~s",
    "date": "%-d %b", "month": "%b %Y",
}  # fmt: skip
OF_TIME = ("date", "month")
# So many days have room for a label each.
_FEW_DAYS = 12


@dataclass(frozen=True)
class Field:
    """One column of a frame as a chart shows it.

    `format` is one of `formats.show`; `colours` says which colour each label has, where it is fixed.
    """

    column: str
    title: str
    format: str = "text"
    currency: str = ""
    colours: tuple[tuple[str, str], ...] = ()

    @property
    def text_column(self) -> str:
        """The column that holds the values as people read them."""
        return f"{self.column}__text"

    @property
    def axis_title(self) -> str:
        """The title with the currency."""
        return f"{self.title}, {self.currency}" if self.currency else self.title


TIER = Field("risk_tier", "Risk tier", colours=tuple(palette.TIERS.items()))


def field(metric: Metric, column: str | None = None, currency: str = "") -> Field:
    """Return the field of a metric: its own column, or `column` where the question names it otherwise."""
    is_money = metric.format == "currency"
    return Field(column or metric.column_name, metric.title, metric.format, currency if is_money else "")


def optional(one: Field | None) -> tuple[Field, ...]:
    """Return a field that there may be."""
    return () if one is None else (one,)


def prepare(data: pd.DataFrame, fields: Sequence[Field], low: str | None, high: str | None) -> pd.DataFrame:
    """Return the rows whose first two fields are known, with every field also as people read it."""
    shown = data.dropna(subset=[one.column for one in fields[:2]]).reset_index(drop=True)
    for one in fields:
        shown[one.text_column] = [show(value, one.format, one.currency) for value in shown[one.column]]
    if low and high:
        measured = next(one for one in fields if one.format not in ("text", *OF_TIME))
        ends = zip(shown[low], shown[high], strict=True)
        shown["interval__text"] = [_interval(least, most, measured) for least, most in ends]
    for one in fields:
        if one.format in OF_TIME:
            shown[one.column] = [pd.Timestamp(day).strftime("%Y-%m-%d") for day in shown[one.column]]
    return shown


def tooltip(fields: Sequence[Field], low: str | None, high: str | None) -> list[alt.Tooltip]:
    """Return what is told of a mark: each field, and the interval where there is one."""
    tips = [alt.Tooltip(one.text_column, type="nominal", title=one.title) for one in dict.fromkeys(fields)]
    if low and high:
        tips.append(alt.Tooltip("interval__text", type="nominal", title="90 % interval"))
    return tips


def axis(
    one: Field, data: pd.DataFrame, channel: Any, *, is_across: bool = False, from_zero: bool = True,
    is_stacked: bool = False,
) -> Any:  # fmt: skip
    """Return the encoding of a field on `channel` (altair.X or altair.Y) by its format."""
    if one.format == "text":
        return label_axis(one, data, channel, is_across=is_across)
    if one.format in OF_TIME:
        return _time_axis(one, data, channel)
    return channel(
        one.column,
        type="quantitative",
        title=one.axis_title,
        stack="zero" if is_stacked else None,
        scale=alt.Scale(zero=from_zero),
        axis=number_axis(one),
    )


def number_axis(one: Field) -> alt.Axis:
    """Return the axis of a number: thousands as k, millions as m, no half customers."""
    look: Shape = {"tickCount": 5, "grid": True}
    if AXIS_FORMATS[one.format] == "~s":
        look["labelExpr"] = "replace(replace(format(datum.value, '~s'), 'M', 'm'), 'G', 'b')"
    else:
        look["format"] = AXIS_FORMATS[one.format]
    if one.format in ("integer", "days"):
        look["tickMinStep"] = 1
    return alt.Axis(**look)


def label_axis(one: Field, data: pd.DataFrame, channel: Any, *, is_across: bool = False) -> Any:
    """Return labels in the order of the rows; many of them across are turned, to be read on a phone."""
    order = list(dict.fromkeys(data[one.text_column]))
    is_crowded = len(order) > 4 and max(map(len, order)) > 3
    look: Shape = {"labelAngle": -40 if is_crowded else 0} if is_across else {}
    look |= {"labelLimit": 170, "labelOverlap": False, "grid": False, "ticks": False, "domain": False}
    return channel(one.text_column, type="nominal", sort=order, title=None, axis=alt.Axis(**look))


def hue(one: Field | None, data: pd.DataFrame) -> Shape:
    """Return the colour of each label: its own, or the next of the palette."""
    if one is None:
        return {}
    order = [str(label) for label in dict.fromkeys(data[one.column])]
    fixed, others = dict(one.colours), iter(palette.SERIES * 4)
    colours = [fixed[label] if label in fixed else next(others) for label in order]
    scale = alt.Scale(domain=order, range=colours)
    return {"color": alt.Color(one.column, type="nominal", sort=order, scale=scale)}


def _time_axis(one: Field, data: pd.DataFrame, channel: Any) -> Any:
    days = sorted(set(data[one.column]))
    spans_years = bool(days) and days[0][:4] != days[-1][:4]
    look: Shape = {"values": days} if len(days) <= _FEW_DAYS else {"tickCount": 6}
    look["format"] = "%-d %b %y" if one.format == "date" and spans_years else AXIS_FORMATS[one.format]
    return channel(
        one.column, type="temporal", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(**look)
    )


def _interval(low: object, high: object, one: Field) -> str:
    if low is None or high is None or low != low or high != high:
        return "not known"
    return f"{show(low, one.format)} to {show(high, one.format, one.currency)}"
