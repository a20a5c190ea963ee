"""The declarative files: complete, consistent with each other, and nothing in them that a run may not see."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

GX_FOLDER = Path(__file__).parents[2] / "great_expectations"
CONTEXT = yaml.safe_load((GX_FOLDER / "great_expectations.yml").read_text())
SOURCE = CONTEXT["fluent_datasources"]["warehouse"]


def read_folder(name: str) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((GX_FOLDER / name).glob("*.json"))}


SUITES = read_folder("expectations")
EXPECTATIONS = [(name, item) for name, suite in SUITES.items() for item in suite["expectations"]]


@pytest.mark.parametrize(
    ("suite", "item"), EXPECTATIONS, ids=[f"{name}-{item['meta']['check']}" for name, item in EXPECTATIONS]
)
def test_every_expectation_says_severity_owner_and_reason(suite: str, item: dict[str, Any]) -> None:
    meta = item["meta"]
    assert {"block": "critical", "warn": "warning"}[meta["severity"]] == item["severity"]
    assert meta["owner"] in {"data-platform", "data-science", "revenue-operations"}
    assert meta["reason"].endswith(".")
    assert len(meta["reason"].split()) >= 7, "a reason is a sentence"
    assert meta["table"].split(".")[0] in {"raw", "ops", "features", "scores", "marts"}
    assert item["description"]
    assert item["id"]


def test_check_names_are_unique() -> None:
    names = [item["meta"]["check"] for _, item in EXPECTATIONS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_blocks_when_its_query_gives_no_rows(name: str) -> None:
    first = SUITES[name]["expectations"][0]
    assert first["type"] == "expect_table_row_count_to_be_between"
    assert first["kwargs"]["min_value"] == 1
    assert first["meta"]["severity"] == "block"


def test_suite_validation_definition_and_asset_share_a_name_and_their_ids() -> None:
    definitions = read_folder("validation_definitions")
    assert set(definitions) == set(SUITES) == set(SOURCE["assets"])
    for name, definition in definitions.items():
        asset = SOURCE["assets"][name]
        assert definition["name"] == SUITES[name]["name"] == name
        assert definition["suite"] == {"name": name, "id": SUITES[name]["id"]}
        assert definition["data"]["datasource"] == {"name": "warehouse", "id": SOURCE["id"]}
        assert definition["data"]["asset"] == {"name": name, "id": asset["id"]}
        assert definition["data"]["batch_definition"]["id"] == asset["batch_definitions"]["run"]["id"]


def test_checkpoints_use_every_suite_and_keep_no_examples_of_rows() -> None:
    checkpoints = read_folder("checkpoints")
    definitions = read_folder("validation_definitions")
    used = [item for checkpoint in checkpoints.values() for item in checkpoint["validation_definitions"]]
    assert {item["name"] for item in used} == set(definitions)
    assert all(item["id"] == definitions[item["name"]]["id"] for item in used)
    for checkpoint in checkpoints.values():
        names = [item["name"] for item in checkpoint["validation_definitions"]]
        assert sorted(names) == sorted(set(names))
        assert checkpoint["result_format"] == {"result_format": "BASIC", "partial_unexpected_count": 0}


@pytest.mark.parametrize("name", SOURCE["assets"])
def test_every_query_selects_the_rows_of_the_audited_run(name: str) -> None:
    query = SOURCE["assets"][name]["query"]
    assert "current_setting('churn.run_id')" in query
    assert not {"now()", "current_date", "random()"} & set(query.split())
    assert max(map(len, query.splitlines())) <= 100


def test_the_context_keeps_secrets_and_output_out_of_the_project() -> None:
    assert SOURCE["connection_string"] == "${CHURN_GX_URL}"
    places = [CONTEXT["stores"]["validation_results_store"], CONTEXT["data_docs_sites"]["gates"]]
    for place in places:
        assert place["store_backend"]["base_directory"].startswith("${CHURN_GX_OUTPUT}/")
    assert CONTEXT["analytics_enabled"] is False
    assert CONTEXT["progress_bars"] == {"globally": False, "metric_calculations": False}
