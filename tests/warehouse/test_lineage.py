"""From source file to dashboard without a gap; every column and every number said once what it means."""

import csv
import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clones import clone_warehouse, drop_warehouse
from telco_nights import customer, deliver, publish, rows, scored_night
from typer.testing import CliRunner

from churn_ml.cli import app
from churn_ml.declarations import load_dataset
from churn_ml.services.dbt import _parsed_project, run_dbt
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

PROJECT = Path(__file__).parents[2] / "dbt_project"
DATASETS = ("telco", "bank", "subscriptions")
ON_EVERY_MART = {"metabase", "power_bi"}
STUB = re.compile(r"\b(todo|fixme|tbd|lorem|xxx|placeholder)\b", re.IGNORECASE)
NUMERIC = ("integer", "bigint", "numeric", "double precision")


def read_metrics() -> list[dict[str, str]]:
    with (PROJECT / "seeds" / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


METRICS = read_metrics()


class Project:
    """The parsed dbt project of one dataset."""

    def __init__(self, settings: Settings) -> None:
        manifest = _parsed_project(settings)
        manifest.build_parent_and_child_maps()
        self.entities = set(load_dataset(settings).entities)
        self.dataset = settings.dataset
        self.sources: dict[str, Any] = dict(manifest.sources)
        self.exposures: dict[str, Any] = dict(manifest.exposures)
        self.parents: dict[str, list[str]] = manifest.parent_map
        self.children: dict[str, list[str]] = manifest.child_map
        self.marts = {
            node.name: node
            for node in manifest.nodes.values()
            if node.resource_type == "model"
            and node.schema == "marts"
            and node.config.materialized != "ephemeral"
        }
        self.relations = {
            node_id: f"{node.schema}.{node.alias}"
            for node_id, node in manifest.nodes.items()
            if node.resource_type == "model"
        }

    def readers_of(self, exposed: str) -> set[str]:
        """Return the names of the exposures that depend on the mart directly."""
        ids = self.children[self.marts[exposed].unique_id]
        return {self.exposures[found].name for found in ids if found in self.exposures}


def reachable(edges: dict[str, list[str]], start: str) -> set[str]:
    found: set[str] = set()
    frontier = [start]
    while frontier:
        new = set(edges.get(frontier.pop(), ())) - found
        found |= new
        frontier.extend(new)
    return found


@pytest.fixture(scope="module", params=DATASETS)
def project(server: Settings, request: pytest.FixtureRequest) -> Project:
    return Project(server.model_copy(update={"dataset": request.param}))


@pytest.fixture(scope="module")
def telco(server: Settings) -> Project:
    """The project of one dataset, for what is the same for all: the marts."""
    return Project(server)


@pytest.fixture(scope="module")
def marts(telco: Project) -> dict[str, dict[str, Any]]:
    return {name: dict(node.columns) for name, node in telco.marts.items()}


@pytest.fixture(scope="module")
def night(server: Settings) -> Iterator[Settings]:
    """A warehouse with one published night of three customers, one of them gone."""
    settings = clone_warehouse(server)
    deliver(settings, customer("a"), customer("b", contract="Two year"), customer("c", churn="Yes"))
    publish(settings, scored_night(settings, {"a": 0.8, "b": 0.1}))
    yield settings
    drop_warehouse(settings)


def test_every_landed_entity_is_a_documented_source(project: Project) -> None:
    found = {source.name: source for source in project.sources.values() if source.schema == "raw"}
    assert set(found) == project.entities
    for source in found.values():
        assert source.source_name == project.dataset
        assert source.loader == "churn-ml land"
        assert source.description
        assert source.source_description
        assert source.config.meta["declared_in"] == f"datasets/{project.dataset}.yml"


def test_every_source_ends_in_a_mart(project: Project) -> None:
    """By dbt's own edges and the stated one: <dataset>__models writes the sources scores and ml."""
    marts = {node.unique_id for node in project.marts.values()}
    written = [name for name, source in project.sources.items() if "produced_by" in source.config.meta]
    edges = project.children | {name: written for name in project.exposures if name.endswith("__models")}
    for source_id, source in project.sources.items():
        below = reachable(edges, source_id)
        assert below, f"{source_id} is read by nothing"
        assert source.source_name == "ops" or below & marts, f"no mart is told from {source_id}"


def test_every_mart_ends_in_a_page_or_a_file(project: Project) -> None:
    for mart in project.marts:
        readers = project.readers_of(mart)
        assert readers >= ON_EVERY_MART, f"models/marts/_exposures.yml: {ON_EVERY_MART} read {mart} too"
        below = reachable(project.children, project.marts[mart].unique_id)
        ends = {exposure.name for found, exposure in project.exposures.items() if found in below}
        assert ends - ON_EVERY_MART, f"models/marts/_exposures.yml: who reads {mart}?"


def test_every_exposure_comes_from_a_landed_source_and_has_an_owner(project: Project) -> None:
    landed = {source_id for source_id, source in project.sources.items() if source.schema == "raw"}
    assert len(project.exposures) > len(ON_EVERY_MART)
    for exposure_id, exposure in project.exposures.items():
        assert reachable(project.parents, exposure_id) & landed, exposure_id
        assert exposure.owner.name
        assert exposure.owner.email is None, "a role answers, not a person"
        assert exposure.maturity
        assert len(exposure.description.split()) > 5


def test_scores_and_models_name_what_they_were_told_from(project: Project) -> None:
    """dbt calls no Python: the exposure <dataset>__models is one end of the link, the source the other."""
    [models] = [item for name, item in project.exposures.items() if name.endswith("__models")]
    ends_in = {project.relations[node_id] for node_id in models.depends_on.nodes}
    own = {f"{source.source_name}.{source.name}" for source in project.sources.values()}
    linked = [source for source in project.sources.values() if source.source_name in {"scores", "ml"}]
    assert {source.source_name for source in linked} == {"scores", "ml"}
    for source in linked:
        assert source.config.meta["produced_by"].startswith("churn_ml.")
        assert set(source.config.meta["reads"]) <= ends_in | own


def test_every_column_of_every_mart_is_described(marts: dict[str, dict[str, Any]]) -> None:
    for mart, columns in marts.items():
        for name, column in columns.items():
            words = re.sub(r"[^a-z0-9]+", " ", column.description.lower()).strip()
            assert words, f"{mart}.{name} has no description"
            assert words != name.replace("_", " "), f"{mart}.{name}: its description is its name"
            assert not STUB.search(column.description), f"{mart}.{name}: {column.description}"


def test_the_readme_lists_every_mart(marts: dict[str, dict[str, Any]]) -> None:
    readme = (PROJECT.parent / "README.md").read_text(encoding="utf-8")
    assert sorted(mart for mart in marts if f"`{mart}`" not in readme) == []


def test_a_name_has_one_type_in_all_marts(marts: dict[str, dict[str, Any]]) -> None:
    types = defaultdict(set)
    for columns in marts.values():
        for name, column in columns.items():
            types[name].add(column.data_type)
    assert {name: found for name, found in types.items() if len(found) > 1} == {}


def is_attribute(mart: str, name: str, keys: Iterable[str]) -> bool:
    """Numbers that say which row, not how much: keys, orders, and what dimensions hold of their own."""
    return (
        name.endswith(("_key", "_sort", "_number", "_index", "_rank", "_position"))
        or name in keys
        or (mart.startswith("dim_") and mart != "dim_scoring_run")
        or mart == "metric_definitions"
    )


def columns_of(metric: dict[str, str]) -> set[str]:
    """Return the columns of which `metric` says what they mean."""
    return {metric["column_name"], metric["low_column"], metric["high_column"]} - {""}


def test_every_number_of_the_marts_is_defined(telco: Project, marts: dict[str, dict[str, Any]]) -> None:
    """A column that several marts share is defined in one of them; a count says in each who is counted."""
    defined = {(metric["mart"], name) for metric in METRICS for name in columns_of(metric)}
    anywhere = {name for _, name in defined if not name.endswith("_count")}
    keys = {mart: set(node.primary_key) for mart, node in telco.marts.items()}
    missing = [
        f"{mart}.{name}"
        for mart, columns in marts.items()
        for name, column in columns.items()
        if (column.data_type or "").startswith(NUMERIC)
        and not is_attribute(mart, name, keys[mart])
        and name not in anywhere
        and (mart, name) not in defined
    ]
    assert missing == [], "seeds/metrics.csv defines every number that people may quote"


def test_definitions_name_columns_that_exist(marts: dict[str, dict[str, Any]]) -> None:
    for metric in METRICS:
        columns = marts[metric["mart"]]
        named = [metric[key] for key in metric if key.endswith("_column") or key == "column_name"]
        assert {name for name in named if name} <= set(columns), metric["metric"]
        assert (metric["aggregation"] == "ratio") == bool(metric["divisor_column"]), metric["metric"]
        assert (metric["aggregation"] == "weighted_mean") == bool(metric["weight_column"]), metric["metric"]
        assert bool(metric["filter_column"]) == bool(metric["filter_value"]), metric["metric"]
        assert bool(metric["low_column"]) == bool(metric["high_column"]), metric["metric"]


def test_definitions_are_whole_and_told_apart() -> None:
    for key in ("metric", "title", "sort_order"):
        found = [metric[key] for metric in METRICS]
        assert sorted({name for name in found if found.count(name) > 1}) == [], key
    for metric in METRICS:
        assert len(metric["formula"].split()) >= 5, f"{metric['metric']}: say in words how it is reckoned"
        assert "@" not in metric["owner"]
        assert (metric["format"] == "currency") == metric["column_name"].endswith("_amount") or (
            metric["aggregation"] == "ratio"
        ), metric["metric"]


def test_a_column_has_one_unit_wherever_it_stands() -> None:
    units = defaultdict(set)
    for metric in METRICS:
        if metric["aggregation"] != "ratio":
            units[metric["column_name"]].add((metric["unit"], metric["format"]))
    assert {name: found for name, found in units.items() if len(found) > 1} == {}


def test_every_definition_runs_as_the_reader(night: Settings) -> None:
    with connect(night, Role.READER) as reader:
        told = reader.execute(
            "select metric, mart, sql_expression, aggregation from marts.metric_definitions"
        ).fetchall()
        assert len(told) == len(METRICS)
        for metric, mart, expression, aggregation in told:
            assert (expression is None) == (aggregation == "none"), metric
            if expression is not None:
                [[value]] = reader.execute(f"select {expression} from marts.{mart}").fetchall()
                assert isinstance(value, (int, float, type(None))) or value.is_finite(), metric


def test_definitions_give_the_numbers_of_the_night(night: Settings) -> None:
    def tell(metric: str) -> Any:
        with connect(night, Role.READER) as reader:
            [(mart, expression)] = reader.execute(
                "select mart, sql_expression from marts.metric_definitions where metric = %s", [metric]
            ).fetchall()
            return reader.execute(f"select {expression} from marts.{mart}").fetchall()[0][0]

    assert tell("customers_known") == 3
    assert tell("active_customers") == tell("customers_scored") == 2
    assert tell("high_risk_customers") == 1
    assert float(tell("high_risk_share")) == 0.5
    assert tell("mean_churn_probability") == pytest.approx(0.45)
    assert tell("expected_revenue_loss") == tell("customer_expected_loss") == 540
    assert tell("value_at_risk") == tell("revenue_at_risk") == 1200


def test_definitions_have_a_key_comments_and_grants(night: Settings) -> None:
    relation = "'marts.metric_definitions'::regclass"
    assert rows(
        night,
        f"select pg_get_constraintdef(oid) from pg_constraint where conrelid = {relation} and contype = 'p'",
    ) == [("PRIMARY KEY (metric)",)]
    assert rows(
        night,
        "select count(*) from pg_attribute where attnum > 0 and not attisdropped"
        f" and attrelid = {relation} and col_description(attrelid, attnum) is null",
    ) == [(0,)]
    assert rows(
        night,
        f"select has_table_privilege('bi_reader', {relation}, 'references'),"
        f" has_table_privilege('bi_reader', {relation}, 'insert')",
    ) == [(True, False)]


def test_a_definition_that_is_gone_leaves_the_table(night: Settings) -> None:
    with connect(night, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "insert into marts.metric_definitions select 'former', title, mart, column_name, aggregation,"
            " divisor_column, weight_column, filter_column, filter_value, sql_expression, over_dates,"
            " low_column, high_column, formula, unit, format, better_is, 0, owner"
            " from marts.metric_definitions limit 1"
        )
    run_dbt(night, ["run", "--select", "metric_definitions", "--quiet"])
    found = rows(night, "select metric from marts.metric_definitions order by sort_order")
    assert [metric for (metric,) in found] == [metric["metric"] for metric in METRICS]


def browse(address: str, profile: Path) -> tuple[str, list[str]]:
    """Return the page's document and what the browser said of hosts that it asked for or was kept from."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed: the page is not opened in a browser")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
         "--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom", address],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, [line for line in said if re.search(r"'https?://|TypeError|ReferenceError", line)]


def test_documentation_is_one_page_that_asks_no_other_host(
    night: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("churn_ml.cli.docs.load_settings", lambda: night)
    answer = CliRunner().invoke(app, ["docs", "--json"])
    path = Path(json.loads(answer.output)["path"])
    mart = f"{path.as_uri()}#!/model/model.churn_warehouse.customer_churn_current"
    document, said = browse(mart, tmp_path / "profile")
    assert said == []
    text = " ".join(re.sub(r"<[^>]+>", " ", document).split())
    assert "One row per run and active customer" in text
    assert "churn_probability_low" in text
    foreign = tmp_path / "foreign.html"
    rule = path.read_text(encoding="utf-8").split("<title>", 1)[0]
    foreign.write_text(f'{rule}</head><body><img src="https://elsewhere.invalid/a.png"></body></html>')
    assert browse(foreign.as_uri(), tmp_path / "profile")[1], "a call to another host would not be seen"
