"""The Airflow UI in a real browser after a night: what a data engineer sees, and where each link leads.

Screenshots go to the folder that CHURN_SCREENSHOTS_DIR names.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
from live import LiveAirflow
from playwright.sync_api import Browser, Page, Request, expect

from churn_ml.services.airflow_environment import ADMIN_USER, admin_password
from churn_ml.services.dbt import build_docs
from churn_ml.settings import Settings

GROUPS = ["raw", "features", "scores", "marts", "published"]
SECONDS = 60_000

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.long]


@dataclass
class Browsing:
    """A signed-in visitor, and what went wrong on any page so far."""

    url: str
    page: Page
    folder: Path
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", lambda line: self._hear(line.type, line.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._follow)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.url}/{path}")
        return self.page

    def keep(self, name: str) -> None:
        self.page.wait_for_timeout(1000)  # the graph moves into its place
        self.page.screenshot(path=self.folder / f"airflow-{name}.png")

    def _hear(self, kind: str, text: str) -> None:
        # dbt's page asks for images by the names in its templates before it has filled them.
        is_template = "/dbt-docs/" in text and ("%7B%7B" in text or "$%7Brequire" in text)
        if kind == "error" and not is_template:
            self.errors.append(text)

    def _follow(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1":
            self.foreign.append(request.url)


@pytest.fixture(scope="module")
def visited(
    live_airflow: LiveAirflow, night: str, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browsing]:
    """A browser that signs in as a person does; dbt docs are written."""
    settings, url = live_airflow.settings, live_airflow.client.url
    build_docs(settings)
    folder = Path(os.environ.get("CHURN_SCREENSHOTS_DIR") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(viewport={"width": 1366, "height": 900})
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    browsing = Browsing(url, page, folder)
    sign_in(page, url, settings)
    browsing.watch(page)
    yield browsing
    context.close()


def sign_in(page: Page, url: str, settings: Settings) -> None:
    """Ask for a page of the night, be led to the sign-in, and come back to it."""
    page.goto(f"{url}/churn/data-docs/index.html")
    page.locator('input[name="username"]').fill(ADMIN_USER)
    page.locator('input[name="password"]').fill(admin_password(settings))
    page.locator('button[type="submit"]').click()
    expect(page.get_by_role("heading", name="Gates of the warehouse")).to_be_visible()


@pytest.fixture(autouse=True)
def _nothing_went_wrong(visited: Browsing) -> Iterator[None]:
    """No page of a test logs an error or calls another host."""
    visited.errors.clear()
    visited.foreign.clear()
    yield
    assert visited.errors == []
    assert visited.foreign == []


def of_run(night: str) -> str:
    return f"dags/churn_nightly/runs/{quote(night, safe='')}"


def test_grid_and_graph_read_as_the_product(visited: Browsing, night: str) -> None:
    page = visited.open(of_run(night))
    page.get_by_label("Show Grid").first.click()
    for group in GROUPS:
        expect(page.get_by_test_id(group).first).to_be_visible()
    visited.keep("grid")
    page.get_by_label("Show Graph").first.click()
    nodes = page.locator(".react-flow__node")
    expect(nodes).to_have_count(len(GROUPS) + 1)
    expect(page.locator(".react-flow__edge")).to_have_count(len(GROUPS))
    places = sorted(((node.bounding_box() or {})["x"], node.inner_text()) for node in nodes.all())
    assert [text.split()[0] for _, text in places] == ["open_run", *GROUPS]
    visited.keep("graph")
    page.get_by_label("Show Grid").first.click()


def test_documentation_of_a_dag_is_rendered(visited: Browsing) -> None:
    page = visited.open("dags/churn_nightly")
    page.get_by_label("Dag Docs").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem")).to_have_count(5)
    expect(dialog.get_by_role("table")).to_be_visible()
    visited.keep("documentation")


@pytest.mark.parametrize(("dag_id", "asked"), [("churn_nightly", "Why it is published"),
                                               ("churn_training", "Seed of all draws"),
                                               ("churn_backfill", "Whose knowledge")])  # fmt: skip
def test_forms_ask_in_words(visited: Browsing, dag_id: str, asked: str) -> None:
    page = visited.open(f"dags/{dag_id}")
    page.get_by_label("Trigger Dag").click()
    expect(page.get_by_role("dialog").get_by_text(asked)).to_be_visible()
    visited.keep(f"form-{dag_id}")


def test_assets_lead_from_raw_to_published(visited: Browsing) -> None:
    page = visited.open("assets")
    page.get_by_role("link", name="telco_published").click()
    page.get_by_text("Task Dependencies").click()
    for room in ("raw", "features", "ml", "scores", "marts", "published"):
        expect(page.locator(".react-flow__node", has_text=f"telco_{room}")).to_have_count(1)
    page.locator(".react-flow__controls-fitview").click()
    visited.keep("assets")


def test_navigation_opens_what_the_nights_write(visited: Browsing) -> None:
    for name, said in (("Data Docs", "Gates of the warehouse"), ("dbt docs", "The churn warehouse")):
        page = visited.open("")
        page.get_by_label(name, exact=True).first.click()
        expect(page.frame_locator("iframe").get_by_role("heading", name=said)).to_be_visible()
        visited.keep(name.lower().replace(" ", "-"))


def test_tabs_of_a_run_show_its_report_and_its_gates(
    visited: Browsing, live_airflow: LiveAirflow, night: str
) -> None:
    run_id = live_airflow.client.asset_events("churn_nightly", night)["telco_published"]["run_id"]
    said: dict[str, Callable[[Page], None]] = {
        "Report": lambda page: expect(
            page.frame_locator("iframe").get_by_text("31 October 2026").first
        ).to_be_visible(),
        "Gates": lambda page: expect(
            page.frame_locator("iframe").locator(f'[id="{run_id}"]')
        ).to_be_in_viewport(),
    }
    for name, is_shown in said.items():
        page = visited.open(of_run(night))
        page.get_by_role("link", name=name).click()
        is_shown(page)
        visited.keep(f"run-{name.lower()}")


def test_every_link_of_the_plugin_resolves(visited: Browsing, night: str) -> None:
    cookies = {str(cookie["name"]): str(cookie["value"]) for cookie in visited.page.context.cookies()}
    with httpx.Client(base_url=visited.url, cookies=cookies, trust_env=False) as client:
        plugins = client.get("/api/v2/plugins").json()["plugins"]
        [views] = [plugin["external_views"] for plugin in plugins if plugin["name"] == "churn_links"]
        for view in views:
            href = (
                view["href"].replace("{DAG_ID}", "churn_nightly").replace("{RUN_ID}", quote(night, safe=""))
            )
            found = {name: client.get(view[name]).status_code for name in ("icon", "icon_dark_mode")}
            assert set(found.values()) == {200}, (view["name"], found)
            # The tests' instance has no dashboard: the link says so.
            expected = {404} if view["name"] == "Dashboard" else {200, 307}
            assert client.get(href).status_code in expected, view["name"]
