"""Metric definitions as DAX measures: what a number means here is what it means in SQL.

A metric says how rows of one as-of date combine (``aggregation``) and what becomes of several dates
(``over_dates``). ``last`` counts the newest published night that the filters leave: that night is
asked of dim_scoring_run, so that a tier without customers in it shows nothing, and not an older
night. ``none`` has an answer for one night, or for one row where it does not combine, and is blank
otherwise; ``sum`` adds up, within one currency.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from churn_ml.bi import power_bi_dax as dax
from churn_ml.bi.power_bi_marts import Mart, Metric
from churn_ml.bi.power_bi_relationships import Relationship
from churn_ml.errors import DeclarationError

RUNS = "dim_scoring_run"
RUN_KEY = "scoring_run_key"
NEWEST_RUN = "Newest run key"

FORMATS = {
    "integer": "#,##0",
    "decimal": "#,##0.000",
    "percent": "0.0%",
    "points": "+0.00;-0.00;0.00",
    "days": "#,##0.0",
    "currency": "#,##0.00",
}
"""How Power BI shows the formats of metric definitions; the currency's code stands beside, in a column."""

_AGGREGATES = {"sum": "SUM", "mean": "AVERAGE", "count": "COUNT", "least": "MIN", "greatest": "MAX"}
_INTERVAL_FOLDER = "Intervals"


@dataclass(frozen=True)
class Measure:
    """A measure of the model, and the table under which people find it."""

    name: str
    mart: str
    expression: str
    format_string: str
    folder: str
    description: str
    is_hidden: bool = False


def measures_of(
    metrics: Sequence[Metric], marts: Mapping[str, Mart], relationships: Sequence[Relationship]
) -> list[Measure]:
    """Return the measures of all metrics, with the ends of their intervals, and those of the night.

    Raises
    ------
    DeclarationError
        If a metric names a mart, column, kind or format that there is none of.
    """
    found = _of_the_night(marts)
    for metric in metrics:
        mart = _mart_of(metric, marts)
        folder = metric.owner.capitalize()
        found.append(
            Measure(
                name=metric.title,
                mart=mart.name,
                expression=expression_of(metric, mart, relationships),
                format_string=_format_of(metric),
                folder=folder,
                description=f"{metric.formula}. Unit: {metric.unit}.",
            )
        )
        ends = [("low", "Lower", metric.low_column), ("high", "Upper", metric.high_column)]
        found += [
            Measure(
                name=f"{metric.title}, {end}",
                mart=mart.name,
                expression=_over_dates(metric, mart, relationships, _of_one_row(mart, column)),
                format_string=_format_of(metric),
                folder=f"{folder}\\{_INTERVAL_FOLDER}",
                description=f"{word} end of the 90 % interval of {metric.title}, of one row: intervals of "
                f"several rows do not add up. Unit: {metric.unit}.",
            )
            for end, word, column in ends
            if column
        ]
    _refuse_doubles(found)
    return found


def expression_of(metric: Metric, mart: Mart, relationships: Sequence[Relationship]) -> str:
    """Return the DAX of `metric` over the rows of its mart."""
    return _over_dates(metric, mart, relationships, _of_one_night(metric, mart))


def _of_one_night(metric: Metric, mart: Mart) -> str:
    operand = dax.column(mart.name, metric.column_name)
    if metric.aggregation == "none":
        return _of_one_row(mart, metric.column_name)
    if metric.aggregation in _AGGREGATES:
        return _filtered(metric, mart, dax.call(_AGGREGATES[metric.aggregation], operand))
    if metric.aggregation == "ratio":
        divisor = dax.call("SUM", dax.column(mart.name, metric.divisor_column))
        return dax.call("DIVIDE", _filtered(metric, mart, dax.call("SUM", operand)), divisor)
    if metric.aggregation == "weighted_mean":
        weight = dax.column(mart.name, metric.weight_column)
        weighed = dax.call("SUMX", dax.table(mart.name), f"{operand} * {weight}")
        known = dax.call("KEEPFILTERS", f"NOT ISBLANK ( {operand} )")
        weights = dax.call("CALCULATE", dax.call("SUM", weight), known)
        return dax.call("DIVIDE", _filtered(metric, mart, weighed), _filtered(metric, mart, weights))
    raise DeclarationError(
        f"Expected the aggregation of metric {metric.metric} to be none, ratio, weighted_mean, "
        f"{', '.join(_AGGREGATES)}, found {metric.aggregation!r}. Mend dbt_project/seeds/metrics.csv, or "
        "write its DAX in churn_ml/bi/power_bi_measures.py."
    )


def _filtered(metric: Metric, mart: Mart, expression: str) -> str:
    """Count only the rows that the metric's filter names; a count of none of several rows is 0."""
    if not metric.filter_column:
        return expression
    condition = f"{dax.column(mart.name, metric.filter_column)} = {_literal(metric, mart)}"
    counted = dax.call("CALCULATE", expression, dax.call("KEEPFILTERS", condition))
    if not metric.column_name.endswith("_count"):
        return counted
    return dax.call("IF", f"NOT ISEMPTY ( {dax.table(mart.name)} )", f"{counted} + 0")


def _literal(metric: Metric, mart: Mart) -> str:
    column = mart.column(metric.filter_column)
    kind = column.data_type if column else "missing"
    if kind == "string":
        return dax.text(metric.filter_value)
    if kind == "boolean" and metric.filter_value in {"true", "false"}:
        return f"{metric.filter_value.upper()} ()"
    if kind == "int64" and metric.filter_value.lstrip("-").isdigit():
        return metric.filter_value
    raise DeclarationError(
        f"Expected metric {metric.metric} to filter {mart.name} on a text, whole-number or boolean column, "
        f"found {metric.filter_column} ({kind}) = {metric.filter_value!r}. Mend "
        "dbt_project/seeds/metrics.csv."
    )


