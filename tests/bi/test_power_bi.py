"""The Power BI project: generated the same every time, from the marts as they are, in DAX that means them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dax_reader
import pytest

from churn_ml.bi.power_bi import differences, project_files, write_project
from churn_ml.bi.power_bi_marts import Mart, Metric, read_marts, read_metrics
from churn_ml.bi.power_bi_measures import FORMATS, expression_of, measures_of
from churn_ml.bi.power_bi_relationships import ambiguous_pairs, relate
from churn_ml.cli.power_bi import powerbi
from churn_ml.errors import DeclarationError
from churn_ml.services.dbt_marts import describe_marts
from churn_ml.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
SEED = PROJECT / "dbt_project" / "seeds" / "metrics.csv"
FOLDER = PROJECT / "bi" / "powerbi"
WHERE = ("localhost:5432", "churn_subscriptions")
GENERATE = """
import json, sys
from pathlib import Path
from churn_ml.bi.power_bi import project_files, write_project
declared, seed, folder, *where = sys.argv[1:]
write_project(Path(folder), project_files(json.loads(Path(declared).read_text()), Path(seed), *where))
"""


@pytest.fixture(scope="module")
def declared(server: Settings) -> list[Mapping[str, Any]]:
    return describe_marts(server)


@pytest.fixture(scope="module")
def files(declared: list[Mapping[str, Any]]) -> Mapping[str, str]:
    return project_files(declared, SEED, *WHERE)


def test_the_project_is_what_the_marts_say(files: Mapping[str, str]) -> None:
    assert differences(FOLDER, files) == [], (
        "bi/powerbi and the marts drifted apart: run `.venv/bin/churn-ml powerbi` and commit what it writes"
    )


@pytest.mark.parametrize("fault", ["a column more", "another description", "a metric less"])
def test_drift_is_noticed(
    fault: str, declared: list[Mapping[str, Any]], files: Mapping[str, str], tmp_path: Path
) -> None:
    write_project(tmp_path / "written", files)
    marts, seed = json.loads(json.dumps(declared)), SEED
    if fault == "a column more":
        marts[0]["columns"].append({"name": "new_count", "data_type": "integer", "description": "New."})
    elif fault == "another description":
        marts[0]["description"] += " Changed."
    else:
        lines = SEED.read_text(encoding="utf-8").splitlines(keepends=True)
        seed = tmp_path / "metrics.csv"
        seed.write_text(
            "".join(line for line in lines if not line.startswith("days_in_tier,")), encoding="utf-8"
        )
    assert differences(tmp_path / "written", project_files(marts, seed, *WHERE)) != []


def test_the_command_writes_and_checks(
    server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("churn_ml.cli.power_bi.load_settings", lambda: server)

    def run(*, check: bool) -> Any:
        powerbi(out=tmp_path, server="db:5433", database="churn_telco", check=check, as_json=True)
        return json.loads(capsys.readouterr().out)

    (tmp_path / "README.md").write_text("kept", encoding="utf-8")
    written = run(check=False)
    assert len(written["changed"]) == written["files"] > 50
    assert run(check=True)["changed"] == []
    address = json.loads((tmp_path / "churn.pbids").read_text())["connections"][0]["details"]["address"]
    assert address == {"server": "db:5433", "database": "churn_telco"}
    (tmp_path / "churn.pbip").write_text("{}", encoding="utf-8")
    (tmp_path / "left_over.tmdl").write_text("", encoding="utf-8")
    with pytest.raises(BaseException, match="1") as ended:
        run(check=True)
    assert type(ended.value).__name__ == "Exit"
    assert json.loads(capsys.readouterr().out)["changed"] == ["churn.pbip", "left_over.tmdl"]
    run(check=False)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "README.md", "churn.pbids", "churn.pbip"
    ]  # fmt: skip


def test_generation_depends_on_neither_hashes_nor_locale(
    declared: list[Mapping[str, Any]], files: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "declared.json").write_text(json.dumps(list(reversed(declared))), encoding="utf-8")
    for seed, locale in (("1", "C"), ("2", "tr_TR.UTF-8")):
        folder = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", GENERATE, str(tmp_path / "declared.json"), str(SEED), str(folder), *WHERE],
            check=True, env=os.environ | {"PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": "Asia/Tokyo"},
        )  # fmt: skip
        assert differences(folder, files) == []


def test_files_are_plain_and_hold_no_secret(files: Mapping[str, str]) -> None:
    for path, text in files.items():
        assert text.endswith("\n"), path
        assert "\r" not in text, path
        lowered = text.lower()
        for word in ("password", "pwd=", "userid", "user id", "bi_reader", "/home", str(PROJECT).lower()):
            assert word not in lowered, (path, word)


def mart_of(declared: list[Mapping[str, Any]], name: str) -> Mart:
    return next(mart for mart in read_marts(declared) if mart.name == name)


@pytest.mark.parametrize(
    ("sql_type", "power_bi"),
    [
        ("integer", "int64"), ("bigint", "int64"), ("text", "string"), ("boolean", "boolean"),
        ("date", "dateTime"), ("timestamp with time zone", "dateTime"), ("double precision", "double"),
        ("numeric(18,2)", "decimal"), ("numeric(6,4)", "decimal"), ("numeric(18,8)", "double"),
    ],
)  # fmt: skip
def test_types_keep_every_digit(declared: list[Mapping[str, Any]], sql_type: str, power_bi: str) -> None:
    changed = json.loads(json.dumps(declared[0])) | {"constraints": []}
    changed["columns"][0]["data_type"] = sql_type
    assert read_marts([changed])[0].columns[0].data_type == power_bi


@pytest.mark.parametrize("sql_type", ["jsonb", "text[]", "numeric", "uuid", "None"])
def test_a_type_without_a_counterpart_is_refused(declared: list[Mapping[str, Any]], sql_type: str) -> None:
    changed = json.loads(json.dumps(declared[0]))
    changed["columns"][0]["data_type"] = sql_type
    name = f"{changed['name']}.{changed['columns'][0]['name']}"
    with pytest.raises(DeclarationError, match=f"Expected {name} to have one of the types"):
        read_marts([changed])


def test_there_is_one_way_between_two_tables(declared: list[Mapping[str, Any]]) -> None:
    related = relate(read_marts(declared))
    active = [end for end in related if end.is_active]
    assert ambiguous_pairs(active) == []
    for inactive in (end for end in related if not end.is_active):
        assert ambiguous_pairs([*active, inactive]) != [], f"{inactive} could be active"
    facts = {end.from_column: end.is_active for end in related if end.from_mart == "fct_churn_score"}
    assert facts == dict.fromkeys(
        ["scoring_run_key", "customer_key", "as_of_date_key", "model_key", "risk_tier_key"], True
    )
    outcomes = {end.from_column: end.is_active for end in related if end.from_mart == "model_performance"}
    assert outcomes == {
        "scored_run_key": True, "scored_as_of_date_key": True, "model_key": True,
        "scoring_run_key": False, "as_of_date_key": False,
    }  # fmt: skip
    moves = {end.from_column: end.is_active for end in related if end.from_mart == "fct_tier_change"}
    assert (moves["from_risk_tier_key"], moves["to_risk_tier_key"]) == (False, True)


def test_views_relate_as_the_tables_do(declared: list[Mapping[str, Any]]) -> None:
    related = {(end.from_mart, end.from_column, end.to_mart) for end in relate(read_marts(declared))}
    assert {
        ("customer_tier_history", "customer_key", "dim_customer"),
        ("customer_tier_history", "risk_tier_key", "dim_risk_tier"),
        ("run_checks", "scoring_run_key", "dim_scoring_run"),
        ("run_costs", "scoring_run_key", "dim_scoring_run"),
    } <= related


SAMPLE = Metric(
    metric="sample", title="Sample", mart="model_performance", column_name="churned_count", aggregation="sum",
    divisor_column="", weight_column="", filter_column="", filter_value="", over_dates="none", low_column="",
    high_column="", formula="Sample", unit="customers", format="integer", better_is="none", sort_order="1",
    owner="data science",
)  # fmt: skip
P = "'model_performance'"
R = "'revenue_at_risk_daily'"
ON_ONE_NIGHT = f"IF ( HASONEVALUE ( {P}[scored_run_key] ), {{}} )"
ON_THE_NEWEST = (
    "VAR NewestRun = [Newest run key] RETURN "
    f"CALCULATE ( {{}}, KEEPFILTERS ( {R}[scoring_run_key] = NewestRun ) )"
)
BY_DATE = "USERELATIONSHIP ( 'dim_scoring_run'[as_of_date_key], 'dim_date'[date_key] )"
HIGH = f'KEEPFILTERS ( {R}[risk_tier] = "high" )'
MEANINGS: list[tuple[str, dict[str, str], str]] = [
    ("sum on one night", {}, ON_ONE_NIGHT.format(f"SUM ( {P}[churned_count] )")),
    ("mean", {"aggregation": "mean"}, ON_ONE_NIGHT.format(f"AVERAGE ( {P}[churned_count] )")),
    ("count", {"aggregation": "count"}, ON_ONE_NIGHT.format(f"COUNT ( {P}[churned_count] )")),
    ("least", {"aggregation": "least"}, ON_ONE_NIGHT.format(f"MIN ( {P}[churned_count] )")),
    ("greatest", {"aggregation": "greatest"}, ON_ONE_NIGHT.format(f"MAX ( {P}[churned_count] )")),
    (
        "row by row",
        {"aggregation": "none", "column_name": "roc_auc"},
        f"IF ( COUNTROWS ( {P} ) = 1, MAX ( {P}[roc_auc] ) )",
    ),
    (
        "ratio",
        {"aggregation": "ratio", "divisor_column": "expected_churned_count"},
        ON_ONE_NIGHT.format(f"DIVIDE ( SUM ( {P}[churned_count] ), SUM ( {P}[expected_churned_count] ) )"),
    ),
    (
        "weighted mean, of rows where the value is known",
        {"aggregation": "weighted_mean", "column_name": "brier", "weight_column": "measured_count"},
        ON_ONE_NIGHT.format(
            f"DIVIDE ( SUMX ( {P}, {P}[brier] * {P}[measured_count] ), "
            f"CALCULATE ( SUM ( {P}[measured_count] ), KEEPFILTERS ( NOT ISBLANK ( {P}[brier] ) ) ) )"
        ),
    ),
    ("counts add up over dates", {"over_dates": "sum"}, f"SUM ( {P}[churned_count] )"),
    (
        "money adds up within one currency",
        {"over_dates": "sum", "column_name": "value_lost_amount", "format": "currency"},
        f"IF ( HASONEVALUE ( {P}[currency] ), SUM ( {P}[value_lost_amount] ) )",
    ),
    (
        "a state is that of the newest night",
        {"mart": "revenue_at_risk_daily", "column_name": "revenue_at_risk_amount", "over_dates": "last"},
        ON_THE_NEWEST.format(f"SUM ( {R}[revenue_at_risk_amount] )"),
    ),
    (
        "a filtered count of none is 0",
        {"mart": "revenue_at_risk_daily", "column_name": "customer_count", "over_dates": "last",
         "filter_column": "risk_tier", "filter_value": "high"},
        ON_THE_NEWEST.format(
            f"IF ( NOT ISEMPTY ( {R} ), CALCULATE ( SUM ( {R}[customer_count] ), {HIGH} ) + 0 )"
        ),
    ),
    (
        "a divisor counts all rows",
        {"mart": "revenue_at_risk_daily", "column_name": "customer_count", "over_dates": "last",
         "aggregation": "ratio", "divisor_column": "customer_count", "filter_column": "risk_tier",
         "filter_value": "high"},
        ON_THE_NEWEST.format(
            f"DIVIDE ( IF ( NOT ISEMPTY ( {R} ), CALCULATE ( SUM ( {R}[customer_count] ), {HIGH} ) + 0 ), "
            f"SUM ( {R}[customer_count] ) )"
        ),
    ),
    (
        "filtered money of none is not known",
        {"mart": "revenue_at_risk_daily", "column_name": "revenue_at_risk_amount", "over_dates": "last",
         "filter_column": "risk_tier", "filter_value": "high"},
        ON_THE_NEWEST.format(f"CALCULATE ( SUM ( {R}[revenue_at_risk_amount] ), {HIGH} )"),
    ),
    (
        "a filter on a boolean",
        {"filter_column": "is_value_lost_within_interval", "filter_value": "true", "aggregation": "mean",
         "column_name": "value_lost_amount"},
        ON_ONE_NIGHT.format(
            f"CALCULATE ( AVERAGE ( {P}[value_lost_amount] ), "
            f"KEEPFILTERS ( {P}[is_value_lost_within_interval] = TRUE () ) )"
        ),
    ),
    (
        "of a run, by the date that is not active",
        {"mart": "dim_scoring_run", "column_name": "tier_high_from", "aggregation": "none"},
        "CALCULATE ( IF ( COUNTROWS ( 'dim_scoring_run' ) = 1, MAX ( 'dim_scoring_run'[tier_high_from] ) ), "
        f"{BY_DATE} )",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("says", "fields", "expected"), MEANINGS, ids=[says for says, _, _ in MEANINGS])
def test_measure_means_what_its_metric_says(
    declared: list[Mapping[str, Any]], says: str, fields: dict[str, str], expected: str
) -> None:
    metric = replace(SAMPLE, **fields)
    expression = expression_of(metric, mart_of(declared, metric.mart), relate(read_marts(declared)))
    assert " ".join(expression.split()) == expected


def test_every_kind_in_the_seed_has_a_meaning_here(declared: list[Mapping[str, Any]]) -> None:
    seen = {(metric.aggregation, metric.over_dates) for metric in read_metrics(SEED)}
    told = {(replace(SAMPLE, **fields).aggregation, replace(SAMPLE, **fields).over_dates)
            for _, fields, _ in MEANINGS}  # fmt: skip
    assert {kind for kind, _ in seen} <= {kind for kind, _ in told}
    assert {dates for _, dates in seen} <= {dates for _, dates in told}


def test_the_newest_night_is_asked_of_the_runs(declared: list[Mapping[str, Any]]) -> None:
    marts = read_marts(declared)
    measures = {
        item.name: item for item in measures_of([], {mart.name: mart for mart in marts}, relate(marts))
    }
    assert " ".join(measures["Newest run key"].expression.split()) == (
        "CALCULATE ( MAXX ( TOPN ( 1, 'dim_scoring_run', 'dim_scoring_run'[as_of_date_key], DESC ), "
        f"'dim_scoring_run'[scoring_run_key] ), {BY_DATE} )"
    )
    assert measures["Newest run key"].is_hidden
    assert not measures["Newest night"].is_hidden


def test_the_ends_of_an_interval_are_of_one_row(declared: list[Mapping[str, Any]]) -> None:
    marts = read_marts(declared)
    metric = replace(
        SAMPLE, low_column="expected_revenue_loss_low_amount", format="currency", owner="finance"
    )
    measures = measures_of([metric], {mart.name: mart for mart in marts}, relate(marts))
    low = next(item for item in measures if item.name == "Sample, low")
    assert " ".join(low.expression.split()) == ON_ONE_NIGHT.format(
        f"IF ( COUNTROWS ( {P} ) = 1, MAX ( {P}[expected_revenue_loss_low_amount] ) )"
    )
    assert (low.folder, low.format_string) == ("Finance\\Intervals", FORMATS["currency"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mart": "nothing"}, "told from columns of marts.nothing"),
        ({"column_name": "nothing_count"}, "found no nothing_count there"),
        ({"aggregation": "median"}, "aggregation of metric sample"),
        ({"over_dates": "first"}, "over_dates of metric sample"),
        ({"format": "roman"}, "format of metric sample"),
        ({"filter_column": "roc_auc", "filter_value": "0.5"}, "filter model_performance on a text"),
        (
            {"over_dates": "last", "mart": "warehouse_freshness", "column_name": "age_days"},
            "no scoring_run_key",
        ),
    ],
)
def test_a_metric_that_cannot_be_told_is_refused(
    declared: list[Mapping[str, Any]], fields: dict[str, str], said: str
) -> None:
    marts = read_marts(declared)
    with pytest.raises(DeclarationError, match=said):
        measures_of([replace(SAMPLE, **fields)], {mart.name: mart for mart in marts}, relate(marts))


def test_two_metrics_of_one_title_are_refused(declared: list[Mapping[str, Any]]) -> None:
    marts = read_marts(declared)
    with pytest.raises(DeclarationError, match="found twice: sample"):
        measures_of(
            [SAMPLE, replace(SAMPLE, title="SAMPLE")], {mart.name: mart for mart in marts}, relate(marts)
        )


@pytest.mark.parametrize(
    "expression",
    ["SUM ( 'a'[b] ", "SUM ( 'a'[b] ) )", "MEDIAN ( 'a'[b] )", "SUM 'a'[b]", "1 + ;", "Nowhere + 1"],
)
def test_the_reader_of_dax_refuses(expression: str) -> None:
    with pytest.raises(ValueError, match=r"bracket|neither|not DAX"):
        dax_reader.read(expression)
