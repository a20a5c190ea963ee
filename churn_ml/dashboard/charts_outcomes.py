"""Charts of what was expected beside what happened, and of groups so small that they say little."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from churn_ml.dashboard import palette
from churn_ml.dashboard.charts import finished
from churn_ml.dashboard.encodings import Field, axis, label_axis, prepare
from churn_ml.dashboard.encodings import tooltip as tips_of

HAPPENED, EXPECTED = "Happened", "Expected"
_SCALE = alt.Scale(domain=[HAPPENED, EXPECTED], range=[palette.BLUE, palette.ORANGE])


def cells(
    data: pd.DataFrame,
    x: Field,
    y: Field,
    value: Field,
    count: Field,
    *,
    is_few: str,
    tooltip: Sequence[Field] = (),
) -> alt.Chart:
    """Return a heatmap with value and count in each cell, grey and dashed where `is_few` or not known.

    The colours span the other cells, so that a handful of customers cannot bleach them.
    """
    shown = prepare(data, (x, y, value, count, *tooltip), None, None)
    shown["is_gray"] = shown[is_few].astype(bool) | shown[value.column].isna()
    coloured = shown.loc[~shown["is_gray"], value.column]
    least, most = (float(coloured.min()), float(coloured.max())) if len(coloured) else (0.0, 1.0)
    is_dark = ~shown["is_gray"] & (shown[value.column] > least + 0.5 * (most - least))
    shown["ink"] = ["white" if dark else palette.TEXT for dark in is_dark]
    shown["count_line"] = [f"{text} customers" for text in shown[count.text_column]]
    base = alt.Chart(shown).encode(
        x=label_axis(x, shown, alt.X, is_across=True),
        y=label_axis(y, shown, alt.Y),
        tooltip=tips_of((y, x, value, count, *tooltip), None, None),
    )
    colours = alt.Scale(range=list(palette.SEQUENTIAL), domain=[least, most])
    layers = [
        base.transform_filter(~alt.datum.is_gray)
        .mark_rect(stroke="white", strokeWidth=2)
        .encode(color=alt.Color(value.column, type="quantitative", legend=None, scale=colours)),
        base.transform_filter(alt.datum.is_gray).mark_rect(
            fill=palette.GRID, stroke=palette.GRAY, strokeDash=[3, 3], strokeWidth=1
        ),
        base.mark_text(fontSize=14, fontWeight=600, dy=-8).encode(
            text=value.text_column, color=alt.Color("ink", type="nominal", scale=None)
        ),
        base.mark_text(fontSize=11, dy=10).encode(
            text="count_line", color=alt.Color("ink", type="nominal", scale=None)
        ),
    ]
    return finished(
        alt.layer(*layers).resolve_scale(color="independent"), 60 + 62 * shown[y.column].nunique()
    )


def happened_and_expected(
    data: pd.DataFrame,
    category: Field,
    happened: Field,
    expected: Field,
    *,
    low: str,
    high: str,
    is_across: bool = True,
    tooltip: Sequence[Field] = (),
    height: int | None = None,
) -> alt.Chart:
    """Return bars of what happened with its interval, and a stroke across each where it was expected."""
    shown = prepare(data, (category, happened, expected, *tooltip), low, high)
    shown = shown.assign(happened_kind=HAPPENED, expected_kind=EXPECTED)
    labels, along = (alt.Y, alt.X) if is_across else (alt.X, alt.Y)
    to = alt.X2 if is_across else alt.Y2
    side, length = ("y", "x") if is_across else ("x", "y")
    tips = tips_of((category, happened, expected, *tooltip), low, high)
    base = alt.Chart(shown).encode(
        **{side: label_axis(category, shown, labels, is_across=not is_across)}, tooltip=tips
    )
    at: dict[str, Any] = {length: axis(happened, shown, along, is_across=is_across)}
    ends = {length: along(low, type="quantitative"), f"{length}2": to(high)}
    layers = [
        base.mark_bar(opacity=0.85).encode(**at, color=_kind("happened_kind")),
        base.mark_rule(strokeWidth=1.75, color=palette.BLACK).encode(**ends),
        base.mark_tick(thickness=4, size=24, opacity=1).encode(
            **{length: along(expected.column, type="quantitative")}, color=_kind("expected_kind")
        ),
    ]
    rows = shown[category.column].nunique()
    return finished(alt.layer(*layers), height or (70 + 42 * rows if is_across else 300))


def within_interval(
    data: pd.DataFrame,
    x: Field,
    expected: Field,
    happened: Field,
    *,
    low: str,
    high: str,
    tooltip: Sequence[Field] = (),
    height: int = 280,
) -> alt.Chart:
    """Return the expected with its interval for each label of `x`, and a dot where it came to lie."""
    shown = prepare(data, (x, expected, happened, *tooltip), low, high)
    shown = shown.assign(happened_kind=HAPPENED, expected_kind=EXPECTED)
    base = alt.Chart(shown).encode(
        x=label_axis(x, shown, alt.X, is_across=True),
        tooltip=tips_of((x, expected, happened, *tooltip), low, high),
    )
    down = axis(expected, shown, alt.Y)
    layers = [
        base.mark_bar(size=26, opacity=0.3, cornerRadius=3, color=palette.ORANGE).encode(
            y=alt.Y(
                low, type="quantitative", title=expected.axis_title, axis=down["axis"], scale=down["scale"]
            ),
            y2=high,
        ),
        base.mark_tick(thickness=4, size=24, opacity=1).encode(
            y=alt.Y(expected.column, type="quantitative"), color=_kind("expected_kind")
        ),
        base.mark_circle(size=110, opacity=1).encode(
            y=alt.Y(happened.column, type="quantitative"), color=_kind("happened_kind")
        ),
    ]
    return finished(alt.layer(*layers), height)


def _kind(column: str) -> alt.Color:
    return alt.Color(column, type="nominal", scale=_SCALE)
