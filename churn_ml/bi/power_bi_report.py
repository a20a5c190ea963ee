"""The report over the model: a page per question, each a few visuals placed on a grid, as PBIR JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from churn_ml.bi.power_bi_marts import Mart, Metric
from churn_ml.bi.power_bi_measures import RUNS
from churn_ml.errors import DeclarationError

_SCHEMAS = "https://developer.microsoft.com/json-schemas/fabric/item/report/definition"
_WIDTH, _HEIGHT = 1280, 720
_MARGIN = 16


@dataclass(frozen=True)
class Field:
    """A metric by its key, a column by its mart and name, or a measure of the night by its name."""

    name: str
    mart: str = ""
    end: str = ""
    is_measure: bool = False


@dataclass(frozen=True)
class Visual:
    """What is shown, how, and where: the place is x, y, width and height in pixels."""

    name: str
    kind: str
    title: str
    place: tuple[int, int, int, int]
    roles: Mapping[str, Sequence[Field]]
    sorted_by: Field | None = None
    is_descending: bool = False


@dataclass(frozen=True)
class Page:
    """A page and what it asks."""

    name: str
    title: str
    visuals: Sequence[Visual]


def column(mart: str, name: str) -> Field:
    """Return a column of a mart."""
    return Field(name, mart)


def metric(key: str, end: str = "") -> Field:
    """Return the measure of a metric, or of the ``low`` or ``high`` end of its interval."""
    return Field(key, end=end)


DAY = column("dim_date", "date_day")
TIER = column("dim_risk_tier", "risk_tier_label")
NIGHT = Field("Newest night", RUNS, is_measure=True)
CURRENCY = column("churn_kpis_daily", "currency")


def _card(row: int, place: int, key: str) -> Visual:
    """Return a card of the first or second row, at one of six places."""
    width = (_WIDTH - 7 * _MARGIN) // 6
    left = _MARGIN + place * (width + _MARGIN)
    return Visual(f"card_{key}", "card", "", (left, 84 + row * 100, width, 88), {"Values": [metric(key)]})


def _head(title: str, slicers: Sequence[Field] = (DAY,)) -> list[Visual]:
    """Return what every page begins with: its question, the night that it shows, and what to choose by."""
    width = 196
    choices = [
        Visual(f"choose_{field.name}", "slicer", "", (_WIDTH - (n + 1) * (width + _MARGIN), 12, width, 60),
               {"Values": [field]})
        for n, field in enumerate(slicers)
    ]  # fmt: skip
    return [
        Visual("question", "textbox", title, (_MARGIN, 12, 420, 60), {}),
        Visual("newest_night", "card", "", (452, 12, 180, 60), {"Values": [NIGHT]}),
        *choices,
    ]


PAGES = (
    Page(
        "who_will_churn",
        "Who will churn next",
        [
            *_head("Who will churn next?"),
            *(_card(0, n, key) for n, key in enumerate(
                ["active_customers", "customers_scored", "high_risk_customers", "high_risk_share",
                 "mean_churn_probability", "lost_customers"])),
            Visual("risk_by_probability", "clusteredColumnChart", "Customers by churn probability",
                   (16, 188, 616, 250),
                   {"Category": [column("risk_distribution_daily", "bucket_label")],
                    "Y": [metric("customers_in_bucket")]}),
            Visual("risk_by_tier", "clusteredBarChart", "Customers by risk tier", (648, 188, 616, 250),
                   {"Category": [TIER], "Y": [metric("customers_scored")]}),
            Visual("high_risk_over_time", "lineChart", "Share at high risk by night", (16, 454, 616, 250),
                   {"Category": [DAY], "Y": [metric("high_risk_share")]}),
            Visual("coming_and_going", "clusteredColumnChart", "Customers new, back and lost, by night",
                   (648, 454, 616, 250),
                   {"Category": [DAY], "Y": [metric("new_customers"), metric("reactivated_customers"),
                                             metric("lost_customers")]}),
        ],
    ),
    Page(
        "how_much_is_at_risk",
        "How much revenue is at risk",
        [
            *_head("How much revenue is at risk?", (DAY, CURRENCY)),
            *(_card(0, n, key) for n, key in enumerate(
                ["mrr", "revenue_at_risk", "high_risk_revenue", "expected_revenue_loss",
                 "customers_valued", "unvalued_customers"])),
            Visual("loss_by_segment", "clusteredBarChart", "Expected revenue loss by segment",
                   (16, 188, 616, 250),
                   {"Category": [column("revenue_at_risk_daily", "segment")],
                    "Y": [metric("expected_revenue_loss")]},
                   sorted_by=metric("expected_revenue_loss"), is_descending=True),
            Visual("loss_over_time", "lineChart", "Expected revenue loss by night, with its 90 % interval",
                   (648, 188, 616, 250),
                   {"Category": [DAY],
                    "Y": [metric("night_expected_loss"), metric("night_expected_loss", "low"),
                          metric("night_expected_loss", "high")]}),
            Visual("mrr_over_time", "clusteredColumnChart", "MRR by night", (16, 454, 616, 250),
                   {"Category": [DAY], "Y": [metric("mrr")]}),
            Visual("loss_by_tier_and_segment", "tableEx", "By risk tier and segment", (648, 454, 616, 250),
                   {"Values": [TIER, column("revenue_at_risk_daily", "segment"), metric("customers_scored"),
                               metric("revenue_at_risk"), metric("expected_revenue_loss"),
                               metric("expected_revenue_loss", "low"),
                               metric("expected_revenue_loss", "high")]}),
        ],
    ),
    Page(
        "whom_to_call_first",
        "Whom to call first",
        [
            *_head("Whom to call first?",
                   [column("retention_queue", name) for name in ("segment", "contract", "queue_status")]),
            *(_card(0, n, key) for n, key in enumerate(
                ["queue_length", "queue_expected_profit", "queue_expected_cost"])),
            Visual("queue", "tableEx", "The queue, first call first", (16, 188, 1248, 516),
                   {"Values": [column("retention_queue", name) for name in (
                       "queue_position", "customer_id", "risk_tier", "churn_probability", "risk_change_pts",
                       "value_at_risk_amount", "expected_revenue_loss_amount", "expected_profit_amount",
                       "currency", "segment", "contract", "recommended_action", "reason_1_sentence",
                       "reason_2_sentence", "reason_3_sentence")]},
                   sorted_by=column("retention_queue", "queue_position")),
        ],
    ),
    Page(
        "can_i_trust_it",
        "Can I trust it",
        [
            *_head("Can I trust it?"),
            *(_card(0, n, key) for n, key in enumerate(["data_age", "failed_nights"])),
            Visual("observed_by_expected", "lineChart",
                   "Customers who left and were expected to, by scored night", (16, 188, 616, 250),
                   {"Category": [DAY], "Y": [metric("observed_churned"), metric("expected_churned")]}),
            Visual("calibration", "tableEx", "Expected against observed, by tenth of a scored night",
                   (648, 188, 616, 250),
                   {"Values": [column("calibration", name) for name in (
                       "scored_as_of_date", "bin_number", "customer_count", "mean_churn_probability",
                       "churned_share", "churned_share_low", "churned_share_high")]}),
            Visual("money_by_expected", "tableEx", "Value lost against expected loss, by scored night",
                   (16, 454, 616, 250),
                   {"Values": [column("model_performance", "scored_as_of_date"), metric("customers_measured"),
                               metric("matured_expected_loss"), metric("matured_value_lost"),
                               metric("money_by_expected"), metric("observed_by_expected")]}),
            Visual("checks", "tableEx", "Checks of published nights", (648, 454, 616, 250),
                   {"Values": [column("run_checks", name) for name in (
                       "as_of_date", "gate", "check_name", "table_name", "severity", "verdict", "observed",
                       "owner")]}),
        ],
    ),
)  # fmt: skip
"""The pages in their order; a metric or column that is no longer there is refused by name."""


def report_files(marts: Sequence[Mart], metrics: Sequence[Metric]) -> Mapping[str, Any]:
    """Return the files of the report's folder ``definition`` as JSON values, by path.

    Raises
    ------
    DeclarationError
        If a page shows a metric or a column that there is none of.
    """
    titles = {item.metric: item for item in metrics}
    columns = {(mart.name, column.name) for mart in marts for column in mart.columns}
    fields = _Fields(titles, columns)
    files: dict[str, Any] = {
        "version.json": {"$schema": f"{_SCHEMAS}/versionMetadata/1.0.0/schema.json", "version": "2.0.0"},
        "report.json": {
            "$schema": f"{_SCHEMAS}/report/2.0.0/schema.json",
            "themeCollection": {
                "baseTheme": {
                    "name": "CY24SU10", "reportVersionAtImport": "5.55", "type": "SharedResources"
                }
            },
            "settings": {"useStylableVisualContainerHeader": True},
        },
        "pages/pages.json": {
            "$schema": f"{_SCHEMAS}/pagesMetadata/1.0.0/schema.json",
            "pageOrder": [page.name for page in PAGES],
            "activePageName": PAGES[0].name,
        },
    }  # fmt: skip
    for page in PAGES:
        files[f"pages/{page.name}/page.json"] = {
            "$schema": f"{_SCHEMAS}/page/2.0.0/schema.json",
            "name": page.name,
            "displayName": page.title,
            "displayOption": "FitToPage",
            "height": _HEIGHT,
            "width": _WIDTH,
        }
        for order, visual in enumerate(page.visuals):
            path = f"pages/{page.name}/visuals/{visual.name}/visual.json"
            files[path] = _container(visual, order, fields)
    return files


class _Fields:
    """Turns fields into the expressions of Power BI's queries, and refuses those that are not there."""

    def __init__(self, metrics: Mapping[str, Metric], columns: set[tuple[str, str]]) -> None:
        self.metrics = metrics
        self.columns = columns

    def named(self, field: Field) -> tuple[str, str, str]:
        """Return (Measure or Column, table, name) of `field`."""
        if field.is_measure:
            return "Measure", field.mart, field.name
        if field.mart:
            if (field.mart, field.name) not in self.columns:
                raise DeclarationError(_missing(f"column {field.mart}.{field.name}"))
            return "Column", field.mart, field.name
        told = self.metrics.get(field.name)
        if told is None:
            raise DeclarationError(_missing(f"metric {field.name}"))
        return "Measure", told.mart, f"{told.title}, {field.end}" if field.end else told.title

    def expression(self, field: Field) -> dict[str, Any]:
        """Return the expression that a query names the field by."""
        kind, table, name = self.named(field)
        return {kind: {"Expression": {"SourceRef": {"Entity": table}}, "Property": name}}

    def projection(self, field: Field) -> dict[str, Any]:
        """Return the field as a role of a visual holds it."""
        _, table, name = self.named(field)
        return {
            "field": self.expression(field),
            "queryRef": f"{table}.{name}",
            "nativeQueryRef": name,
        }


