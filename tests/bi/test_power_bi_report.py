"""The wrappers and the report of the Power BI project: their shape, and that they show what there is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tmdl_reader
from power_bi_shapes import CONNECTION_FILE, ROLES, SCHEMAS, VISUAL_FILE

from churn_ml.bi import power_bi_report
from churn_ml.bi.power_bi import project_files
from churn_ml.errors import DeclarationError
from churn_ml.services.dbt_marts import describe_marts
from churn_ml.settings import Settings

SEED = Path(__file__).resolve().parents[2] / "dbt_project" / "seeds" / "metrics.csv"
REPORT = "churn.Report/definition/"


@pytest.fixture(scope="module")
def files(server: Settings) -> Mapping[str, str]:
    return project_files(describe_marts(server), SEED, "localhost:5432", "churn_subscriptions")


@pytest.fixture(scope="module")
def contents(files: Mapping[str, str]) -> Mapping[str, Any]:
    return {path: json.loads(text) for path, text in files.items() if not path.endswith(".tmdl")}


@pytest.fixture(scope="module")
def visuals(contents: Mapping[str, Any]) -> Mapping[str, Any]:
    return {path: content for path, content in contents.items() if VISUAL_FILE.fullmatch(path)}


def faults_of(path: str, content: Any) -> list[str]:
    schema = CONNECTION_FILE if path.endswith(".pbids") else SCHEMAS[content["$schema"]]
    return [f"{path} {error.json_path}: {error.message}"
            for error in jsonschema.Draft7Validator(schema).iter_errors(content)]  # fmt: skip


def test_every_file_has_the_shape_of_its_schema(contents: Mapping[str, Any]) -> None:
    assert [fault for path, content in contents.items() for fault in faults_of(path, content)] == []
    used = {content["$schema"] for path, content in contents.items() if not path.endswith(".pbids")}
    assert used == set(SCHEMAS)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("churn.pbip", {"artifacts": []}),
        ("churn.pbip", {"report": "churn.Report"}),
        ("churn.pbids", {"version": "1.0"}),
        ("churn.Report/.platform", {"config": {"version": "2.0", "logicalId": "churn"}}),
        ("churn.SemanticModel/definition.pbism", {"version": 4}),
        (
            "churn.Report/definition.pbir",
            {"datasetReference": {"byPath": {"path": "..\\churn.SemanticModel"}}},
        ),
        (f"{REPORT}version.json", {"version": "2.0.1"}),
        (f"{REPORT}report.json", {"themeCollection": {"theme": "dark"}}),
        (f"{REPORT}pages/pages.json", {"pageOrder": []}),
        (f"{REPORT}pages/who_will_churn/page.json", {"displayOption": "Stretch"}),
        (f"{REPORT}pages/who_will_churn/visuals/risk_by_tier/visual.json", {"visual": {"query": {}}}),
    ],
)
def test_a_wrong_shape_is_noticed(contents: Mapping[str, Any], path: str, change: dict[str, Any]) -> None:
    assert faults_of(path, contents[path]) == []
    assert faults_of(path, contents[path] | change) != []


def test_the_project_finds_its_parts(files: Mapping[str, str], contents: Mapping[str, Any]) -> None:
    report = contents["churn.pbip"]["artifacts"][0]["report"]["path"]
    assert f"{report}/definition.pbir" in files
    model = contents[f"{report}/definition.pbir"]["datasetReference"]["byPath"]["path"]
    assert f"{model.removeprefix('../')}/definition.pbism" in files
    ids = [contents[path]["config"]["logicalId"] for path in contents if path.endswith(".platform")]
    assert len(set(ids)) == len(ids) == 2
    order = contents[f"{REPORT}pages/pages.json"]["pageOrder"]
    assert order == ["who_will_churn", "how_much_is_at_risk", "whom_to_call_first", "can_i_trust_it"]
    for name in order:
        assert contents[f"{REPORT}pages/{name}/page.json"]["name"] == name
        assert any(path.startswith(f"{REPORT}pages/{name}/visuals/") for path in files)


def test_visuals_show_what_the_model_has(files: Mapping[str, str], visuals: Mapping[str, Any]) -> None:
    model = [tmdl_reader.read(text)[0] for path, text in files.items() if "/definition/tables/" in path]
    there = {(kind.capitalize(), table.name, item.name)
             for table in model for kind in ("column", "measure") for item in table.all(kind)}  # fmt: skip
    shown = {found for content in visuals.values() for found in fields_in(content)}
    assert shown <= there
    assert len(shown) > 40


def fields_in(value: Any) -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    if isinstance(value, dict):
        for kind in ("Column", "Measure"):
            if kind in value:
                entity = value[kind]["Expression"]["SourceRef"]["Entity"]
                found.add((kind, entity, value[kind]["Property"]))
        found |= {field for item in value.values() for field in fields_in(item)}
    elif isinstance(value, list):
        found |= {field for item in value for field in fields_in(item)}
    return found


def test_roles_fit_their_visuals(visuals: Mapping[str, Any]) -> None:
    for path, content in visuals.items():
        visual = content["visual"]
        must, may = ROLES[visual["visualType"]]
        state = visual.get("query", {}).get("queryState", {})
        assert must <= set(state) <= must | may, path
        for role, shown in state.items():
            kinds = {kind for item in shown["projections"] for kind in item["field"]}
            assert kinds <= ({"Measure"} if role == "Y" else {"Column", "Measure"}), path
            references = [item["queryRef"] for item in shown["projections"]]
            assert len(set(references)) == len(references), path


def test_visuals_lie_on_their_page_beside_each_other(visuals: Mapping[str, Any]) -> None:
    for path, content in visuals.items():
        page, name = VISUAL_FILE.fullmatch(path).groups()  # type: ignore[union-attr]
        assert content["name"] == name
        place = content["position"]
        assert place["x"] >= 0
        assert place["y"] >= 0
        assert place["x"] + place["width"] <= 1280, path
        assert place["y"] + place["height"] <= 720, path
        for other_path, other in visuals.items():
            if other_path != path and f"/{page}/" in other_path:
                assert not overlap(place, other["position"]), (path, other_path)


def overlap(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["width"]
        and other["x"] < one["x"] + one["width"]
        and one["y"] < other["y"] + other["height"]
        and other["y"] < one["y"] + one["height"]
    )


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (power_bi_report.metric("nothing"), "found no metric nothing"),
        (power_bi_report.column("retention_queue", "nothing"), "found no column retention_queue.nothing"),
    ],
)
def test_a_page_that_shows_what_is_not_there_is_refused(
    server: Settings, monkeypatch: pytest.MonkeyPatch, field: power_bi_report.Field, said: str
) -> None:
    visual = power_bi_report.Visual("new", "card", "", (0, 0, 10, 10), {"Values": [field]})
    monkeypatch.setattr(power_bi_report, "PAGES", (power_bi_report.Page("new", "New", [visual]),))
    with pytest.raises(DeclarationError, match=said):
        project_files(describe_marts(server), SEED, "localhost:5432", "churn_subscriptions")
