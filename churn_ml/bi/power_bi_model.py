"""The semantic model of the marts as TMDL text: one file per table, and those that hold them together.

TMDL indents with tabs; what a name or a value may hold unquoted is in Microsoft's description of the
language (https://learn.microsoft.com/analysis-services/tmdl/tmdl-overview).
"""

import json
import re
from collections.abc import Mapping, Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from churn_ml.bi.power_bi_marts import Column, Mart, Metric
from churn_ml.bi.power_bi_measures import FORMATS, Measure, measures_of
from churn_ml.bi.power_bi_relationships import Relationship, relate

CULTURE = "en-US"
DATES = "dim_date"
DAY = "date_day"
_COMPATIBILITY_LEVEL = 1600
_NAMESPACE = uuid5(NAMESPACE_URL, "churn-ml/bi/powerbi")
_PLAIN_NAME = re.compile(r"\w+(?:-\w+)*", re.ASCII)
_DATE_FORMAT = "yyyy-mm-dd"
_TIME_FORMAT = "yyyy-mm-dd hh:nn:ss"


def tag(*path: str) -> UUID:
    """Return the identity of the object at `path`: the same in every generation."""
    return uuid5(_NAMESPACE, "/".join(path))


def quoted(name: str) -> str:
    """Return `name` as TMDL writes it: in single quotes where it holds more than letters and digits."""
    escaped = name.replace("'", "''")
    return name if _PLAIN_NAME.fullmatch(name) else f"'{escaped}'"


def model_files(
    marts: Sequence[Mart], metrics: Sequence[Metric], server: str, database: str
) -> Mapping[str, str]:
    """Return the files of the folder ``definition``, by path, for all marts and metrics.

    Parameters
    ----------
    marts, metrics
        What dbt and the seed declare.
    server, database
        First values of the parameters that say where the warehouse is.
    """
    relationships = relate(marts)
    measures = measures_of(metrics, {mart.name: mart for mart in marts}, relationships)
    files = {
        "database.tmdl": f"database\n\tcompatibilityLevel: {_COMPATIBILITY_LEVEL}\n",
        "model.tmdl": _model(marts),
        "expressions.tmdl": _parameters({"Server": server, "Database": database}),
        "relationships.tmdl": "\n".join(_relationship(end) for end in relationships),
        f"cultures/{CULTURE}.tmdl": _culture(),
    }
    for mart in marts:
        own = [measure for measure in measures if measure.mart == mart.name]
        told = [metric for metric in metrics if metric.mart == mart.name]
        files[f"tables/{mart.name}.tmdl"] = _table(mart, own, told, relationships)
    return files


def _model(marts: Sequence[Mart]) -> str:
    order = json.dumps(["Server", "Database", *(mart.name for mart in marts)], separators=(",", ":"))
    lines = [
        "model Model",
        f"\tculture: {CULTURE}",
        "\tdefaultPowerBIDataSourceVersion: powerBI_V3",
        f"\tsourceQueryCulture: {CULTURE}",
        "\tdataAccessOptions",
        "\t\tlegacyRedirects",
        "\t\treturnErrorValuesAsNull",
        "",
        # No hidden date table for each date column: dim_date is the date table.
        "annotation __PBI_TimeIntelligenceEnabled = 0",
        "",
        f"annotation PBI_QueryOrder = {order}",
        "",
        *(f"ref table {quoted(mart.name)}" for mart in marts),
        "",
        f"ref cultureInfo {CULTURE}",
        "",
    ]
    return "\n".join(lines)


def _parameters(values: Mapping[str, str]) -> str:
    blocks = []
    for name, value in values.items():
        literal = value.replace('"', '""')
        blocks.append(
            f"/// {name} of the warehouse.\n"
            f'expression {name} = "{literal}" meta [IsParameterQuery=true, Type="Text", '
            "IsParameterQueryRequired=true]\n"
            f"\tlineageTag: {tag('expression', name)}\n"
            "\n"
            "\tannotation PBI_ResultType = Text\n"
        )
    return "\n".join(blocks)


def _culture() -> str:
    language = json.dumps({"Version": "1.0.0", "Language": CULTURE}, indent=2).split("\n")
    lines = [f"cultureInfo {CULTURE}", "", "\tlinguisticMetadata =",
             *(f"\t\t\t{line}" for line in language), "\t\tcontentType: json", ""]  # fmt: skip
    return "\n".join(lines)


def _relationship(end: Relationship) -> str:
    name = tag("relationship", end.from_mart, end.from_column, end.to_mart, end.to_column)
    inactive = "" if end.is_active else "\tisActive: false\n"
    return (
        f"relationship {name}\n{inactive}"
        f"\tfromColumn: {quoted(end.from_mart)}.{quoted(end.from_column)}\n"
        f"\ttoColumn: {quoted(end.to_mart)}.{quoted(end.to_column)}\n"
    )


