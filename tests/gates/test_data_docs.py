"""The pages a gate writes: readable with no other host at hand, and an index of every verdict."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from churn_ml.errors import GateBlocked
from churn_ml.quality.gates import run_gate
from churn_ml.settings import Settings

Build = Callable[..., str]
Execute = Callable[[str, str], None]
GATES = ("raw", "features", "marts")
TEMPLATES = Path(__file__).parents[2] / "great_expectations" / "plugins" / "custom_data_docs"
ANY_HOST = re.compile(r"(?:https?:)?//[a-z0-9]|url\(|@import", re.IGNORECASE)


class Page(HTMLParser):
    """What a page refers to and the runs it lists."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.run_classes: list[str] = []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [
            value or "" for name, value in attrs if name in {"href", "src", "srcset", "action"}
        ]
        classes = dict(attrs).get("class") or ""
        if tag == "details" and "run" in classes.split():
            self.run_classes.append(classes + (" open" if "open" in dict(attrs) else ""))


def rows_of(page: Page, run_id: str) -> list[list[str]]:
    """The lines of one run in the index: everything between its heading and the next run's."""
    part = next(part for part in page.text.split("<details") if run_id in part)
    return [[re.sub(r"<[^>]+>|\s+", " ", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)]
            for row in re.findall(r"<tr.*?</tr>", part, re.DOTALL) if "<td" in row]  # fmt: skip


def run_gates(settings: Settings, run_id: str) -> None:
    for gate in GATES:
        try:
            run_gate(settings, run_id, gate)
        except GateBlocked:
            return


@pytest.fixture
def nights(build_night: Build, execute: Execute, gate_settings: Settings) -> list[str]:
    """A sound night, one with a warning and a broken mart, and one whose query fails."""
    sound, broken, stuck = (build_night(day=day) for day in (1, 2, 3))
    run_gates(gate_settings, sound)
    execute("update raw.customers set contract = 'unheard of' where customer_id = 'c1'", broken)
    execute(f"update marts.fct_churn_score set risk_tier = 'low' where run_id = '{broken}'", broken)
    run_gates(gate_settings, broken)
    execute("drop table features.customer_labels", stuck)
    run_gates(gate_settings, stuck)
    return [sound, broken, stuck]


def test_pages_need_no_other_host_no_script_and_no_missing_file(
    gate_settings: Settings, nights: list[str]
) -> None:
    site = gate_settings.home / "data_docs"
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) == 1 + 13 + 3 * 3 + 2 * 10, "index, suites, results"
    for path, page in pages.items():
        assert not ANY_HOST.search(page.text), path
        assert not page.tags & {"script", "img", "iframe", "object"}, path
        local = {name.split("#")[0] for name in page.references} - {"", "data:,"}
        assert [name for name in local if not (path.parent / name).is_file()] == [], path
    assert nights[0] in pages[next(path for path in pages if nights[0] in str(path))].text


def test_the_index_lists_every_verdict_and_failed_runs_stand_out(
    gate_settings: Settings, nights: list[str]
) -> None:
    sound, broken, stuck = nights
    index = Page(gate_settings.home / "data_docs" / "index.html")
    assert index.run_classes == ["run blocked open", "run blocked open", "run passed"], "newest first"
    assert "Night as of 2026-11-01" in index.text
    assert {row[3] for row in rows_of(index, sound)} == {"passed"}
    assert len(rows_of(index, sound)) == 13
    by_suite = {row[2]: row for row in rows_of(index, broken)}
    assert by_suite["marts_tiers"][1:] == [
        "marts", "marts_tiers", "blocked", "6", "1", "0", "tier_follows_the_parameters"]  # fmt: skip
    assert by_suite["telco__raw_values"][3:] == ["warned", "20", "0", "1", "contract_is_known"]
    unanswered = {row[2]: row for row in rows_of(index, stuck)}["features_labels"]
    assert unanswered[3:] == ["blocked", "0", "4", "1", "5 could not be evaluated: a query failed"]


def test_a_run_whose_gate_passes_the_second_time_is_not_marked_as_blocked(
    gate_settings: Settings, build_night: Build, execute: Execute
) -> None:
    run_id = build_night()
    execute("alter table features.customer_labels rename to away", run_id)
    run_gates(gate_settings, run_id)
    execute("alter table features.away rename to customer_labels", run_id)
    run_gate(gate_settings, run_id, "features")
    index = Page(gate_settings.home / "data_docs" / "index.html")
    assert index.run_classes == ["run passed open"]
    assert [row[3] for row in rows_of(index, run_id) if row[1] == "features"] == ["passed"] * 4 + [
        "blocked"
    ] * 4


def test_the_index_and_the_pages_escape_what_they_are_given(
    gate_settings: Settings, build_night: Build, execute: Execute, tmp_path: Path
) -> None:
    run_id = build_night()
    project = shutil.copytree(TEMPLATES.parents[1], tmp_path / "project" / "great_expectations")
    path = project / "expectations" / "marts_volume.json"
    suite = json.loads(path.read_text())
    suite["expectations"][0]["description"] = "a < b <script>alert(1)</script> & c"
    path.write_text(json.dumps(suite))
    execute(
        "insert into ops.validation_results (run_id, gate, suite, check_name, table_name, severity, verdict,"
        f" expected, owner, reason) values ('{run_id}', 'raw', '<script>x</script>', '<b>y</b>', 't', 'warn',"
        " 'fail', 'e', 'o', 'r')",
        run_id,
    )
    run_gate(gate_settings.model_copy(update={"project_dir": project.parent}), run_id, "marts")
    pages = [Page(path) for path in (gate_settings.home / "data_docs").rglob("*.html")]
    assert [page.text for page in pages if "script" in page.tags] == []
    index = Page(gate_settings.home / "data_docs" / "index.html").text
    assert "&lt;script&gt;x&lt;/script&gt;" in index
    assert "&lt;b&gt;y&lt;/b&gt;" in index
    assert any("a &lt; b &lt;script&gt;alert(1)&lt;/script&gt; &amp; c" in page.text for page in pages)


def test_first_page_lists_gates_and_not_the_tests_of_dbt(
    gate_settings: Settings, build_night: Build, execute: Execute
) -> None:
    run_id = build_night()
    execute(
        "insert into ops.validation_results (run_id, tool, suite, check_name, table_name, severity, verdict,"
        f" expected, owner, reason) values ('{run_id}', 'dbt', 'layer of dbt', 'is_key', 't', 'block',"
        " 'fail', 'e', 'o', 'r')",
        run_id,
    )
    run_gate(gate_settings, run_id, "marts")
    text = (gate_settings.home / "data_docs" / "index.html").read_text(encoding="utf-8")
    assert run_id in text
    assert "layer of dbt" not in text
