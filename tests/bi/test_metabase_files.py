"""``bi/metabase/``: the files fit together, speak the metrics' words and pass Metabase's own validator."""

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from churn_ml.bi.metabase_checks import read_representation
from churn_ml.bi.metabase_files import Card
from churn_ml.errors import DeclarationError

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "bi" / "metabase"
REPRESENTATION = read_representation(FOLDER)
QUESTIONS = {REPRESENTATION.files[key].stem: card for key, card in REPRESENTATION.cards.items()}
VALIDATOR = "@metabase/representations@1.2.0"
METRICS = {
    row["metric"]: row
    for row in csv.DictReader(
        (PROJECT / "dbt_project/seeds/metrics.csv").read_text(encoding="utf-8").splitlines()
    )
}
# How each format of metrics.csv is told to Metabase; decimals may differ, where a question says so.
STYLES = {
    "percent": {"number_style": "percent"},
    "currency": {"number_style": "decimal"},
    "integer": {"number_style": "decimal", "decimals": 0},
    "decimal": {"number_style": "decimal"},
    "points": {"number_style": "decimal", "suffix": " pts"},
    "days": {"number_style": "decimal", "decimals": 0, "suffix": " days"},
}
PAGES = {
    "retention_summary", "mrr_bridge", "revenue_at_risk", "where_it_hurts", "cohorts", "who_to_call_first",
    "can_i_trust_it",
}  # fmt: skip


def marts_read(card: Card) -> set[str]:
    return set(re.findall(r"(?:from|join)\s+marts\.(\w+)", card.sql))


def column_settings(card: Card) -> dict[str, dict[str, Any]]:
    settings = card.visualization_settings["column_settings"]
    return {json.loads(key)[1]: setting for key, setting in settings.items()}


def test_there_is_a_dashboard_for_the_morning_and_one_per_page() -> None:
    files = {REPRESENTATION.files[key].stem for key in REPRESENTATION.dashboards}
    assert files == {"churn_this_morning", *PAGES}
    placed = {one.card_id for dashboard in REPRESENTATION.dashboards.values() for one in dashboard.dashcards}
    assert set(REPRESENTATION.cards) <= placed, "a question stands on no dashboard"


def test_every_dashboard_shows_its_night_first_and_filters_by_it() -> None:
    night = QUESTIONS["night_shown"].entity_id
    for dashboard in REPRESENTATION.dashboards.values():
        assert dashboard.dashcards[0].card_id == night, dashboard.name
        assert (dashboard.dashcards[0].row, dashboard.dashcards[0].size_x) == (0, 24), dashboard.name
        assert dashboard.parameters[0].slug == "as_of_date", dashboard.name


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_reads_marts_alone_and_not_without_a_limit(name: str) -> None:
    sql = QUESTIONS[name].sql
    own = set(re.findall(r"^(\w+) as \($", sql, re.MULTILINE))
    read = set(
        re.findall(
            r"(?:from|join)\s+([\w.]+)", re.sub(r"cross join lateral.*?\) as \w+", "", sql, flags=re.DOTALL)
        )
    )
    assert all(one.startswith("marts.") or one in own for one in read)
    limits = [int(number) for number in re.findall(r"^limit (\d+)$", sql, re.MULTILINE)]
    assert limits, "no limit at the end"
    assert limits[-1] <= 2000
    assert not re.search(r"\b(now\(\)|current_date|select \*|random\(\))", sql)


def test_exposure_names_the_marts_that_the_questions_read() -> None:
    exposures = yaml.safe_load(
        (PROJECT / "dbt_project/models/marts/_exposures.yml").read_text(encoding="utf-8")
    )
    named = next(one for one in exposures["exposures"] if one["name"] == "metabase")["depends_on"]
    read = set().union(*map(marts_read, QUESTIONS.values()))
    assert read <= {re.sub(r"ref\('(\w+)'\)", r"\1", one) for one in named}


@pytest.mark.parametrize("name", QUESTIONS)
def test_numbers_have_the_titles_and_formats_of_the_metrics(name: str) -> None:
    for column, setting in column_settings(QUESTIONS[name]).items():
        assert setting["column_title"], column
        metric = METRICS.get(column)
        if metric:
            wanted = {"column_title": metric["title"], **STYLES[metric["format"]]}
            assert {key: setting.get(key) for key in wanted} == wanted, column