def _table(
    mart: Mart, measures: Sequence[Measure], metrics: Sequence[Metric], relationships: Sequence[Relationship]
) -> str:
    lines = [
        f"/// {mart.description}",
        f"table {quoted(mart.name)}",
        f"\tlineageTag: {tag('table', mart.name)}",
    ]
    if mart.name == DATES:
        lines.append("\tdataCategory: Time")
    blocks = ["\n".join(lines)]
    blocks += [_measure(measure) for measure in measures]
    hidden = _hidden(mart, relationships)
    blocks += [
        _column(mart, column, metrics, is_hidden=column.name in hidden, is_key=column.name == _key_of(mart))
        for column in mart.columns
    ]
    blocks += [_partition(mart)]
    return "\n\n".join(blocks) + "\n"


def _measure(measure: Measure) -> str:
    expression = measure.expression.split("\n")
    head = f"\tmeasure {quoted(measure.name)} ="
    if len(expression) == 1:
        head += f" {expression[0]}"
    else:
        head += "".join(f"\n\t\t\t{line}" for line in expression)
    lines = [
        f"\t/// {measure.description}",
        head,
        f"\t\tformatString: {measure.format_string}",
        *(["\t\tisHidden"] if measure.is_hidden else []),
        f"\t\tdisplayFolder: {measure.folder}",
        f"\t\tlineageTag: {tag('table', measure.mart, 'measure', measure.name)}",
    ]
    return "\n".join(lines)


def _column(mart: Mart, column: Column, metrics: Sequence[Metric], *, is_hidden: bool, is_key: bool) -> str:
    shown = _format_of(column, metrics)
    order = mart.sort_column(column.name)
    lines = [
        f"\t/// {column.description}",
        f"\tcolumn {quoted(column.name)}",
        f"\t\tdataType: {column.data_type}",
        *(["\t\tisHidden"] if is_hidden else []),
        *(["\t\tisKey"] if is_key else []),
        *([f"\t\tformatString: {shown}"] if shown else []),
        f"\t\tlineageTag: {tag('table', mart.name, 'column', column.name)}",
        f"\t\tsummarizeBy: {_summary_of(column, metrics)}",
        f"\t\tsourceColumn: {column.name}",
        *([f"\t\tsortByColumn: {quoted(order)}"] if order else []),
        "",
        # Without it Power BI would choose another way to add up a column.
        "\t\tannotation SummarizationSetBy = User",
    ]
    if column.sql_type == "date":
        lines += ["", "\t\tannotation UnderlyingDateTimeDataType = Date"]
    return "\n".join(lines)


def _partition(mart: Mart) -> str:
    return "\n".join([
        f"\tpartition {quoted(mart.name)} = m",
        "\t\tmode: import",
        "\t\tsource =",
        "\t\t\t\tlet",
        "\t\t\t\t    Source = PostgreSQL.Database(Server, Database),",
        f'\t\t\t\t    Mart = Source{{[Schema="marts",Item="{mart.name}"]}}[Data]',
        "\t\t\t\tin",
        "\t\t\t\t    Mart",
        "",
        "\tannotation PBI_ResultType = Table",
    ])  # fmt: skip


def _key_of(mart: Mart) -> str | None:
    """Return the one column that tells rows apart: of dates the day, which marks the date table."""
    if mart.name == DATES:
        return DAY
    refers = {reference.column for reference in mart.references}
    integers = [column.name for column in mart.columns
                if column.name in mart.unique_columns and column.data_type == "int64"
                and column.name.endswith("_key") and column.name not in refers]  # fmt: skip
    return integers[0] if integers else None


def _hidden(mart: Mart, relationships: Sequence[Relationship]) -> set[str]:
    """Return the columns that people do not read: keys, places in an order, dates that dim_date tells.

    A date that dim_date tells is hidden since the newest night is asked of dim_date: a slicer on the
    fact's own date would not reach it.
    """
    sorts = {order for column in mart.columns if (order := mart.sort_column(column.name))}
    names = {column.name for column in mart.columns}
    by_date = {end.from_column.removesuffix("_key") for end in relationships
               if end.from_mart == mart.name and end.to_mart == DATES and end.is_active}  # fmt: skip
    keys = {name for name in names if name.endswith(("_key", "_sort"))}
    runs = {name for name in names if name.endswith("run_id")} if mart.name != "dim_scoring_run" else set()
    return keys | sorts | runs | (by_date & names)


def _summary_of(column: Column, metrics: Sequence[Metric]) -> str:
    """Return how the column adds up by itself: only what adds up over dates too does, money never.

    Money is added by its measure, which shows nothing where currencies would mix.
    """
    adds_up = any(
        metric.column_name == column.name
        and (metric.aggregation, metric.over_dates) == ("sum", "sum")
        and metric.format != "currency"
        for metric in metrics
    )
    return "sum" if adds_up else "none"


def _format_of(column: Column, metrics: Sequence[Metric]) -> str | None:
    told = next(
        (metric.format for metric in metrics
         if column.name in {metric.column_name, metric.low_column, metric.high_column}
         and metric.aggregation != "ratio"),
        None,
    )  # fmt: skip
    if told:
        return FORMATS[told]
    if column.data_type == "dateTime":
        return _DATE_FORMAT if column.sql_type == "date" else _TIME_FORMAT
    by_ending = {"_amount": "currency", "_share": "percent", "_probability": "percent", "_count": "integer"}
    ending = next((kind for end, kind in by_ending.items() if column.name.endswith(end)), None)
    if ending:
        return FORMATS[ending]
    return "0" if column.data_type == "int64" else None
