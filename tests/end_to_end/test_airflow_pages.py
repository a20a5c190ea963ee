"""Pages that Airflow's API server serves of a night: to whom, what, and nothing beside it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from live import LiveAirflow

from churn_ml.services.airflow_environment import ADMIN_USER, admin_password

pytestmark = [pytest.mark.live, pytest.mark.slow]

PAGES = ["data-docs/index.html", "dbt-docs/index.html", "dashboard", "icons/report.svg"]
OUTSIDE = [
    "../secrets.json", "..%2fsecrets.json", "%2e%2e/secrets.json", "....//secrets.json", "%2fetc%2fpasswd",
    "validations/../../secrets.json", "index.html%00", "..%5csecrets.json",
]  # fmt: skip


@pytest.fixture(scope="module")
def visitor(live_airflow: LiveAirflow) -> httpx.Client:
    """A browser that has signed in: it holds Airflow's own cookie."""
    client = live_airflow.client
    signed = httpx.post(
        f"{client.url}/auth/token",
        json={"username": ADMIN_USER, "password": admin_password(live_airflow.settings)}, trust_env=False,
    ).json()  # fmt: skip
    return httpx.Client(
        base_url=client.url, cookies={"_token": signed["access_token"]}, trust_env=False, timeout=30
    )


def of_run(dag_run_id: str, dag_id: str = "churn_nightly") -> str:
    return f"dag_id={dag_id}&dag_run_id={quote(dag_run_id, safe='')}"


def policy(headers: Mapping[str, str]) -> dict[str, list[str]]:
    rules = [rule.split() for rule in headers["Content-Security-Policy"].split(";")]
    return {rule[0]: rule[1:] for rule in rules}


@pytest.mark.parametrize("path", [*PAGES, "report?dag_id=churn_nightly&dag_run_id=x",
                                  "gates?dag_id=churn_nightly&dag_run_id=x"])  # fmt: skip
def test_nobody_enters_without_airflows_session(live_airflow: LiveAirflow, path: str) -> None:
    address = f"{live_airflow.client.url}/churn/{path}"
    assert httpx.get(address, trust_env=False).status_code == 401
    forged = httpx.get(address, cookies={"_token": "a.b.c"}, trust_env=False)
    assert forged.status_code in {401, 403}
    asked = httpx.get(address, headers={"Accept": "text/html"}, trust_env=False)
    assert asked.is_redirect
    sign_in = urlsplit(asked.headers["Location"])
    assert sign_in.path == "/api/v2/auth/login"
    [leads_back] = parse_qs(sign_in.query)["next"]
    assert urlsplit(leads_back).path == f"/churn/{path.split('?')[0]}"


def test_report_of_the_night_is_served_as_it_was_written(
    live_airflow: LiveAirflow, visitor: httpx.Client, night: str
) -> None:
    from churn_ml.dashboard.report import read_report

    events = live_airflow.client.asset_events("churn_nightly", night)
    page = visitor.get(f"/churn/report?{of_run(night)}")
    assert page.status_code == 200
    assert page.text == read_report(live_airflow.settings, events["telco_published"]["run_id"])
    rules = policy(page.headers)
    assert rules["default-src"] == ["'none'"]
    assert "script-src" not in rules, "a report runs nothing"


def test_gates_of_the_night_are_found_in_data_docs(
    live_airflow: LiveAirflow, visitor: httpx.Client, night: str
) -> None:
    run_id = live_airflow.client.asset_events("churn_nightly", night)["telco_published"]["run_id"]
    led = visitor.get(f"/churn/gates?{of_run(night)}")
    assert led.headers["Location"] == f"data-docs/index.html#{run_id}"
    index = visitor.get("/churn/data-docs/index.html")
    assert index.status_code == 200
    assert f'id="{run_id}"' in index.text
    suite = index.text.split('<a href="')[1].split('"')[0]
    assert visitor.get(f"/churn/data-docs/{suite}").status_code == 200


def test_no_page_may_call_another_host(visitor: httpx.Client, night: str) -> None:
    for path in [
        "data-docs/index.html",
        "dbt-docs/index.html",
        f"report?{of_run(night)}",
        "icons/report.svg",
    ]:
        headers = visitor.get(f"/churn/{path}").headers
        sources = {source for rule in policy(headers).values() for source in rule}
        assert sources <= {"'none'", "'self'", "data:", "'unsafe-inline'", "'unsafe-eval'"}, path
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("folder", ["data-docs", "dbt-docs", "icons"])
def test_nothing_outside_the_folder_is_served(
    live_airflow: LiveAirflow, visitor: httpx.Client, night: str, folder: str, path: str
) -> None:
    assert (live_airflow.settings.home / "secrets.json").exists()
    raw = httpx.URL(f"{visitor.base_url}").copy_with(raw_path=f"/churn/{folder}/{path}".encode())
    served = visitor.get(raw)
    assert "role" not in served.text
    assert "root:" not in served.text
    assert served.status_code in {400, 404}


@pytest.mark.parametrize(
    ("path", "told"),
    [("dbt-docs/index.html", "churn-ml docs"), ("dashboard", "churn-ml dashboard"),
     ("report?dag_id=churn_nightly&dag_run_id=never", "none"), ("data-docs/no.html", "first night")],
)  # fmt: skip
def test_what_is_not_there_is_told_in_a_sentence(
    visitor: httpx.Client, night: str, path: str, told: str
) -> None:
    missing = visitor.get(f"/churn/{path}")
    assert missing.status_code == 404
    assert told in missing.text


@pytest.mark.parametrize("page", ["report", "gates"])
def test_name_that_postgres_cannot_hold_is_refused(visitor: httpx.Client, page: str) -> None:
    assert visitor.get(f"/churn/{page}?dag_id=churn_nightly&dag_run_id=x%00").status_code == 422


def test_summary_of_the_night_is_on_its_asset_event(
    live_airflow: LiveAirflow, visitor: httpx.Client, night: str
) -> None:
    from churn_ml.publishing.summary import summarise_night

    told: dict[str, Any] = live_airflow.client.asset_events("churn_nightly", night)["telco_published"]
    summary = summarise_night(live_airflow.settings, told["run_id"]).headline()
    assert summary["scored_customer_count"]
    assert {name: told[name] for name in summary} == summary
    assert told["as_of_date"] == "2026-10-31"
    assert told["report"] == f"{visitor.base_url}".rstrip("/") + (
        f"/dags/churn_nightly/runs/{quote(night, safe='')}/plugin/report"
    )
