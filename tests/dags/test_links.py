"""The plugin of links: what Airflow reads of it, and that only the API server pays for its pages."""

from typing import Any

import pytest
from dag_parsing import run_python

from churn_ml.settings import Settings

# As a task starts: plugins are loaded. Then as the API server reads them.
READ = """
import json, os, sys
from airflow import plugins_manager

plugins_manager.ensure_plugins_loaded()
in_task = sorted({name.split(".")[0] for name in sys.modules} & {"fastapi", "pandas", "sklearn"})
views = plugins_manager._get_ui_plugins()[0]
[plugin] = [plugin for plugin in plugins_manager.get_plugin_info() if plugin["name"] == "churn_links"]
apps, _ = plugins_manager.get_fastapi_plugins()
routes = {route.path: [dependency.dependency.__module__ for dependency in route.dependencies]
          for app in apps for route in app["app"].routes}
from links import Links

del os.environ["CHURN_MLFLOW_URL"]
print("RESULT", json.dumps({
    "without_mlflow": [view["name"] for view in Links().external_views],
    "in_task": in_task, "errors": plugins_manager._get_plugins()[1], "views": plugin["external_views"],
    "apps": {app["url_prefix"]: app["name"] for app in apps}, "routes": routes,
    "inside": [view["name"] for view in views],
    "loaded": sorted(plugin["name"] for plugin in plugins_manager.get_plugin_info()),
}))
"""


@pytest.fixture(scope="module")
def plugin(server: Settings) -> dict[str, Any]:
    """What Airflow makes of the plugins under a path, with MLflow configured."""
    base = {"AIRFLOW__API__BASE_URL": "https://churn.example/airflow"}
    found: dict[str, Any] = run_python(
        server, READ, CHURN_MLFLOW_URL="https://mlflow.example/#/models", **base
    )
    return found


def test_plugins_load_and_tasks_pay_nothing_for_pages(plugin: dict[str, Any]) -> None:
    assert plugin["errors"] == {}
    assert plugin["loaded"] == ["asked_nights", "churn_links"]
    assert plugin["in_task"] == [], "import what serves pages inside the plugin's properties"


def test_navigation_leads_to_each_thing_under_airflows_own_path(plugin: dict[str, Any]) -> None:
    nav = {view["name"]: view["href"] for view in plugin["views"] if view["destination"] == "nav"}
    assert nav == {
        "Dashboard": "/airflow/churn/dashboard",
        "Data Docs": "/airflow/churn/data-docs/index.html",
        "dbt docs": "/airflow/churn/dbt-docs/index.html",
        "MLflow": "https://mlflow.example/#/models",
    }


def test_every_run_has_a_tab_for_its_report_and_its_gates(plugin: dict[str, Any]) -> None:
    tabs = {view["name"]: view["href"] for view in plugin["views"] if view["destination"] == "dag_run"}
    assert tabs == {
        "Report": "/airflow/churn/report?dag_id={DAG_ID}&dag_run_id={RUN_ID}",
        "Gates": "/airflow/churn/gates?dag_id={DAG_ID}&dag_run_id={RUN_ID}",
    }
    assert sorted(plugin["inside"]) == ["Data Docs", "Gates", "Report", "dbt docs"]


def test_no_page_is_without_airflows_authorisation(plugin: dict[str, Any]) -> None:
    assert plugin["apps"] == {"/churn": "churn pages"}
    assert plugin["routes"]
    for path, checks in plugin["routes"].items():
        assert checks == ["airflow.api_fastapi.core_api.security"], (
            f"give {path} a dependency that asks Airflow"
        )


def test_mlflow_is_linked_only_where_it_is_configured(plugin: dict[str, Any]) -> None:
    named = [view["name"] for view in plugin["views"]]
    assert [name for name in named if name not in plugin["without_mlflow"]] == ["MLflow"]