@pytest.mark.parametrize("name", QUESTIONS)
def test_description_gives_the_formula_of_what_is_drawn(name: str) -> None:
    card = QUESTIONS[name]
    told = dict(re.findall(r"^\*\*(.+?)\*\*: (.+)\.$", card.description, re.MULTILINE))
    formulas = {row["title"]: row["formula"] for row in METRICS.values()}
    assert told == {title: formulas.get(title) for title in told}
    settings = card.visualization_settings
    drawn = [*settings.get("graph.metrics", []), *filter(None, [settings.get("scalar.field")])]
    assert {METRICS[one]["title"] for one in drawn if one in METRICS} <= set(told)


FAULTS: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "unknown key": ("churn/questions/mrr", lambda card: card.update(colour="red"), "colour"),
    "unknown display": ("churn/questions/mrr", lambda card: card.update(type="model"), "type"),
    "missing name": ("churn/questions/mrr", lambda card: card.pop("name"), "name"),
    "bad id": ("churn/questions/mrr", lambda card: card.update(entity_id="short"), "entity_id"),
    "other database": (
        "churn/questions/mrr",
        lambda card: card["dataset_query"].update(database="other"),
        "dataset_query.database",
    ),
    "undeclared tag": (
        "churn/questions/mrr",
        lambda card: card["dataset_query"]["stages"][0].update({"template-tags": []}),
        "template-tags",
    ),
    "parameter of another tag": (
        "churn/questions/mrr",
        lambda card: card["parameters"][0].update(slug="other"),
        "parameters are not",
    ),
    "no such collection": (
        "churn/questions/mrr",
        lambda card: card.update(collection_id="x" * 21),
        "is no collection",
    ),
    "identity of another": (
        "churn/questions/mrr",
        lambda card: card["serdes/meta"][0].update(id="x" * 21),
        "serdes/meta",
    ),
    "beyond the grid": ("churn/cohorts", lambda one: one["dashcards"][0].update(col=1), "beyond column 24"),
    "overlap": ("churn/cohorts", lambda one: one["dashcards"][1].update(row=1), "overlap"),
    "no such question": (
        "churn/cohorts",
        lambda one: one["dashcards"][1].update(card_id="x" * 21),
        "is not there",
    ),
    "unmapped tag": (
        "churn/cohorts",
        lambda one: one["dashcards"][1].update(parameter_mappings=[]),
        "as many mappings",
    ),
    "filter of another kind": (
        "churn/revenue_at_risk",
        lambda one: one["parameters"][0].update(type="string/="),
        "does not fit",
    ),
    "filter of nothing": (
        "churn/cohorts",
        lambda one: one["parameters"].append(
            {**one["parameters"][0], "id": "00000000-0000-4000-8000-000000000000", "slug": "spare"}
        ),
        "filters nothing",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_a_file_is_named(tmp_path: Path, fault: str) -> None:
    name, damage, told = FAULTS[fault]
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "collections" / "main" / f"{name}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    damage(content)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(DeclarationError, match=re.escape(told)) as caught:
        read_representation(tmp_path)
    assert path.name in str(caught.value)


def test_empty_folder_and_same_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="found none"):
        read_representation(tmp_path)
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    questions = tmp_path / "collections/main/churn/questions"
    shutil.copy(questions / "mrr.yaml", questions / "twin.yaml")
    with pytest.raises(DeclarationError, match="entity_id of its own"):
        read_representation(tmp_path)


@pytest.fixture(scope="session")
def validator(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of Metabase's public validator, from npm; it wants Node 20.11 or newer."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed: Metabase's validator is not at hand")
    version = subprocess.check_output([node, "--version"], text=True).strip()
    if tuple(map(int, version.removeprefix("v").split(".")[:2])) < (20, 11):
        pytest.skip(f"node is {version}: Metabase's validator wants 20.11 or newer")
    folder = tmp_path_factory.mktemp("npm")
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=0"]
    installed = subprocess.run(
        [npm, "install", "--prefix", folder, *quiet, VALIDATOR], capture_output=True, text=True, timeout=90
    )
    if installed.returncode:
        pytest.skip(f"npm could not install {VALIDATOR}: {installed.stderr.strip()[-200:]}")
    return [
        node,
        str(folder / "node_modules/@metabase/representations/dist/bin/cli.js"),
        "validate-schema",
        "--folder",
    ]


def test_files_pass_the_validator_of_metabase(validator: list[str], tmp_path: Path) -> None:
    checked = subprocess.run([*validator, str(FOLDER)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(REPRESENTATION.files)} passed, 0 failed" in checked.stdout
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "collections/main/churn/questions/mrr.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("display: smartscalar", "display: thermometer"),
        encoding="utf-8",
    )
    assert subprocess.run([*validator, str(tmp_path)], capture_output=True, timeout=60).returncode == 1