def _of_one_row(mart: Mart, column: str) -> str:
    rows = dax.call("COUNTROWS", dax.table(mart.name))
    return dax.call("IF", f"{rows} = 1", dax.call("MAX", dax.column(mart.name, column)))


def _over_dates(metric: Metric, mart: Mart, relationships: Sequence[Relationship], expression: str) -> str:
    if metric.over_dates == "last":
        newest = f"{dax.column(mart.name, RUN_KEY)} = NewestRun"
        night = dax.call("CALCULATE", expression, dax.call("KEEPFILTERS", newest))
        return dax.with_variables([("NewestRun", dax.measure(NEWEST_RUN))], night)
    if metric.over_dates == "sum":
        return _in_one_currency(metric, mart, expression)
    if metric.over_dates == "none":
        return _by_its_date(mart, relationships, _on_one_night(metric, mart, relationships, expression))
    raise DeclarationError(
        f"Expected over_dates of metric {metric.metric} to be last, sum or none, found "
        f"{metric.over_dates!r}. Mend dbt_project/seeds/metrics.csv."
    )


def _in_one_currency(metric: Metric, mart: Mart, expression: str) -> str:
    if metric.format != "currency":
        return expression
    return dax.call("IF", dax.call("HASONEVALUE", dax.column(mart.name, "currency")), expression)


def _on_one_night(metric: Metric, mart: Mart, relationships: Sequence[Relationship], expression: str) -> str:
    """Answer for one night only; what is read row by row is of one night by itself."""
    active = [end.from_column for end in relationships
              if end.from_mart == mart.name and end.to_mart == RUNS and end.is_active]  # fmt: skip
    if metric.aggregation == "none" or not active:
        return expression
    return dax.call("IF", dax.call("HASONEVALUE", dax.column(mart.name, active[0])), expression)


def _by_its_date(mart: Mart, relationships: Sequence[Relationship], expression: str) -> str:
    """Let dates filter a mart whose way to them is inactive, as that of the runs themselves."""
    to_dates = [end for end in relationships if end.from_mart == mart.name and end.to_mart == "dim_date"]
    if not to_dates or any(end.is_active for end in to_dates):
        return expression
    return dax.call("CALCULATE", expression, _use(to_dates[0]))


def _use(end: Relationship) -> str:
    ends = dax.column(end.from_mart, end.from_column), dax.column(end.to_mart, end.to_column)
    return dax.call("USERELATIONSHIP", *ends)


def _of_the_night(marts: Mapping[str, Mart]) -> list[Measure]:
    """Return what all states of a night hang on: which published night the filters leave as the newest."""
    runs = marts.get(RUNS)
    dates = runs.key_to("dim_date") if runs else ()
    if not dates:
        raise DeclarationError(
            f"Expected the mart {RUNS} to refer to dim_date, found no such {'key' if runs else 'mart'}: "
            "the newest published night cannot be told without it."
        )
    by_date = _use(Relationship(RUNS, dates[0].column, dates[0].to_mart, dates[0].to_column, is_active=False))
    day = dax.column(RUNS, dates[0].column)
    newest = dax.call("TOPN", "1", dax.table(RUNS), day, "DESC")
    key = dax.call("CALCULATE", dax.call("MAXX", newest, dax.column(RUNS, RUN_KEY)), by_date)
    night = dax.call("CALCULATE", dax.call("MAX", dax.column(RUNS, "as_of_date")), by_date)
    number = dax.call("CALCULATE", dax.call("COUNTROWS", dax.table(RUNS)), by_date)
    return [
        Measure(NEWEST_RUN, RUNS, key, "0", "Night",
                "Run of the newest published night that the filters leave; measures of states count it.",
                is_hidden=True),
        Measure("Newest night", RUNS, night, "yyyy-mm-dd", "Night",
                "As-of date of the newest published night that the filters leave."),
        Measure("Published nights", RUNS, number, FORMATS["integer"], "Night",
                "Published nights that the filters leave."),
    ]  # fmt: skip


def _mart_of(metric: Metric, marts: Mapping[str, Mart]) -> Mart:
    mart = marts.get(metric.mart)
    named = [metric.column_name, metric.divisor_column, metric.weight_column, metric.filter_column,
             metric.low_column, metric.high_column]  # fmt: skip
    needed = [name for name in named if name] + ([RUN_KEY] if metric.over_dates == "last" else [])
    if metric.over_dates == "sum" and metric.format == "currency":
        needed.append("currency")
    missing = needed if mart is None else [name for name in needed if mart.column(name) is None]
    if mart is None or missing:
        raise DeclarationError(
            f"Expected metric {metric.metric} to be told from columns of marts.{metric.mart}, found no "
            f"{', '.join(missing)} there. Mend dbt_project/seeds/metrics.csv."
        )
    return mart


def _format_of(metric: Metric) -> str:
    if metric.format not in FORMATS:
        raise DeclarationError(
            f"Expected the format of metric {metric.metric} to be one of {', '.join(FORMATS)}, found "
            f"{metric.format!r}. Mend dbt_project/seeds/metrics.csv, or add it to "
            "churn_ml/bi/power_bi_measures.py."
        )
    return FORMATS[metric.format]


def _refuse_doubles(measures: Sequence[Measure]) -> None:
    names = [measure.name.lower() for measure in measures]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DeclarationError(
            f"Expected every measure to have a name of its own, found twice: {', '.join(doubled)}. "
            "Give the metrics of dbt_project/seeds/metrics.csv other titles."
        )
