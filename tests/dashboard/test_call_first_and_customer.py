"""Who to call first and One customer: the queue as the marts have it, filters in SQL, a customer's past."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from app_pages import open_page, texts
from clones import clone_warehouse, drop_warehouse
from streamlit.testing.v1 import AppTest

from churn_ml.dashboard.downloads import csv_file
from churn_ml.publishing.export import export_mart
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin

if TYPE_CHECKING:
    from page_visits import Visit
    from playwright.sync_api import Browser

ANY = {
    **dict.fromkeys(("risk_tier", "queue_status", "segment", "region", "plan", "contract", "least_profit")),
    "search": "",
    "most": 1000,
}
RISKY = {f"customer-{n:02}": 0.5 + 0.01 * n for n in range(40)} | {"=1+1": 0.95}
SAFE = {"calm-1": 0.01, "calm-2": 0.02}
OTHER_MODEL = "model-0"


@pytest.fixture(scope="module")
def queued(server: Settings) -> Iterator[Settings]:
    """A night with a queue, and an earlier one of the same customers by another model; for reading only."""
    from telco_nights import customer, deliver, publish, scored_night

    settings = clone_warehouse(server)
    people = [
        customer(name, monthly_charges=f"{60 + n}.00", contract="One year" if n % 4 else "Two year")
        for n, name in enumerate([*RISKY, *SAFE])
    ]
    deliver(settings, *people)
    run = scored_night(settings, RISKY | SAFE)
    publish(settings, run)
    earlier_night(settings, run.run_id, run.as_of_date - timedelta(days=30))
    yield settings
    drop_warehouse(settings)


def earlier_night(settings: Settings, run_id: str, day: object) -> None:
    """Let the same customers have been scored on `day` by another model, ten points lower."""
    from telco_nights import audit

    from churn_ml.warehouse.runs import open_run

    cut_off = read(settings, "select known_as_of - interval '30 days' from marts.dim_scoring_run")[0][0]
    former = open_run(settings, "night", cut_off)  # type: ignore[arg-type]
    changes = (
        f"'run_id', '{former.run_id}', 'scoring_run_key', runs.run_number, 'as_of_date', '{day}',"
        f" 'known_as_of', runs.known_as_of, 'model_version', '{OTHER_MODEL}'"
    )
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        for mart, more in (
            ("dim_scoring_run", ""),
            ("churn_kpis_daily", ""),
            ("fct_churn_score", ", 'churn_probability', former.churn_probability - 0.01,"
             " 'churn_probability_low', null, 'churn_probability_high', null"),
        ):  # fmt: skip
            admin.execute(
                f"insert into marts.{mart} select (jsonb_populate_record(former, jsonb_build_object("
                f"{changes}{more}))).* from marts.{mart} as former, ops.pipeline_runs as runs"
                f" where former.run_id = '{run_id}' and runs.run_id = '{former.run_id}'".encode()
            )
        admin.execute(
            "update ops.pipeline_runs set marts_begun_at = started_at where run_id = %s", [former.run_id]
        )
        # The change of the newest night, split as a night with a new model splits it.
        admin.execute(
            "update marts.fct_churn_score set previous_as_of_date = %s,"
            " previous_churn_probability = churn_probability - 0.01, risk_change_pts = 1,"
            " risk_change_model_pts = -1.5, risk_change_customer_pts = 2.5 where run_id = %s",
            [day, run_id],
        )
    audit(settings, former)
    with connect(settings, Role.PUBLISHER) as publisher:
        publisher.execute("select ops.publish_run(%s, 'test')", [former.run_id])


def read(settings: Settings, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with connect(settings, Role.READER) as reader:
        return reader.execute(statement.encode(), parameters).fetchall()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, queued: Settings) -> Callable[[str], AppTest]:
    return lambda name: open_page(monkeypatch, queued, name)


def one_customer(page: Callable[[str], AppTest], search: str) -> AppTest:
    opened = page("one_customer")
    opened.text_input(key="customer_id").input(search).run()
    assert not opened.exception
    return opened


def order(settings: Settings, where: str = "true") -> list[str]:
    statement = f"select customer_id from marts.retention_queue where {where} order by queue_position"
    return [str(customer_id) for (customer_id,) in read(settings, statement)]


def links(app: AppTest) -> list[str]:
    """Return the customers that are linked to, in order."""
    found = [element.proto.label for element in app.get("page_link")]
    return [label.removeprefix(":blue[**").removesuffix("**]").replace("\\", "") for label in found]


def offered(app: AppTest) -> list[str]:
    return [str(button.key).removeprefix("choose_") for button in app.button]


def ranked(settings: Settings, where: str = "true") -> list[str]:
    statement = (
        "select queue_position || ' · ' || customer_id from marts.retention_queue"
        f" where {where} order by queue_position limit 10"
    )
    return [str(label) for (label,) in read(settings, statement)]


def shown_rows(app: AppTest) -> list[str]:
    (frame,) = app.dataframe
    return [str(customer_id) for customer_id in frame.value["Customer"]]


def test_queue_stands_in_the_order_of_the_marts(page: Callable[[str], AppTest], queued: Settings) -> None:
    opened = page("who_to_call_first")
    assert not opened.exception
    assert len(order(queued)) > 20
    assert links(opened) == ranked(queued)
    assert shown_rows(opened) == order(queued)
    [(count, profit, cost)] = read(
        queued,
        "select count(*), sum(expected_profit_amount), sum(expected_cost_amount) from marts.retention_queue",
    )
    tiles = {tile.label: tile.value.replace("\N{NO-BREAK SPACE}", " ") for tile in opened.metric}
    assert tiles["Customers in the queue"] == str(count)
    assert tiles["Expected profit"] == f"{profit:,.0f} USD"
    assert tiles["Expected cost"] in {f"{cost:,.2f} USD", f"{cost:,.0f} USD"}


def test_card_says_why_and_what_to_do(page: Callable[[str], AppTest], queued: Settings) -> None:
    [(probability, profit, cost)] = read(
        queued,
        "select churn_probability, expected_profit_amount, expected_cost_amount from marts.retention_queue"
        " where queue_position = 1",
    )
    said = texts(page("who_to_call_first"))
    assert f"**{probability:.1%}**".replace("%", " %") in said
    assert f"Expected profit **{profit:,.2f} USD**, cost {cost:,.2f} USD" in said
    assert "Within budget" in said


def test_nobody_who_is_held_out_appears(page: Callable[[str], AppTest], queued: Settings) -> None:
    held_out = {
        str(customer_id)
        for (customer_id,) in read(
            queued, "select customer_id from marts.fct_treatment_assignment where is_held_out"
        )
    }
    opened = page("who_to_call_first")
    assert held_out
    assert not held_out & {*shown_rows(opened), *links(opened)}
    assert f"are held out tonight so that the effect can be measured ({len(held_out)})" in texts(opened)


@pytest.mark.parametrize(
    ("division", "choice", "where"),
    [
        ("contract", "two_year", "contract = 'two_year'"),
        ("risk_tier", "high", "risk_tier = 'high'"),
        ("queue_status", "to_treat", "queue_status = 'to_treat'"),
    ],
)
def test_filter_keeps_what_was_chosen(
    page: Callable[[str], AppTest], queued: Settings, division: str, choice: str, where: str
) -> None:
    opened = page("who_to_call_first")
    opened.multiselect(key=f"call_{division}").select(choice).run()
    assert links(opened) == ranked(queued, where)
    fit = order(queued, where)
    if len(fit) < len(order(queued)):
        assert f"{len(fit)} of {len(order(queued))} fit the filter" in texts(opened)


def test_filters_of_profit_and_id_are_taken_together(
    page: Callable[[str], AppTest], queued: Settings
) -> None:
    [(least,)] = read(
        queued,
        "select percentile_disc(0.5) within group (order by expected_profit_amount)"
        " from marts.retention_queue",
    )
    opened = page("who_to_call_first")
    opened.number_input(key="call_least_profit").set_value(float(str(least)))
    opened.text_input(key="call_search").input("MER-1").run()
    where = f"expected_profit_amount >= {least} and position('mer-1' in customer_id) > 0"
    assert 0 < len(order(queued, where)) < len(order(queued, "position('mer-1' in customer_id) > 0"))
    assert links(opened) == ranked(queued, where)


def test_filter_that_nobody_fits_says_so(page: Callable[[str], AppTest]) -> None:
    opened = page("who_to_call_first")
    opened.text_input(key="call_search").input("%_'; drop table").run()
    assert not opened.exception
    assert "Nobody in tonight's queue fits these filters" in texts(opened)
    assert links(opened) == []


def test_queue_of_an_earlier_night_is_said_to_be_gone(page: Callable[[str], AppTest]) -> None:
    opened = page("who_to_call_first")
    opened.selectbox(key="night").select_index(1).run()
    assert "is no longer kept" in texts(opened)
    assert links(opened) == []


def test_empty_queue_says_where_everyone_is(monkeypatch: pytest.MonkeyPatch, queued: Settings) -> None:
    settings = clone_warehouse(queued)
    try:
        with connect_admin(settings, database=settings.warehouse_database) as admin:
            admin.execute("delete from marts.retention_queue")
        opened = open_page(monkeypatch, settings, "who_to_call_first")
        assert not opened.exception
        assert "Nobody is to be called tonight" in texts(opened)
        assert f"All {len(RISKY) + len(SAFE)} active customers are not expected to repay a call" in texts(
            opened
        )
    finally:
        drop_warehouse(settings)


def file_of(monkeypatch: pytest.MonkeyPatch, settings: Settings, **changes: object) -> list[dict[str, str]]:
    for name in ("home", "dataset", "database_prefix"):
        monkeypatch.setenv(f"CHURN_{name.upper()}", str(getattr(settings, name)))
    [(key,)] = read(settings, "select max(scoring_run_key) from marts.retention_queue")
    given = {**ANY, "scoring_run_key": key, **changes}
    data = csv_file("call_queue", given, ["found_count"])  # type: ignore[arg-type]
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"))))


def test_file_holds_what_is_filtered_as_plain_numbers(
    monkeypatch: pytest.MonkeyPatch, queued: Settings
) -> None:
    rows = file_of(monkeypatch, queued, contract=("two_year",), most=3)
    assert [row["customer_id"] for row in rows] == [
        customer_id.replace("=", "'=") for customer_id in order(queued, "contract = 'two_year'")[:3]
    ]
    assert "found_count" not in rows[0]
    expected = read(
        queued,
        "select expected_profit_amount::text, churn_probability::text from marts.retention_queue"
        " where contract = 'two_year' order by queue_position limit 3",
    )
    assert [(row["expected_profit_amount"], row["churn_probability"]) for row in rows] == expected
    assert {row["risk_change_pts"] for row in rows} <= {""}, "not known is empty, never 0"


def test_formula_in_the_file_is_defused_as_the_export_does(
    monkeypatch: pytest.MonkeyPatch, queued: Settings, tmp_path: Path
) -> None:
    (row,) = file_of(monkeypatch, queued, search="1+1")
    path = tmp_path / "queue.csv"
    export_mart(queued, "retention_queue", path, where="customer_id = '=1+1'", escape_formulas=True)
    (exported,) = csv.DictReader(path.open(encoding="utf-8", newline=""))
    assert row["customer_id"] == exported["customer_id"] == "'=1+1"
    shared = set(row) & set(exported)
    assert {name: row[name] for name in shared} == {name: exported[name] for name in shared}


def test_customer_is_found_by_id(page: Callable[[str], AppTest], queued: Settings) -> None:
    opened = one_customer(page, "customer-39")
    said = texts(opened)
    assert (
        "customer\\-39 is at high risk: 89.0 % to leave" in said
        or "customer-39 is at high risk: 89.0 % to leave" in said
    )
    tiles = {tile.label: tile.value.replace("\N{NO-BREAK SPACE}", " ") for tile in opened.metric}
    [(value, loss)] = read(
        queued,
        "select value_at_risk_amount, expected_revenue_loss_amount from marts.fct_churn_score"
        " where customer_id = 'customer-39' order by as_of_date desc limit 1",
    )
    assert tiles["Churn probability"] == "89.0 %"
    assert tiles["Value at risk"] == f"{value:,.0f} USD"
    assert tiles["Expected loss"] in {f"{loss:,.0f} USD", f"{loss:,.2f} USD"}


def test_customer_in_the_address_is_shown(monkeypatch: pytest.MonkeyPatch, queued: Settings) -> None:
    opened = open_page(monkeypatch, queued, "one_customer", customer_id="calm-1")
    assert "calm-1 is at low risk: 1.0 % to leave" in texts(opened)
    assert "a call is not expected to repay its cost" in texts(opened)


def test_change_of_risk_is_split_and_the_change_of_model_marked(page: Callable[[str], AppTest]) -> None:
    opened = one_customer(page, "customer-20")
    said = texts(opened)
    assert "The risk over 2 published nights" in said
    assert "An upright line: another model from here on." in said
    assert (
        "**+1.0 points** since 1 October 2026: \N{MINUS SIGN}1.5 points by a change of model, "
        "+2.5 points by what became of the customer." in said
    )
    (chart,) = [element.proto for element in opened.get("vega_lite_chart")]
    layers = {layer["mark"]["type"]: layer for layer in json.loads(chart.spec)["layer"]}
    counts = {one.name: len(one.data.data) for one in chart.datasets}
    assert set(layers) == {"line", "rule", "text"}
    assert all(counts[layer["data"]["name"]] for layer in layers.values()), "every layer has rows of its own"


def test_held_out_customer_is_not_to_be_called(page: Callable[[str], AppTest], queued: Settings) -> None:
    [(customer_id, until)] = read(
        queued,
        "select customer_id, cooldown_until_date from marts.fct_treatment_assignment"
        " where is_held_out order by customer_id limit 1",
    )
    said = texts(one_customer(page, str(customer_id)))
    assert f"until {until.day} {until:%B %Y}: do not call.**" in said  # type: ignore[attr-defined]
    assert "tonight's queue" not in said


def test_unknown_id_gets_a_plain_message(page: Callable[[str], AppTest]) -> None:
    opened = one_customer(page, "nobody *at all*")
    assert "No customer has the id nobody \\*at all\\*" in texts(opened)
    assert not opened.metric


def test_beginning_of_an_id_lists_whom_it_could_be(page: Callable[[str], AppTest]) -> None:
    opened = one_customer(page, "CALM")
    assert offered(opened) == ["calm-1", "calm-2"]
    opened.button(key="choose_calm-2").click().run()
    assert "calm-2 is at low risk" in texts(opened)
    assert len(offered(one_customer(page, "customer"))) == 8
    assert "calm-2 is at low risk" in texts(one_customer(page, "m-2"))


def test_without_an_id_those_to_call_first_are_offered(
    page: Callable[[str], AppTest], queued: Settings
) -> None:
    assert offered(page("one_customer")) == order(queued)[:5]


def test_earlier_night_shows_the_customer_as_it_was(page: Callable[[str], AppTest]) -> None:
    opened = one_customer(page, "customer-39")
    opened.selectbox(key="night").select_index(1).run()
    said = texts(opened)
    assert "88.0 % to leave" in said
    assert "The risk on one night" in said
    assert "tonight's queue" not in said


def test_text_of_the_source_is_not_taken_for_markup(page: Callable[[str], AppTest]) -> None:
    assert "=1+1 is at high risk" in texts(one_customer(page, "=1+1"))


def keep(visit: "Visit", name: str, screenshots: Path) -> None:
    """Keep what the tab shows on a phone and on a laptop, which nobody has to scroll sideways."""
    from page_visits import LAPTOP, PHONE

    visit.name = name
    for width, height in (PHONE, LAPTOP):
        visit.page.set_viewport_size({"width": width, "height": height})
        visit.page.wait_for_timeout(1000)
        assert not visit.is_too_wide()
        visit.keep(screenshots)
    visit.page.set_viewport_size({"width": LAPTOP[0], "height": LAPTOP[1]})


def test_link_and_file_work_in_a_browser(
    queued: Settings, browser: "Browser", tmp_path: Path, screenshots: Path
) -> None:
    from dashboard_server import serve
    from page_visits import LAPTOP, Visit

    context = browser.new_context(viewport={"width": LAPTOP[0], "height": LAPTOP[1]})
    try:
        with serve(queued, tmp_path) as url:
            tab = context.new_page()
            visit = Visit(tab, url, "who_to_call_first")
            visit.open(LAPTOP)
            with tab.expect_download() as download:
                tab.get_by_role("button", name="Download CSV").click()
            rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
            assert [row["customer_id"].lstrip("'") for row in rows] == order(queued)
            keep(visit, "who_to_call_first-queue", screenshots)
            first = order(queued)[0]
            tab.get_by_role("link", name=f"1 · {first}").click()
            tab.wait_for_url(f"**/one_customer?customer_id={quote(first)}")
            tab.wait_for_selector(f"h2:has-text('{first} is at high risk')")
            keep(visit, "one_customer-found", screenshots)
            assert visit.errors == []
            assert visit.foreign == []
    finally:
        context.close()
