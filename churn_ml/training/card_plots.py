"""The plots of a model card as inline SVG: the same data give the same bytes."""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from churn_ml.training.card_curves import Bin, Curve, DateRows, Decile, Distribution, ProfitCurve

# Okabe and Ito's blue and vermilion, dark enough for white paper; lines also differ in style and marker.
BLUE, VERMILION, INK, QUIET, LINE = "#005a8f", "#b84300", "#1b2733", "#5a6978", "#d9e0e7"
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": QUIET,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "path.simplify": True,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
_WIDTH, _HEIGHT = 4.7, 3.3
_MOST_BARS = 20
_WHOLE_PERCENT_FROM = 0.08


class _Plot:
    """One figure: ``with _Plot(...) as axes`` draws, `svg` is what came of it."""

    def __init__(self, name: str, description: str, *, height: float = _HEIGHT) -> None:
        self._name, self._description = name, description
        self._size = (_WIDTH, height)
        self.svg = ""

    def __enter__(self) -> Axes:
        self._style = mpl.rc_context(_STYLE | {"svg.hashsalt": self._name})
        self._style.__enter__()
        self._figure = Figure(figsize=self._size, layout="constrained")
        return self._figure.add_subplot()

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self.svg = self._render()
        finally:
            self._style.__exit__(*error)

    def _render(self) -> str:
        content = io.StringIO()
        FigureCanvasSVG(self._figure).print_svg(  # type: ignore[no-untyped-call]
            content, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
        drawing = content.getvalue()
        drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing[drawing.index("<svg ") :], flags=re.DOTALL)
        # Several drawings share the page: each id gets the name of its own, and the page gives the width.
        drawing = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{self._name}-", drawing)
        drawing = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', self._opening, drawing, count=1)
        drawing = drawing.replace("'DejaVu Sans'", "system-ui, sans-serif")
        return re.sub(r"\n\s*", "\n", drawing).strip()

    def _opening(self, found: re.Match[str]) -> str:
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'{found[1]} role="img" aria-label="{escape(self._description)}">'
        )


def reliability_plot(raw: Sequence[Bin], calibrated: Sequence[Bin]) -> str:
    """Draw what happened over what was predicted, before and after calibration."""
    plot = _Plot("reliability", "Reliability: churned share over mean probability in ten equal bins")
    with plot as axes:
        top = min(1.0, 1.08 * max(max(one.high, one.mean_probability) for one in [*raw, *calibrated]))
        axes.plot([0, top], [0, top], color=QUIET, linewidth=1, linestyle=":", label="perfect")
        axes.plot(
            [one.mean_probability for one in raw], [one.churned_share for one in raw],
            color=VERMILION, linestyle="--", linewidth=1.1, marker="^", markerfacecolor="white",
            label="before calibration",
        )  # fmt: skip
        middle = [one.churned_share for one in calibrated]
        axes.errorbar(
            [one.mean_probability for one in calibrated], middle,
            yerr=[
                [one.churned_share - one.low for one in calibrated],
                [one.high - one.churned_share for one in calibrated],
            ],
            color=BLUE, marker="o", capsize=2, elinewidth=1, label="after, with 90 % interval",
        )  # fmt: skip
        axes.set(
            xlabel="mean predicted probability", ylabel="share that churned", xlim=(0, top), ylim=(0, top)
        )
        _percent(axes, "xy")
        axes.legend(loc="upper left")
    return plot.svg


def distribution_plot(found: Distribution) -> str:
    """Draw which share of each outcome has which probability."""
    plot = _Plot("distribution", "Distribution of the calibrated probability by outcome")
    with plot as axes:
        stayed = [count / max(sum(found.stayed), 1) for count in found.stayed]
        churned = [count / max(sum(found.churned), 1) for count in found.churned]
        axes.stairs(stayed, found.edges, color=QUIET, fill=True, alpha=0.35, label="stayed")
        axes.stairs(churned, found.edges, color=VERMILION, linewidth=1.6, label="churned")
        axes.set(xlabel="calibrated probability", ylabel="share of the outcome", xlim=(0, found.edges[-1]))
        _percent(axes, "xy")
        axes.legend(loc="upper right")
    return plot.svg


def roc_plot(points: Curve, auc: float | None) -> str:
    """Draw the receiver operating characteristic."""
    plot = _Plot("roc", "ROC curve")
    with plot as axes:
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":", label="by chance")
        axes.plot(points.x, points.y, color=BLUE, label="model" if auc is None else f"model, AUC {auc:.3f}")
        axes.set(
            xlabel="share of stayers flagged", ylabel="share of churned found", xlim=(0, 1), ylim=(0, 1.01)
        )
        _percent(axes, "xy")
        axes.legend(loc="lower right")
    return plot.svg


def precision_recall_plot(points: Curve, base_rate: float, pr_auc: float | None) -> str:
    """Draw precision over recall."""
    plot = _Plot("precision_recall", "Precision over recall")
    with plot as axes:
        axes.axhline(base_rate, color=QUIET, linewidth=1, linestyle=":", label=f"by chance, {base_rate:.1%}")
        axes.plot(
            points.x, points.y, color=BLUE, label="model" if pr_auc is None else f"model, PR-AUC {pr_auc:.3f}"
        )
        axes.set(
            xlabel="share of churned found (recall)", ylabel="share of flagged that churned (precision)",
            xlim=(0, 1), ylim=(0, 1.02),
        )  # fmt: skip
        _percent(axes, "xy")
        axes.legend(loc="upper right")
    return plot.svg


