"""Every page in a real browser: no error, no foreign host, no sideways scrolling, the numbers of the marts.

What a page must say stands in ``expected_<page>.py``: ``expected(rows)`` asks the marts in plain SQL and
returns the texts; white space only parts words.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from churn_ml.dashboard.shell import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Page

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.mark.parametrize("name", PAGES)
def test_page_says_what_the_marts_hold(
    name: str, page: "Page", dashboard_url: str, rows: Rows, screenshots: Path
) -> None:
    from page_visits import LAPTOP, PHONE, Visit

    visit = Visit(page, dashboard_url, name)
    said = visit.open(LAPTOP)
    told = ["16 December 2026", *import_module(f"expected_{name}").expected(rows)]
    words = " ".join(said.split())
    missing = [text for text in told if " ".join(text.split()) not in words]
    assert not missing, f"not on the page: {missing}\n\n{said}"
    assert len(told) > 2, "expected at least two texts of the marts"
    assert not visit.is_too_wide()
    visit.keep(screenshots)
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.wait_for_timeout(300)
    assert not visit.is_too_wide()
    visit.keep(screenshots)
    assert visit.errors == []
    assert visit.foreign == []


def test_bare_address_leads_to_the_first_page(page: "Page", dashboard_url: str) -> None:
    page.goto(dashboard_url)
    page.wait_for_url("**/retention_summary", timeout=60_000)
    page.wait_for_selector("h1")
    assert page.get_by_role("link", name="Can I trust it").count() == 1
    assert page.get_by_text("Deploy").count() == 0


def test_visit_sees_what_must_not_be(page: "Page") -> None:
    from page_visits import Visit

    visit = Visit(page, "", "")
    visit.listen()
    page.route("**/*", lambda route: route.abort())
    page.set_content(
        "<main data-testid=stMain><div style='width: 3000px'>wide</div></main>"
        "<img src='https://fonts.example/a.svg'><script>console.error('wrong'); nothing.here</script>"
    )
    assert visit.foreign == ["https://fonts.example/a.svg"]
    assert visit.is_too_wide()
    assert [error for error in visit.errors if "wrong" in error]
    assert [error for error in visit.errors if "nothing is not defined" in error]
