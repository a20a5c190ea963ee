"""The pages under ``/churn`` of Airflow's API server: reports, Data Docs, dbt docs, the dashboard's address.

Whoever may read the DAG `churn_nightly` may read them; Airflow's own session says who that is.
"""

import re
from html import escape
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urljoin

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from links import base_url
from starlette.exceptions import HTTPException as StatusError

from churn_ml.errors import ChurnError
from churn_ml.settings import load_settings

_STYLED = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "img-src 'self' data:; font-src 'self' data:; style-src 'self' 'unsafe-inline'"
)
# dbt docs are one page that compiles its own templates; it may run what it brings and call nobody.
_SCRIPTED = f"{_STYLED}; script-src 'unsafe-inline' 'unsafe-eval'"
_HEADERS = {
    "Content-Security-Policy": _STYLED,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:4rem auto;padding:0 1rem}"
    "code{background:#edf1f5;padding:.1em .35em;border-radius:4px}"
)
_NIGHTS = [Depends(requires_access_dag("GET", param_dag_id="churn_nightly"))]
_RUN = [Depends(requires_access_dag("GET", DagAccessEntity.RUN))]
_Id = Annotated[str, Query(pattern=r"^[^\x00]+$")]  # Postgres knows no text with a NUL
_ICONS = StaticFiles(directory=Path(__file__).parent / "icons")


def create_app():
    """Return the application that Airflow mounts."""
    app = FastAPI(title="churn pages", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_with_headers)
    app.exception_handler(StatusError)(_explain)
    app.get("/dashboard", dependencies=_NIGHTS)(lead_to_dashboard)
    app.get("/data-docs/{path:path}", dependencies=_NIGHTS)(serve_data_docs)
    app.get("/dbt-docs/{path:path}", dependencies=_NIGHTS)(serve_dbt_docs)
    app.get("/report", dependencies=_RUN)(serve_report)
    app.get("/gates", dependencies=_RUN)(lead_to_gates)
    app.get("/icons/{path:path}", dependencies=_NIGHTS)(serve_icon)
    return app


def lead_to_dashboard():
    """Lead to where the dashboard of this instance is now."""
    from churn_ml.services.dashboard import dashboard_endpoint

    settings = load_settings()
    endpoint = None if settings.dashboard_url else dashboard_endpoint(settings)
    address = settings.dashboard_url or (endpoint and endpoint.url)
    if not address:
        raise HTTPException(404, "The dashboard was never started here. `churn-ml dashboard` starts it.")
    return RedirectResponse(address)


async def serve_data_docs(path: str, request: Request):
    """Serve a file of Data Docs."""
    missing = "No gate has written this page. The first page of Data Docs comes with the first night's gates."
    return await _serve(StaticFiles(directory=load_settings().home / "data_docs", check_dir=False),
                        path, request, missing)  # fmt: skip


async def serve_dbt_docs(path: str, request: Request):
    """Serve the page of dbt docs."""
    files = StaticFiles(directory=load_settings().home / "dbt_docs", check_dir=False)
    response = await _serve(files, path, request, "dbt docs are not written yet: run `churn-ml docs`.")
    response.headers["Content-Security-Policy"] = _SCRIPTED
    return response


async def serve_icon(path: str, request: Request):
    """Serve an icon of the navigation."""
    return await _serve(_ICONS, path, request, "There is no such icon.")


def serve_report(dag_id: _Id, dag_run_id: _Id):
    """Serve the report of the run that a DAG run minted."""
    from churn_ml.dashboard.report import read_report

    if dag_id == "churn_training":
        raise HTTPException(404, "A training has no report: `churn-ml model list` shows what it registered.")
    run_id = _minted(dag_id, dag_run_id)
    try:
        return HTMLResponse(read_report(load_settings(), run_id))
    except ChurnError as error:
        raise HTTPException(404, str(error)) from None


def lead_to_gates(dag_id: _Id, dag_run_id: _Id):
    """Lead to the gates of a run in Data Docs."""
    run_id = quote(_minted(dag_id, dag_run_id), safe="")
    return RedirectResponse(f"data-docs/index.html#{run_id}")


def _minted(dag_id, dag_run_id):
    from churn_ml.warehouse.runs import run_of_dag_run

    try:
        return run_of_dag_run(load_settings(), dag_id, dag_run_id)
    except ChurnError as error:
        raise HTTPException(404, str(error)) from None


async def _serve(files, path, request, missing):
    try:
        return await files.get_response(path, request.scope)
    except StatusError as error:
        raise HTTPException(error.status_code, missing) from None


async def _with_headers(request, call_next):
    response = await call_next(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _explain(request, error):
    """Lead whoever is not signed in to Airflow's sign-in; tell others in a sentence what is missing."""
    if error.status_code == 401 and "text/html" in request.headers.get("Accept", ""):
        asked = urljoin(base_url(), f"{request.url.path}?{request.url.query}")
        return RedirectResponse(f"{base_url()}/api/v2/auth/login?next={quote(asked, safe='')}")
    told = re.sub("`([^`]+)`", r"<code>\1</code>", escape(str(error.detail)))
    head = f"<meta charset=utf-8><title>{error.status_code}</title><style>{_STYLE}</style>"
    return HTMLResponse(f"<!doctype html><html lang=en>{head}<p>{told}</p></html>", error.status_code)