def lift_plot(rows: Sequence[Decile]) -> str:
    """Draw the lift of each tenth of the customers."""
    plot = _Plot("lift", "Lift of each tenth of the customers, highest probability first")
    with plot as axes:
        places = range(1, len(rows) + 1)
        bars = axes.bar(places, [row.lift for row in rows], color=BLUE, width=0.72)
        axes.bar_label(bars, labels=[f"{row.lift:.1f}" for row in rows], padding=2, fontsize=8)
        axes.axhline(1, color=VERMILION, linewidth=1.2, linestyle="--", label="churn rate of all")
        axes.set(xlabel="tenth of customers, highest probability first", ylabel="churn rate over that of all")
        axes.set_xticks(list(places))
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper right")
    return plot.svg


def gain_plot(rows: Sequence[Decile]) -> str:
    """Draw the share of churned customers found by treating the highest tenths."""
    plot = _Plot("gain", "Cumulative gain: share of the churned found over share of customers")
    with plot as axes:
        counts = [row.row_count for row in rows]
        shares = [0.0, *(sum(counts[: index + 1]) / sum(counts) for index in range(len(rows)))]
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":", label="by chance")
        axes.plot(
            shares, [0.0, *(row.cumulative_gain for row in rows)], color=BLUE, marker="o", label="model"
        )
        axes.set(
            xlabel="share of customers, highest first",
            ylabel="share of churned found",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        _percent(axes, "xy")
        axes.legend(loc="lower right")
    return plot.svg


def profit_plot(curve: ProfitCurve) -> str:
    """Draw profit per customer over the share treated, with the acting point."""
    plot = _Plot("profit", "Profit per customer over the share of customers treated")
    with plot as axes:
        axes.axhline(0, color=QUIET, linewidth=1)
        axes.plot(
            curve.expected.x,
            curve.expected.y,
            color=VERMILION,
            linestyle="--",
            linewidth=1.2,
            label="expected by the model",
        )
        axes.plot(curve.realised.x, curve.realised.y, color=BLUE, label="realised")
        axes.plot(
            [curve.acting_share], [curve.acting_amount], color=INK, marker="D", markersize=6,
            linestyle="none",
            label=f"decision: {curve.acting_share:.0%} treated, {curve.acting_amount:.2f}",
        )  # fmt: skip
        axes.set(
            xlabel="share of customers treated, best first",
            ylabel=f"profit per customer, {curve.currency}",
            xlim=(0, 1),
        )
        _percent(axes, "x")
        axes.legend(loc="best")
    return plot.svg


def importance_plot(importance: Sequence[tuple[str, float]]) -> str:
    """Draw the mean absolute contribution of the strongest features."""
    shown = list(importance)[:_MOST_BARS]
    plot = _Plot(
        "importance", "Mean absolute contribution of each feature in log-odds", height=0.6 + 0.22 * len(shown)
    )
    with plot as axes:
        axes.barh([name for name, _ in shown], [value for _, value in shown], color=BLUE, height=0.7)
        axes.invert_yaxis()
        axes.set(xlabel="mean absolute contribution, log-odds")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    return plot.svg


def candidates_plot(candidates: Sequence[tuple[str, Mapping[str, Any]]], chosen: str) -> str:
    """Draw the log loss of each family with its interval."""
    plot = _Plot(
        "candidates", "Log loss of each candidate with its 90 % interval", height=0.7 + 0.26 * len(candidates)
    )
    with plot as axes:
        for place, (family, metrics) in enumerate(candidates):
            value = metrics.get("log_loss")
            if value is None:
                continue
            low, high = metrics.get("log_loss_low") or value, metrics.get("log_loss_high") or value
            is_chosen = family == chosen
            axes.errorbar(
                [value], [place], xerr=[[max(value - low, 0)], [max(high - value, 0)]], capsize=2,
                color=VERMILION if is_chosen else BLUE, marker="D" if is_chosen else "o",
            )  # fmt: skip
        axes.set_yticks(
            range(len(candidates)),
            [f"{family}{' (chosen)' if family == chosen else ''}" for family, _ in candidates],
        )
        axes.invert_yaxis()
        axes.set(xlabel="log loss, nats: lower is better")
        axes.tick_params(axis="y", length=0)
    return plot.svg


def dates_plot(rows: Sequence[DateRows]) -> str:
    """Draw churned share and mean probability by as-of date."""
    plot = _Plot("dates", "Churned share and mean probability by as-of date")
    with plot as axes:
        places = list(range(len(rows)))
        axes.plot(
            places, [row.churned_share for row in rows], color=BLUE, marker="o", label="share that churned"
        )
        axes.plot(
            places,
            [row.mean_probability for row in rows],
            color=VERMILION,
            linestyle="--",
            marker="^",
            label="mean probability",
        )
        step = max(1, -(-len(rows) // 5))
        axes.set_xticks(places[::step], [row.as_of_date for row in rows][::step])
        top = max(max(row.churned_share, row.mean_probability) for row in rows)
        axes.set(ylabel="share of customers", ylim=(0, 1.25 * top))
        _percent(axes, "y")
        axes.legend(loc="upper left", ncols=2)
    return plot.svg


def _percent(axes: Axes, which: str) -> None:
    for name in which:
        axis, (low, high) = (axes.xaxis, axes.get_xlim()) if name == "x" else (axes.yaxis, axes.get_ylim())
        axis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low >= _WHOLE_PERCENT_FROM else 1))
