"""The look of charts: the palette of Okabe and Ito, told apart also by people who see no red or green."""

BLUE, ORANGE, VERMILION, SKY, GREEN, PURPLE, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#1F2933",
)  # fmt: skip
GRAY, LIGHT_GRAY, GRID, TEXT, QUIET_TEXT = "#8A96A3", "#C9D1D9", "#E6EAEE", "#1F2933", "#52606D"

SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, BLACK)
TIERS = {"low": SKY, "medium": ORANGE, "high": VERMILION}
# From almost white to dark blue: lightness alone tells the value.
SEQUENTIAL = ("#F1F6FA", "#C6DDEC", "#8DBBD9", "#4A94C2", "#0072B2", "#004A75")
BETTER, WORSE, NEITHER = BLUE, VERMILION, GRAY

FONT = '"Source Sans", "Source Sans Pro", sans-serif'

CONFIG = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": QUIET_TEXT, "titleColor": QUIET_TEXT, "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal", "gridColor": GRID, "domainColor": LIGHT_GRAY, "tickColor": LIGHT_GRAY,
        "labelPadding": 6, "titlePadding": 8, "labelOverlap": "greedy",
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False, "ticks": False},
    "legend": {
        "orient": "top", "direction": "horizontal", "title": None, "labelColor": TEXT, "labelFontSize": 12,
        "symbolType": "square", "symbolOpacity": 1, "symbolStrokeWidth": 0, "padding": 0, "offset": 8,
    },
    "range": {"category": list(SERIES), "heatmap": list(SEQUENTIAL), "ramp": list(SEQUENTIAL)},
    "bar": {"cornerRadiusEnd": 2},
    "line": {"strokeWidth": 2.25},
}  # fmt: skip