def _missing(what: str) -> str:
    return (
        f"Expected the pages of the Power BI report to show what there is, found no {what}. "
        "Mend PAGES in churn_ml/bi/power_bi_report.py."
    )


def _container(visual: Visual, order: int, fields: _Fields) -> dict[str, Any]:
    left, top, width, height = visual.place
    return {
        "$schema": f"{_SCHEMAS}/visualContainer/2.0.0/schema.json",
        "name": visual.name,
        "position": {
            "x": left, "y": top, "z": order * 1000, "height": height, "width": width, "tabOrder": order * 1000
        },
        "visual": _visual(visual, fields),
    }  # fmt: skip


def _visual(visual: Visual, fields: _Fields) -> dict[str, Any]:
    if visual.kind == "textbox":
        run = {"value": visual.title, "textStyle": {"fontWeight": "bold", "fontSize": "20pt"}}
        text = {"properties": {"paragraphs": [{"textRuns": [run]}]}}
        return {"visualType": "textbox", "objects": {"general": [text]}}
    query: dict[str, Any] = {
        "queryState": {
            role: {"projections": [fields.projection(field) for field in shown]}
            for role, shown in visual.roles.items()
        }
    }
    if visual.sorted_by:
        direction = "Descending" if visual.is_descending else "Ascending"
        query["sortDefinition"] = {
            "sort": [{"field": fields.expression(visual.sorted_by), "direction": direction}],
            "isDefaultSort": False,
        }
    shown = {"visualType": visual.kind, "query": query, "drillFilterOtherVisuals": True}
    if visual.title:
        words = visual.title.replace("'", "''")
        title = {"show": _literal("true"), "text": _literal(f"'{words}'")}
        general = {"altText": _literal(f"'{words}'")}
        shown["visualContainerObjects"] = {
            "title": [{"properties": title}], "general": [{"properties": general}]
        }  # fmt: skip
    return shown


def _literal(value: str) -> dict[str, Any]:
    return {"expr": {"Literal": {"Value": value}}}
