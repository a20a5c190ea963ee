"""Every question runs as bi_reader, reads marts only, and its marts are named by the exposure of its page."""

import ast
import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from churn_ml.dashboard.asking import QUESTIONS
from churn_ml.dashboard.shell import PAGES
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

DASHBOARD = QUESTIONS.parent
EXPOSURES = DASHBOARD.parents[1] / "dbt_project" / "models" / "marts" / "_exposures.yml"
NAMES = sorted(path.stem for path in QUESTIONS.glob("*.sql"))

# What a question may be given; where a page lets its reader choose, one of the choices.
VALUES: dict[str, Any] = {
    "as_of_date": date(2026, 12, 16),
    "since": date(2026, 10, 30),
    "customer_key": 1,
    "search": "C0",
    "most": 10,
    **dict.fromkeys(("least_profit", "risk_tier", "queue_status", "segment", "region", "plan", "contract")),
}
# A row of these is a customer: what leaves Postgres is summed up, one customer's, or the first of a list.
OF_CUSTOMERS = {"customer_churn_current", "customer_tier_history", "dim_customer", "fct_churn_reason",
                "fct_churn_score", "fct_score_outcome", "fct_tier_change", "fct_treatment_assignment",
                "retention_queue"}  # fmt: skip


def sql(name: str) -> str:
    """Return a question without its comments."""
    return re.sub(r"--.*", "", (QUESTIONS / f"{name}.sql").read_text(encoding="utf-8"))


def marts_of(name: str) -> set[str]:
    return set(re.findall(r"\bmarts\.(\w+)", sql(name)))


@cache
def questions_of(module: str) -> frozenset[str]:
    """Return the questions that a module of the dashboard names, and those of the modules it imports."""
    path = DASHBOARD.joinpath(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            found.add(node.value)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("churn_ml.dashboard"):
            rest = (node.module or "").removeprefix("churn_ml.dashboard").strip(".")
            for child in [rest] if rest else [alias.name for alias in node.names]:
                found |= questions_of(child)
    return frozenset(found)


def exposures() -> dict[str, set[str]]:
    """Return the marts that each exposure names."""
    read = yaml.safe_load(EXPOSURES.read_text(encoding="utf-8"))
    return {
        one["name"]: {re.sub(r"ref\('(\w+)'\)", r"\1", ref) for ref in one["depends_on"]}
        for one in read["exposures"]
    }


@pytest.mark.parametrize("name", NAMES)
def test_question_runs_as_bi_reader(name: str, shown: Settings) -> None:
    with connect(shown, Role.READER) as reader:
        [(newest,)] = reader.execute("select max(scoring_run_key) from marts.dim_scoring_run").fetchall()
        given = VALUES | {"scoring_run_key": newest, "scored_run_key": newest}
        wanted = set(re.findall(r"%\((\w+)\)s", sql(name)))
        assert wanted <= set(given), f"give {wanted - set(given)} a value in test_questions.VALUES"
        reader.execute((QUESTIONS / f"{name}.sql").read_bytes(), given).fetchall()


@pytest.mark.parametrize("name", NAMES)
def test_customers_do_not_leave_postgres_by_the_million(name: str) -> None:
    if not marts_of(name) & OF_CUSTOMERS:
        return
    text = sql(name).lower()
    is_small = re.search(r"\b(group by|limit|count\(|sum\(|max\()|customer_(id|key) = %\(", text)
    assert is_small, f"{name}.sql gives a row per customer: aggregate, limit, or ask for one customer"


def test_every_question_is_asked() -> None:
    asked = questions_of("shell") | questions_of("report")
    for page in PAGES:
        asked |= questions_of(f"pages.{page}")
    assert set(NAMES) == asked


@pytest.mark.parametrize("page", PAGES)
def test_exposure_names_what_the_page_reads(page: str) -> None:
    asked = questions_of(f"pages.{page}") | questions_of("shell")
    read = set().union(*(marts_of(name) for name in asked))
    assert exposures()[page] == read


def test_scan_of_modules_sees_what_they_ask() -> None:
    assert {"published_nights", "freshness"} <= questions_of("shell")
    assert "mrr_movements" in questions_of("pages.mrr_bridge")
    assert "metric_definitions" in questions_of("pages.mrr_bridge"), "by way of metrics.py"


def test_no_question_looks_outside_the_marts() -> None:
    outside = {
        path.name: set(re.findall(r"\b(?:from|join)\s+(?!marts\b)(\w+)\.\w+", sql(path.stem)))
        for path in Path(QUESTIONS).glob("*.sql")
    }
    assert {name: schemas for name, schemas in outside.items() if schemas} == {}
