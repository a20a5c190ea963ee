"""The report of a run: it holds the marts' figures, opens anywhere and changes with nothing that follows."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from clones import clone_warehouse, drop_warehouse
from hatchling.builders.wheel import WheelBuilder
from typer.testing import CliRunner

from churn_ml.cli import app
from churn_ml.dashboard.formats import show, signed
from churn_ml.dashboard.report import published_run_of, read_report, render_report, write_report
from churn_ml.dashboard.report_facts import QUEUE_LENGTH, read_facts
from churn_ml.dashboard.report_words import tier_rows
from churn_ml.errors import WarehouseError
from churn_ml.publishing.publish import publish_run, unpublish_run
from churn_ml.quality.gates import run_gate
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import Run, close_run, open_run, read_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROJECT = Path(__file__).resolve().parents[2]
HOSTILE_ID = "<script>throw new Error('id')</script>"
HOSTILE_SENTENCE = "<img src=x onerror=\"fetch('http://192.0.2.1/')\">{{ 7 * 7 }}"
MOVEMENTS = {
    "opening": "50000.10", "restatement": "-12.34", "currency": "0.00", "new": "900.50",
    "reactivation": "33.25", "expansion": "410.00", "contraction": "-75.60", "churn": "-1200.05",
}  # fmt: skip


@dataclass(frozen=True)
class ReportedNight:
    """A published night that was built on an earlier one, and its page."""

    settings: Settings
    run: Run
    earlier: Run
    page: str

    def row(self, statement: str) -> dict[str, Any]:
        """Return the first row of `statement` about this run."""
        return rows_of(self.settings, statement, self.run.run_id)[0]


def rows_of(settings: Settings, statement: str, *parameters: object) -> list[dict[str, Any]]:
    with connect(settings, Role.AUDITOR) as auditor:
        cursor = auditor.cursor(row_factory=psycopg.rows.dict_row)
        return cursor.execute(statement, parameters).fetchall()


def admin_of(settings: Settings) -> psycopg.Connection:
    return connect_admin(settings, database=settings.warehouse_database)


def text_of(page: str) -> str:
    """Return the page as a reader sees it."""
    body = re.sub(r"<(style|title)\b.*?</\1>", " ", page, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))
    return text.replace("&#39;", "'").replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">")


def earlier_night(settings: Settings, run: Run) -> Run:
    """Let `run` have been built on a night a month before, with the same rows and 7 customers less."""
    earlier = open_run(settings, "night", run.known_as_of - timedelta(days=31))
    with admin_of(settings) as admin:
        for mart in ("dim_scoring_run", "churn_kpis_daily", "revenue_at_risk_daily"):
            admin.execute(
                f"insert into marts.{mart} select (jsonb_populate_record(former, jsonb_build_object("
                "'run_id', runs.run_id, 'scoring_run_key', runs.run_number,"
                " 'as_of_date', runs.as_of_date, 'known_as_of', runs.known_as_of))).*"
                f" from marts.{mart} as former, ops.pipeline_runs as runs"
                " where former.run_id = %s and runs.run_id = %s",
                [run.run_id, earlier.run_id],
            )
        admin.execute(
            "update marts.churn_kpis_daily set customer_closing_count = customer_closing_count - 7"
            " where run_id = %s",
            [earlier.run_id],
        )
        admin.execute(
            "insert into ops.run_bases values (%s, 'previous', %s, %s)",
            [run.run_id, earlier.as_of_date, earlier.run_id],
        )
        amounts = ", ".join(f"mrr_{name}_amount = {amount}" for name, amount in MOVEMENTS.items())
        closing = sum(map(Decimal, MOVEMENTS.values()))
        admin.execute(
            f"update marts.churn_kpis_daily set {amounts}, mrr_closing_amount = {closing},"
            " previous_as_of_date = %s, logo_churn_28d_share = 0.031, logo_churn_28d_target_share = 0.025"
            " where run_id = %s",
            [earlier.as_of_date, run.run_id],
        )
    return earlier


def record_tasks(settings: Settings, run: Run) -> None:
    start = datetime(2026, 11, 1, 2, tzinfo=UTC)
    with connect(settings, Role.LOADER) as loader:
        for number, (task, seconds, rows) in enumerate(
            (("land", 2.5, 1500), ("dbt_marts", 61.25, 20123), ("report", 1.0, 1))
        ):
            begun = start + timedelta(seconds=10 * number)
            loader.execute(
                "insert into ops.task_measurements (run_id, task_id, map_index, try_number, verdict,"
                " started_at, finished_at, seconds, cpu_seconds, peak_memory_mb, is_peak_of_process,"
                " rows_out)"
                " values (%s, %s, -1, 1, 'succeeded', %s, %s, %s, 1.5, 345.6, true, %s)",
                [run.run_id, task, begun, begun + timedelta(seconds=seconds), seconds, rows],
            )


@pytest.fixture
def published_alone(published_template: Settings) -> Iterator[tuple[Settings, str]]:
    """A warehouse with one published night, and its run."""
    settings = clone_warehouse(published_template)
    yield settings, published_run_of(settings, None)
    drop_warehouse(settings)


@pytest.fixture(scope="module")
def night(published_template: Settings) -> Iterator[ReportedNight]:
    """The published night with movements, measured tasks, a failed warning and a customer of bad will."""
    settings = clone_warehouse(published_template)
    run = read_run(settings, published_run_of(settings, None))
    earlier = earlier_night(settings, run)
    record_tasks(settings, run)
    with admin_of(settings) as admin:
        admin.execute(
            "update marts.retention_queue set customer_id = %s, reason_1_sentence = %s"
            " where run_id = %s and queue_position = 1",
            [HOSTILE_ID, HOSTILE_SENTENCE, run.run_id],
        )
        admin.execute(
            "update ops.validation_results"
            " set severity = 'warn', verdict = 'fail', observed = '3 <b>rows</b>'"
            " where validation_result_id ="
            " (select max(validation_result_id) from ops.validation_results where run_id = %s)",
            [run.run_id],
        )
    write_report(settings, run.run_id)
    yield ReportedNight(settings, run, earlier, read_report(settings, run.run_id))
    drop_warehouse(settings)


def test_summary_is_that_of_the_marts(night: ReportedNight) -> None:
    text = text_of(night.page)
    kpis = night.row("select * from marts.churn_kpis_daily where run_id = %s")
    high = night.row(
        "select sum(customer_count) as customers from marts.revenue_at_risk_daily"
        " where run_id = %s and risk_tier = 'high'"
    )
    currency = kpis["currency"]
    interval = [show(kpis[f"expected_revenue_loss_{end}_amount"], "currency") for end in ("low", "high")]
    for title, value, below in (
        ("Active customers", f"{kpis['customer_closing_count']:,} +7, better", ""),
        ("Customers scored in the night", f"{kpis['scored_customer_count']:,}", ""),
        ("Customers at high risk", f"{high['customers']:,}", ""),
        ("Revenue at risk", show(kpis["revenue_at_risk_amount"], "currency", currency), ""),
        ("Expected revenue loss of the night",
         show(kpis["expected_revenue_loss_amount"], "currency", currency),
         f"interval {interval[0]} to {interval[1]}" if kpis["expected_revenue_loss_low_amount"] else ""),
        ("Logo churn of 28 days", "3.1 %", "target 2.5 % at most: missed by 0.6 points"),
        ("Monthly recurring revenue", show(kpis["mrr_closing_amount"], "currency", currency), ""),
    ):  # fmt: skip
        assert f"{title} {value}".replace("\N{NO-BREAK SPACE}", " ") in text
        assert below.replace("\N{NO-BREAK SPACE}", " ") in text


def told_again(night: ReportedNight, **changed: dict[str, Any]) -> str:
    """Return the text of the page with other values in a part of its facts."""
    with connect(night.settings, Role.AUDITOR) as auditor:
        facts = read_facts(night.settings, auditor, night.run.run_id)
    return text_of(
        render_report(replace(facts, **{part: getattr(facts, part) | row for part, row in changed.items()}))
    ).replace("\N{NO-BREAK SPACE}", " ")


def test_what_is_too_small_to_see_is_neither_better_nor_missed_by_nothing(night: ReportedNight) -> None:
    earlier = rows_of(
        night.settings, "select * from marts.churn_kpis_daily where run_id = %s", night.earlier.run_id
    )[0]
    same = earlier["revenue_at_risk_amount"]
    text = told_again(
        night,
        kpis={"revenue_at_risk_amount": same + Decimal("0.01"), "logo_churn_28d_share": 0.0254},
    )
    assert re.search(r"Revenue at risk [\d,.]+ USD 0\.0 % not multiplied", text)
    assert "target 2.5 % at most: missed by less than 0.1 points" in text


def test_gained_lost_and_restated_customers_give_the_change(night: ReportedNight) -> None:
    moved = {"customer_new_count": 9, "customer_reactivated_count": 2, "customer_lost_count": 5}
    assert "11 gained, 5 lost, +1 restated" in told_again(
        night, kpis=moved | {"customer_restatement_count": 1}
    )
    assert "11 gained, 5 lost, " not in told_again(night, kpis=moved | {"customer_restatement_count": 0})


def test_amounts_of_two_currencies_are_not_compared(night: ReportedNight) -> None:
    before = rows_of(
        night.settings, "select * from marts.churn_kpis_daily where run_id = %s", night.earlier.run_id
    )[0]
    former = before | {"revenue_at_risk_amount": before["revenue_at_risk_amount"] / 2}
    assert "+100.0 %, worse not multiplied" in told_again(night, previous={"kpis": former})
    text = told_again(
        night,
        previous={"kpis": former | {"currency": "XTS"}},
        kpis={"mrr_opening_amount": None},
    )
    assert "+100.0 %" not in text
    assert "the earlier night was told in another currency" in text


def test_a_night_without_value_states_no_amount(night: ReportedNight) -> None:
    with connect(night.settings, Role.AUDITOR) as auditor:
        facts = read_facts(night.settings, auditor, night.run.run_id)
    assert facts.kpis is not None
    assert facts.queue_totals is not None
    nothing = dict.fromkeys((name for name in facts.kpis if name.endswith("_amount")), None)
    totals = {"treated_count": 3, "queued_count": 9, "expected_profit_amount": None}
    text = told_again(night, kpis=nothing, queue_totals=totals)
    assert "Revenue at risk not known" in text
    assert "no movements to show: nobody's value is known. Whom to call first" in text
    assert "treats 3, what it earns is not known." in text
    assert f"not known {facts.kpis['currency']}" not in text


def test_tiers_are_not_set_beside_those_of_a_run_whose_marts_are_gone(
    published_alone: tuple[Settings, str],
) -> None:
    settings, run_id = published_alone
    earlier = earlier_night(settings, read_run(settings, run_id))
    with admin_of(settings) as admin:
        for mart in ("churn_kpis_daily", "revenue_at_risk_daily", "dim_scoring_run"):
            admin.execute(f"delete from marts.{mart} where run_id = %s", [earlier.run_id])
    with connect(settings, Role.AUDITOR) as auditor:
        facts = read_facts(settings, auditor, run_id)
    assert facts.previous is not None
    assert {row["change"] for row in tier_rows(facts)} == {None}


def test_tiers_add_up_to_the_night(night: ReportedNight) -> None:
    text = text_of(night.page)
    kpis = night.row("select * from marts.churn_kpis_daily where run_id = %s")
    tiers = rows_of(
        night.settings,
        "select risk_tier_label as label, sum(daily.customer_count)::integer as customers,"
        " sum(mean_churn_probability * daily.customer_count) as expected,"
        " sum(revenue_at_risk_amount) as risk, sum(expected_revenue_loss_amount) as loss"
        " from marts.revenue_at_risk_daily as daily"
        " inner join marts.dim_risk_tier using (risk_tier_key) where run_id = %s group by 1",
        night.run.run_id,
    )
    assert len(tiers) == 3
    for tier in tiers:
        figures = f"{tier['expected']:.1f} {tier['risk']:,.2f} {tier['loss']:,.2f}"
        assert f"{tier['label']} {tier['customers']:,} 0 {figures}" in text
    total = sum(tier["expected"] for tier in tiers)
    money = f"{kpis['revenue_at_risk_amount']:,.2f} {kpis['expected_revenue_loss_amount']:,.2f}"
    assert f"All scored {kpis['scored_customer_count']:,} {total:.1f} {money}" in text


def test_bridge_shows_every_movement_to_the_cent(night: ReportedNight) -> None:
    text, closing = text_of(night.page), sum(map(Decimal, MOVEMENTS.values()))
    for title, name in (("MRR at opening", "opening"), ("New MRR", "new"), ("MRR churn", "churn")):
        amount = f"{Decimal(MOVEMENTS[name]):,.2f}".replace("-", "\N{MINUS SIGN}")
        assert f"{title} {amount}" in text
        if name != "opening":
            assert signed(float(MOVEMENTS[name]), "integer") in night.page
    assert f"Monthly recurring revenue {closing:,.2f}" in text
    assert night.page.count('<rect class="level"') == 2
    assert night.page.count('<rect class="up"') + night.page.count('<rect class="down"') == 6


def test_the_first_of_the_queue_stand_in_order_with_reasons_and_action(night: ReportedNight) -> None:
    text, at = text_of(night.page), 0
    queue = rows_of(
        night.settings,
        "select * from marts.retention_queue where run_id = %s order by queue_position",
        night.run.run_id,
    )
    assert len(queue) > QUEUE_LENGTH
    assert f"The first {QUEUE_LENGTH} of {len(queue):,} customers" in text
    for row in queue[:QUEUE_LENGTH]:
        at = text.index(f"{row['queue_position']} {row['customer_id']} {row['risk_tier']}", at)
        part = text[at : at + 1500]
        assert f"{row['value_at_risk_amount']:,.2f} {row['expected_revenue_loss_amount']:,.2f}" in part
        for words in ("reason_1_sentence", "reason_2_sentence", "recommended_action"):
            assert row[words] is None or row[words] in part
    assert queue[QUEUE_LENGTH]["customer_id"] not in text


def test_checks_stand_with_owner_and_reason_and_the_failed_first(night: ReportedNight) -> None:
    text = text_of(night.page)
    checks = rows_of(
        night.settings, "select * from ops.validation_results where run_id = %s", night.run.run_id
    )
    for check in checks:
        assert f"{check['owner']} {check['reason']}" in text
    [failed] = [check for check in checks if check["verdict"] == "fail"]
    assert f"{len(checks)} checks: {len(checks) - 1} passed, 0 blocking and 1 warning" in text
    assert f"warned {failed['expected']} 3 <b>rows</b> {failed['owner']}" in text
    assert text.index("Checks that did not pass") < text.index("gate raw :")


def test_what_was_found_in_raw_is_not_on_the_page(night: ReportedNight) -> None:
    secret = "value-of-a-customer-4711"
    with admin_of(night.settings) as admin:
        admin.autocommit = False
        admin.execute(
            "update ops.validation_results set verdict = 'fail', observed = %s, sample_keys = %s"
            " where run_id = %s",
            [secret, secret, night.run.run_id],
        )
        page = render_report(read_facts(night.settings, admin, night.run.run_id))
        admin.rollback()
    told = night.row(
        "select count(*) as checks from ops.validation_results"
        " where run_id = %s and gate is distinct from 'raw'"
    )
    assert page.count(secret) == told["checks"]


def test_tasks_stand_with_seconds_and_rows_and_the_report_is_not_among_them(night: ReportedNight) -> None:
    text = text_of(night.page)
    assert "2 tasks, 71.2 seconds from the first one's start" in text
    assert "land 2.5 1.5 346 1,500" in text
    assert "dbt_marts 61.2 1.5 346 20,123" in text


def test_identity_and_deployment_are_on_the_page(night: ReportedNight) -> None:
    text = text_of(night.page)
    run = night.row("select * from ops.pipeline_runs where run_id = %s")
    for fact in ("run_id", "model_version", "code_version", "configuration_sha256"):
        assert str(run[fact]) in text
    assert run["known_as_of"].isoformat() in text
    assert night.earlier.run_id in text
    assert "champion from the cut-off" in text
    assert "the only model there is" in text
    assert "Nothing on this page updates" in text
    assert len(night.page.encode()) < 200_000


def test_hostile_text_stays_text(night: ReportedNight) -> None:
    assert "<script" not in night.page
    assert "<img" not in night.page
    assert text_of(night.page).count(HOSTILE_ID) == 1
    assert HOSTILE_SENTENCE in text_of(night.page)


def test_the_same_run_gives_the_same_page_whatever_is_published_later(night: ReportedNight) -> None:
    stored = "select html, written_at from ops.run_reports where run_id = %s"
    before = night.row(stored)
    later = open_run(night.settings, "night", night.run.known_as_of + timedelta(days=1))
    with admin_of(night.settings) as admin:
        admin.execute(
            "insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)"
            " values ('publish', %(day)s, %(later)s, 'later', 'tests'),"
            " ('supersede', %(day)s, %(run)s, 'later', 'tests')",
            {"day": later.as_of_date, "later": later.run_id, "run": night.run.run_id},
        )
        admin.execute(
            "insert into ops.published_runs (as_of_date, run_id, known_as_of) values (%s, %s, %s)",
            [later.as_of_date, later.run_id, later.known_as_of],
        )
        admin.execute("delete from ops.published_runs where run_id = %s", [night.run.run_id])
    written = write_report(night.settings, night.run.run_id)
    assert night.row(stored) == before
    assert written.is_published
    assert not written.is_kept


def test_page_says_whether_the_run_was_published(built: tuple[Settings, str]) -> None:
    settings, run_id = built
    assert not write_report(settings, run_id).is_published
    assert "Not published: BI was not shown this run" in text_of(read_report(settings, run_id))
    with pytest.raises(WarehouseError, match=r"published night.*churn-ml run list"):
        published_run_of(settings, None)
    run_gate(settings, run_id, "marts")
    publish_run(settings, run_id, "as every night")
    assert write_report(settings, run_id).is_published
    assert re.search(r"Published on [^:]+:\d\d UTC: as every night", text_of(read_report(settings, run_id)))
    unpublish_run(settings, run_id, "the prices were wrong")
    assert not write_report(settings, run_id).is_published
    assert re.search(r"taken back on [^:]+:\d\d UTC: the prices", text_of(read_report(settings, run_id)))


def test_page_stays_when_newer_runs_took_the_place_of_its_rows(
    published_alone: tuple[Settings, str],
) -> None:
    settings, run_id = published_alone
    write_report(settings, run_id)
    page = read_report(settings, run_id)
    with admin_of(settings) as admin:
        for mart in ("retention_queue", "customer_churn_current"):
            admin.execute(f"delete from marts.{mart}")
    assert write_report(settings, run_id).is_kept
    assert read_report(settings, run_id) == page
    with admin_of(settings) as admin:
        admin.execute("delete from ops.run_reports")
    assert not write_report(settings, run_id).is_kept
    assert "The queue of this run is no longer kept" in read_report(settings, run_id)


def test_a_run_that_wrote_no_marts_tells_how_it_ended(settings: Settings) -> None:
    run_id = open_run(settings, "night", datetime(2026, 11, 1, 2, tzinfo=UTC)).run_id
    close_run(settings, run_id, "failed", "gate_raw: <b>no</b> customers were delivered")
    write_report(settings, run_id)
    text = text_of(read_report(settings, run_id))
    assert "Not published: the run has failed" in text
    assert "gate_raw: <b>no</b> customers were delivered" in text
    assert "No model scored this run" in text
    assert "not known" not in text


def test_what_cannot_be_reported_is_refused(settings: Settings) -> None:
    training = open_run(settings, "training", datetime(2026, 11, 1, 2, tzinfo=UTC)).run_id
    with pytest.raises(WarehouseError, match=r"'night-1'.*no such row.*churn-ml run list"):
        write_report(settings, "night-1")
    with pytest.raises(WarehouseError, match=r"of kind training.*churn-ml model card"):
        write_report(settings, training)
    with pytest.raises(WarehouseError, match=r"found none.*`churn-ml report night-1` writes it"):
        read_report(settings, "night-1")


def test_command_writes_the_page_of_a_date(
    night: ReportedNight, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("churn_ml.cli.reports.load_settings", lambda: night.settings)
    path = tmp_path / "new" / "report.html"
    arguments = ["report", "--as-of", "2026-10-31", "--output", str(path), "--json"]
    with admin_of(night.settings) as admin:
        admin.execute("delete from ops.published_runs")
        admin.execute(
            "insert into ops.published_runs (as_of_date, run_id, known_as_of) values (%s, %s, %s)",
            [night.run.as_of_date, night.run.run_id, night.run.known_as_of],
        )
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["byte_count"] == len(night.page.encode())
    assert path.read_text(encoding="utf-8") == night.page
    both = CliRunner().invoke(app, ["report", night.run.run_id, "--as-of", "2026-10-31"])
    assert both.exit_code == 2
    assert "leave one out" in both.output


def test_the_template_is_packaged() -> None:
    packaged = {file.distribution_path for file in WheelBuilder(str(PROJECT)).recurse_included_files()}
    assert "churn_ml/dashboard/report.html.j2" in packaged


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_by_day_and_by_night(night: ReportedNight, scheme: str) -> None:
    """WCAG 2.1, 1.4.3: 4.5 to 1 for text; 1.4.11: 3 to 1 for what a chart draws."""
    blocks = re.findall(r":root \{(.*?)\}", night.page, flags=re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[0]))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[1]))
    pairs = [
        (ink, ground, 4.5) for ink in ("ink", "quiet", "good", "bad", "care") for ground in ("paper", "shade")
    ]
    pairs += [("bad", "bad-shade", 4.5), ("care", "care-shade", 4.5), ("ink", "bad-shade", 4.5)]
    pairs += [("on-high", "high", 4.5), ("on-light", "low", 4.5), ("on-light", "medium", 4.5)]
    pairs += [("level", "paper", 3.0), ("good", "paper", 3.0), ("bad", "paper", 3.0)]
    for ink, ground, least in pairs:
        light, dark = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= least, f"{ink} on {ground}"


def test_a_browser_opens_and_prints_it_alone(
    night: ReportedNight, browser: "Browser", tmp_path: Path
) -> None:
    pictures = Path(os.environ.get("CHURN_SCREENSHOTS_DIR", tmp_path))
    path = tmp_path / "report.html"
    path.write_text(night.page, encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    for name, width, scheme in (
        ("laptop", 1366, "light"),
        ("laptop_dark", 1366, "dark"),
        ("phone", 390, "light"),
    ):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.screenshot(path=pictures / f"report_{name}.png", full_page=True)
        assert page.get_by_role("heading", level=1).inner_text().startswith("Telco")
    printed = page.pdf(path=pictures / "report.pdf", prefer_css_page_size=True)
    faulty = browser.new_page()
    faults: list[str] = []
    faulty.on("pageerror", lambda error: faults.append(str(error)))
    faulty.set_content(f"<html>{HOSTILE_ID}</html>")
    assert faults, "the browser would not tell of an error"
    assert said == []
    assert asked == [path.as_uri()] * 3
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6
