"""Links of Airflow's navigation and of a run to what the nights write; `served_pages` serves it."""

from functools import cached_property
from urllib.parse import quote, urlsplit

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.configuration import conf

PREFIX = "/churn"


def base_url():
    """Return the address under which people reach Airflow, without a slash at its end."""
    return conf.get("api", "base_url", fallback="").rstrip("/")


def report_address(dag_run):
    """Return the address of the tab *Report* of a DAG run."""
    return f"{base_url()}/dags/{dag_run.dag_id}/runs/{quote(dag_run.run_id, safe='')}/plugin/report"


def _view(name, href, icon, **where):
    path = f"{urlsplit(base_url()).path}{PREFIX}"
    icons = {"icon": f"{path}/icons/{icon}.svg", "icon_dark_mode": f"{path}/icons/{icon}-dark.svg"}
    return {"name": name, "href": href if "://" in href else f"{path}/{href}"} | icons | where


class Links(AirflowPlugin):
    """Adds pages under ``/churn``, their links in the navigation and two tabs to every run.

    The properties are read by the API server alone: no other process loads FastAPI or the settings.
    """

    name = "churn_links"

    @cached_property
    def fastapi_apps(self):
        """What serves the pages, behind Airflow's own sign-in."""
        from served_pages import create_app

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "churn pages"}]

    @cached_property
    def external_views(self):
        """The links; those with a route open within Airflow, the others in a tab of the browser."""
        from churn_ml.settings import load_settings

        nav, run = {"destination": "nav", "nav_top_level": True}, {"destination": "dag_run"}
        of_run = "?dag_id={DAG_ID}&dag_run_id={RUN_ID}"
        views = [
            _view("Dashboard", "dashboard", "dashboard", **nav),
            _view("Data Docs", "data-docs/index.html", "data-docs", url_route="data-docs", **nav),
            _view("dbt docs", "dbt-docs/index.html", "dbt-docs", url_route="dbt-docs", **nav),
            _view("Report", f"report{of_run}", "report", url_route="report", **run),
            _view("Gates", f"gates{of_run}", "data-docs", url_route="gates", **run),
        ]
        mlflow = load_settings().mlflow_url
        return views + ([_view("MLflow", mlflow, "mlflow", **nav)] if mlflow else [])
