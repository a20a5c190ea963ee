"""Charts over the answers to questions: each says its interval, and its tooltip says what the page says.

Every builder takes a frame and the fields to draw, and returns a chart as wide as its place. Labels of a
text field stand in the order of the rows. Rows whose value is null are not drawn.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import altair as alt
import pandas as pd

from churn_ml.dashboard import palette
from churn_ml.dashboard.encodings import (
    AXIS_FORMATS,
    TIER,
    Field,
    Shape,
    axis,
    field,
    hue,
    label_axis,
    number_axis,
    optional,
    prepare,
)
from churn_ml.dashboard.encodings import tooltip as tips_of

__all__ = [
    "HEIGHT",
    "TIER",
    "Field",
    "bars_with_interval",
    "field",
    "finished",
    "heatmap",
    "line_with_interval",
    "reliability",
    "waterfall",
    "with_marks",
]

HEIGHT = 280
# More points than these make a line a string of pearls.
_MANY_POINTS = 120
_DASHED = [5, 4]


def line_with_interval(
    data: pd.DataFrame, x: Field, y: Field, *, low: str | None = None, high: str | None = None,
    colour: Field | None = None, target: str | None = None, is_stepped: bool = False,
    tooltip: Sequence[Field] = (), from_zero: bool = True, height: int = HEIGHT,
) -> alt.Chart:  # fmt: skip
    """Return lines over a number or time, with the band between the columns `low` and `high`.

    `target` is a column with the value to reach, drawn dashed.
    """
    shown = prepare(data, (x, y, *optional(colour), *tooltip), low, high)
    across, down = axis(x, shown, alt.X, is_across=True), axis(y, shown, alt.Y, from_zero=from_zero)
    step: Shape = {"interpolate": "step-after"} if is_stepped else {}
    look = hue(colour, shown) or {"color": alt.value(palette.BLUE)}
    layers = []
    if low and high:
        band = alt.Chart(shown.dropna(subset=[low, high])).mark_area(opacity=0.16, **step)
        floor = axis(replace(y, column=low), shown, alt.Y, from_zero=from_zero)
        layers.append(band.encode(x=across, y=floor, y2=alt.Y2(high), **look))
    has_points = not is_stepped and len(shown) <= _MANY_POINTS
    points: Any = {"size": 36, "filled": True} if has_points else False
    tips = tips_of((x, *optional(colour), y, *tooltip), low, high)
    line = alt.Chart(shown).mark_line(point=points, **step)
    layers.append(line.encode(x=across, y=down, tooltip=tips, **look))
    if target:
        dashes = alt.Chart(shown).mark_line(strokeDash=_DASHED, color=palette.BLACK, strokeWidth=1.25)
        layers.append(dashes.encode(x=across, y=alt.Y(target, type="quantitative", title=y.axis_title)))
    return finished(alt.layer(*layers), height)


def bars_with_interval(
    data: pd.DataFrame, category: Field, value: Field, *, low: str | None = None, high: str | None = None,
    colour: Field | None = None, side_by_side: bool = False, is_stacked: bool = False,
    is_across: bool = True, tooltip: Sequence[Field] = (), height: int | None = None,
) -> alt.Chart:  # fmt: skip
    """Return bars with whiskers from `low` to `high`; across by default, so that a phone shows long labels.

    Colours of one category stand on each other where `is_stacked`, `side_by_side`, or else are the bar's own.
    """
    shown = prepare(data, (category, value, *optional(colour), *tooltip), low, high)
    labels, along = (alt.Y, alt.X) if is_across else (alt.X, alt.Y)
    places = ("y", "x") if is_across else ("x", "y")
    place: Shape = {
        places[0]: axis(category, shown, labels, is_across=not is_across),
        places[1]: axis(value, shown, along, is_across=is_across, is_stacked=is_stacked),
        "tooltip": tips_of((category, *optional(colour), value, *tooltip), low, high),
    }
    rows = shown[category.column].nunique()
    if side_by_side and colour:
        order = list(dict.fromkeys(shown[colour.column]))
        rows *= len(order)
        offset: Any = alt.YOffset if is_across else alt.XOffset
        place[f"{places[0]}Offset"] = offset(colour.column, sort=order)
    look = hue(colour, shown) or {"color": alt.value(palette.BLUE)}
    layers = [alt.Chart(shown).mark_bar().encode(**place, **look)]
    if low and high:
        place[places[1]] = along(low, type="quantitative", title=value.axis_title)
        place[f"{places[1]}2"] = (alt.X2 if is_across else alt.Y2)(high)
        whiskers = alt.Chart(shown.dropna(subset=[low, high])).mark_rule(
            strokeWidth=1.75, color=palette.BLACK
        )
        layers.append(whiskers.encode(**place))
    return finished(alt.layer(*layers), height or (max(120, 50 + 26 * rows) if is_across else HEIGHT))


def heatmap(
    data: pd.DataFrame, x: Field, y: Field, value: Field, *, tooltip: Sequence[Field] = (),
    low: str | None = None, high: str | None = None, is_lettered: bool = True, height: int | None = None,
) -> alt.Chart:  # fmt: skip
    """Return cells from light to dark by their value, which is written in them where `is_lettered`."""
    shown = prepare(data.dropna(subset=[value.column]), (x, y, value, *tooltip), low, high)
    least, most = float(shown[value.column].min()), float(shown[value.column].max())
    legend = alt.Legend(
        format=AXIS_FORMATS.get(value.format, ""), title=None, gradientLength=160, gradientThickness=10
    )
    scale = alt.Scale(range=list(palette.SEQUENTIAL), domain=[least, most])
    base = alt.Chart(shown).encode(
        x=label_axis(x, shown, alt.X, is_across=True),
        y=label_axis(y, shown, alt.Y),
        tooltip=tips_of((y, x, value, *tooltip), low, high),
    )
    shade = alt.Color(value.column, type="quantitative", legend=legend, scale=scale)
    layers = [base.mark_rect(stroke="white", strokeWidth=2).encode(color=shade)]
    if is_lettered:
        is_dark = alt.datum[value.column] >= least + 0.55 * (most - least)
        ink = alt.condition(is_dark, alt.value("white"), alt.value(palette.TEXT))
        # On a phone the letters of many columns would lie over each other.
        fits = alt.expr(f"width < {42 * shown[x.column].nunique()} ? 0 : 1")
        layers.append(base.mark_text(fontSize=12, opacity=fits).encode(text=value.text_column, color=ink))
    return finished(alt.layer(*layers), height or max(140, 70 + 34 * shown[y.column].nunique()))


def waterfall(
    data: pd.DataFrame, step: Field, amount: Field, *, total: str, tooltip: Sequence[Field] = (),
    height: int = 320,
) -> alt.Chart:  # fmt: skip
    """Return floating bars, one per row in order: the boolean column `total` says which stand on the ground.

    The axis starts just below what moves, since movements are small against the totals: the length of a bar
    that stands on the ground is no measure.
    """
    shown = _floating(prepare(data, (step, amount, *tooltip), None, None), amount, total)
    ground = float(shown.loc[shown[total], "starts"].min())
    ceiling = ground + 1.12 * (float(shown[["starts", "ends"]].max().max()) - ground)
    colours = {"total": palette.GRAY, "up": palette.BETTER, "down": palette.WORSE}
    look = alt.Scale(domain=list(colours), range=list(colours.values()))
    across = label_axis(step, shown, alt.X, is_across=True)
    down = alt.Y(
        "starts", type="quantitative", title=amount.axis_title,
        scale=alt.Scale(zero=False, domain=[ground, ceiling], nice=False), axis=number_axis(amount),
    )  # fmt: skip
    bars = alt.Chart(shown).mark_bar(cornerRadiusEnd=0).encode(
        x=across, y=down, y2="ends", tooltip=tips_of((step, amount, *tooltip), None, None),
        color=alt.Color("kind", type="nominal", legend=None, scale=look),
    )  # fmt: skip
    letters = alt.Chart(shown).mark_text(dy=-7, fontSize=11, color=palette.TEXT).encode(
        x=across, y=alt.Y("label_at", type="quantitative"), text="short__text"
    )  # fmt: skip
    return finished(alt.layer(bars, letters), height)


def reliability(
    data: pd.DataFrame, expected: Field, observed: Field, *, low: str, high: str,
    tooltip: Sequence[Field] = (), height: int = 320,
) -> alt.Chart:  # fmt: skip
    """Return what was observed against what was expected, with whiskers, and the line of equality."""
    shown = prepare(data, (expected, observed, *tooltip), low, high)
    most = 1.03 * float(max(shown[high].max(), shown[expected.column].max()))
    scale = alt.Scale(domain=[0, most], nice=False)
    ends = alt.Chart(pd.DataFrame({"at": [0.0, most]}))
    equal = ends.mark_line(strokeDash=_DASHED, color=palette.GRAY, strokeWidth=1.25).encode(
        x=alt.X("at", type="quantitative", scale=scale), y=alt.Y("at", type="quantitative", scale=scale)
    )
    across, down = (
        {"type": "quantitative", "title": one.axis_title, "scale": scale,
         "axis": number_axis(one)}
        for one in (expected, observed)
    )  # fmt: skip
    base = alt.Chart(shown).encode(
        x=alt.X(expected.column, **cast(Shape, across)),
        tooltip=tips_of((expected, observed, *tooltip), low, high),
    )
    whiskers = base.mark_rule(color=palette.BLUE, strokeWidth=1.75, opacity=0.7).encode(
        y=alt.Y(low, **cast(Shape, down)), y2=high
    )
    dots = base.mark_circle(size=70, color=palette.BLUE, opacity=1).encode(
        y=alt.Y(observed.column, **cast(Shape, down))
    )
    return finished(alt.layer(equal, whiskers, dots), height)


def with_marks(chart: alt.Chart, marks: pd.DataFrame, x: Field, label: str) -> alt.Chart:
    """Return `chart` with an upright line and its `label` (a column) at each row of `marks`."""
    shown = prepare(marks, (x,), None, None)
    base = alt.Chart(shown).encode(x=alt.X(x.column, type="temporal", scale=alt.Scale(type="utc")))
    tips = [alt.Tooltip(x.text_column, title=x.title), alt.Tooltip(label, title="What changed")]
    lines = base.mark_rule(strokeDash=[2, 3], color=palette.BLACK, opacity=0.6).encode(tooltip=tips)
    letters = base.mark_text(align="left", dx=4, fontSize=11, color=palette.QUIET_TEXT).encode(
        text=label, y=alt.value(8)
    )
    drawn = cast(Any, chart)
    # Layers of one frame leave it to the chart around them, which these do not keep.
    layers = [
        layer.properties(data=drawn.data) if layer.data is alt.Undefined else layer for layer in drawn.layer
    ]
    return finished(alt.layer(*layers, lines, letters), drawn.height)


def finished(chart: Any, height: int) -> alt.Chart:
    """Return a chart in the look of the house, without the menu that links to an editor elsewhere."""
    shaped = chart.properties(height=height, usermeta={"embedOptions": {"actions": False}})
    return cast(alt.Chart, shaped.configure(**palette.CONFIG))


def _floating(rows: pd.DataFrame, amount: Field, total: str) -> pd.DataFrame:
    """Add where each bar starts and ends, its colour and its label."""
    starts, ends, kinds, level = [], [], [], 0.0
    for value, is_total in zip(rows[amount.column], rows[total], strict=True):
        starts.append(level)
        level = float(value) if is_total else level + float(value)
        ends.append(level)
        kinds.append("total" if is_total else "up" if value > 0 else "down")
    lowest, highest = min(ends), max(ends)
    ground = max(0.0, lowest - 0.35 * max(highest - lowest, 0.002 * abs(highest)))
    return rows.assign(
        starts=[ground if is_total else start for start, is_total in zip(starts, rows[total], strict=True)],
        ends=ends,
        kind=kinds,
        label_at=[level if kind == "total" else max(start, level)
                  for start, level, kind in zip(starts, ends, kinds, strict=True)],
        short__text=[_short(value, is_signed=not is_total)
                     for value, is_total in zip(rows[amount.column], rows[total], strict=True)],
    )  # fmt: skip


def _short(value: float, *, is_signed: bool) -> str:
    """Return a number with at most three digits, for a label in a chart."""
    size, unit = next(
        ((abs(value) / one, letter) for one, letter in ((1e9, "b"), (1e6, "m"), (1e3, "k"))
         if abs(value) >= 0.9995 * one),
        (abs(value), ""),
    )  # fmt: skip
    sign = "\N{MINUS SIGN}" if value < 0 else "+" if is_signed and value > 0 else ""
    return f"{sign}{size:.3g}{unit}"
