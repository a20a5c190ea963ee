"""The charts of a run's report: SVG inside the page, coloured by its style sheet, without a script."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from churn_ml.dashboard.formats import show, signed

_BRIDGE_WIDTH, _BRIDGE_HEIGHT = 760, 250
_TOP, _BOTTOM = 24, 44
_SHARES_WIDTH = 540
# A narrower part has no room for its figure; the table beside it has them all.
_LEAST_SHARE_TOLD = 0.14


@dataclass(frozen=True)
class Step:
    """One column of a bridge: a level, or a movement from the level before."""

    label: str
    amount: float
    is_level: bool


def bridge(steps: Sequence[Step], currency: str) -> Markup:
    """Draw levels and the movements between them; the axis begins where the movements can be seen.

    Parameters
    ----------
    steps
        A level, movements in `currency`, and the level that they come to.
    """
    spans = _spans(steps)
    low, high = _range(spans)
    width = _BRIDGE_WIDTH / len(steps)
    plot_height = _BRIDGE_HEIGHT - _TOP - _BOTTOM

    def y_of(amount: float) -> float:
        return _TOP + plot_height * (high - amount) / (high - low)

    drawn = [Markup('<line class="axis" x1="0" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
        _BRIDGE_WIDTH, y=y_of(low))]  # fmt: skip
    for index, (step, (start, end)) in enumerate(zip(steps, spans, strict=True)):
        left = index * width
        top, bottom = y_of(max(start, end)), y_of(max(min(start, end), low))
        drawn += _column(step, left, width, top, max(bottom - top, 1.0), currency)
        if index:
            drawn.append(
                Markup('<line class="joint" x1="{:.1f}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
                    left - 0.12 * width, left + 0.12 * width, y=y_of(end if step.is_level else start)
                )
            )
    return _svg(_BRIDGE_WIDTH, _BRIDGE_HEIGHT, "Monthly recurring revenue from opening to closing", drawn)


def _spans(steps: Sequence[Step]) -> list[tuple[float, float]]:
    """Return from where to where each column reaches."""
    spans, level = [], 0.0
    for step in steps:
        start = 0.0 if step.is_level else level
        level = start + step.amount
        spans.append((start, level))
    return spans


def _range(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    ends = [end for _, end in spans]
    room = max(max(ends) - min(ends), 0.001 * max(map(abs, ends)), 0.01)
    low = min(ends) - room
    return (0.0 if 0 <= min(ends) < 2 * room else low), max(ends) + 0.05 * room


def _column(step: Step, left: float, width: float, top: float, height: float, currency: str) -> list[Markup]:
    kind = "level" if step.is_level else "up" if step.amount >= 0 else "down"
    middle = left + width / 2
    written = show(step.amount, "integer") if step.is_level else signed(step.amount, "integer")
    words = _two_lines(step.label)
    return [
        Markup(
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
            "<title>{}: {} {}</title></rect>"
        ).format(kind, left + 0.12 * width, top, 0.76 * width, height, step.label, written, currency),
        _text(middle, top - 6, written, "value"),
        *(
            _text(middle, _BRIDGE_HEIGHT - _BOTTOM + 17 + 15 * number, line)
            for number, line in enumerate(words)
        ),
    ]


def _two_lines(label: str) -> list[str]:
    """Break a label at the blank nearest to its middle."""
    blanks = [place for place, letter in enumerate(label) if letter == " "]
    if len(label) < 13 or not blanks:
        return [label]
    middle = min(blanks, key=lambda place: abs(place - len(label) / 2))
    return [label[:middle], label[middle + 1 :]]


def shares(rows: Sequence[tuple[str, Sequence[float]]], kinds: Sequence[str]) -> Markup:
    """Draw one bar per row, split by the shares (0-1) of `kinds`; each part tells its share."""
    left, bar, gap = 128, 28, 12
    width = _SHARES_WIDTH - left
    drawn: list[Markup] = []
    for number, (label, parts) in enumerate(rows):
        top = number * (bar + gap)
        drawn.append(_text(left - 10, top + bar / 2 + 4, label, "end"))
        at = float(left)
        for kind, share in zip(kinds, parts, strict=True):
            percent = show(share, "percent")
            drawn.append(
                Markup(
                    '<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}">'
                    "<title>{}, {}: {}</title></rect>"
                ).format(kind, at, top, max(share * width - 1.5, 0), bar, label, kind, percent)
            )
            if share >= _LEAST_SHARE_TOLD:
                drawn.append(_text(at + 7, top + bar / 2 + 4, percent, f"on-{kind}"))
            at += share * width
    height = len(rows) * (bar + gap) - gap
    return _svg(_SHARES_WIDTH, height, "How customers and money are spread over the risk tiers", drawn)


def _text(x: float, y: float, text: str, kind: str = "") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _svg(width: int, height: int, title: str, drawn: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, title, Markup("").join(drawn)
    )
