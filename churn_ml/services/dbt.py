"""The only place that calls dbt: in process, one part of the warehouse at a time.

dbt reads its secrets and the run's values from environment variables that exist for the length of
one call. The project is parsed once and serves every run: what a run gives is never part of it.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from churn_ml.declarations import load_dataset
from churn_ml.errors import TransformationError
from churn_ml.services.dated_nights import Night, plan_labels, record_built_night
from churn_ml.services.dbt_results import LayerSummary, Recorder, summarise
from churn_ml.services.dbt_selection import (
    Layer,
    select_labels,
    select_layer,
    select_night,
    select_rest,
)
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect, warehouse_url
from churn_ml.warehouse.runs import Run, read_run

log = logging.getLogger(__name__)

_BUILD_LOCK = 7203448
_BUILDING_COMMANDS = {"build", "run", "seed", "snapshot"}
# What reads the project as the builds parsed it; the others write what they parse themselves.
_READING_COMMANDS = _BUILDING_COMMANDS | {"compile", "ls", "show", "test"}
# dbt's page holds a tracker, off by our settings: a browser that keeps this rule could not reach it.
_NOTHING_FROM_ELSEWHERE = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; font-src data:\">"
)
_SESSION = {"TimeZone": "UTC", "datestyle": "ISO,YMD", "work_mem": "128MB", "jit": "off"}
_NEVER_BUILT = ["--exclude-resource-type", "unit_test", "--exclude-resource-type", "exposure"]
# dbt's JSON artifacts are for its documentation, which writes its own; they cost a second a call. Its log
# file repeats what the recorder keeps, and formats every debug line to throw it away.
_QUIET = [
    "--quiet", "--log-level", "none", "--log-level-file", "none", "--no-use-colors", "--no-write-json",
]  # fmt: skip


def build_layer(settings: Settings, run_id: str, layer: Layer, try_number: int = 1) -> LayerSummary:
    """Build and test one layer of the run's night; seeds are built with staging.

    On a later try, nodes that succeeded for this run stay as they are, save what a failed test
    tested and what was built on it. Where everything succeeded, or what the layer reads was made
    anew since, the whole layer is built again.

    Raises
    ------
    TransformationError
        If a node fails; the message names each with what dbt said.
    """
    started = time.monotonic()
    run = read_run(settings, run_id)
    session = _values(settings, run)
    with _one_build_at_a_time(settings) as warehouse, _dbt_environment(settings, session):
        if layer == "features":
            plan_labels(settings, warehouse, run)
        manifest = _parsed_project(settings)
        selection = select_layer(layer)
        if try_number > 1:
            selection = select_rest(warehouse, manifest, run_id, layer)
        recorder = Recorder(warehouse, manifest, session, run_id, layer, try_number)
        summary = _build(settings, f"layer {layer}", selection, recorder, started)
        if layer == "features":
            record_built_night(settings, warehouse, run, Night(run.as_of_date, run.known_as_of))
    log.info("dbt %s: %d nodes, %d rows in %.1f s", layer, summary.nodes, summary.rows, summary.seconds)
    return summary


def build_night(settings: Settings, run: Run, night: Night, try_number: int = 1) -> LayerSummary:
    """Build the features of another night on behalf of `run`: models only, neither labels nor tests.

    Raises
    ------
    TransformationError
        If a node fails; the message names the night and each node with what dbt said.
    """
    started = time.monotonic()
    name = f"the night {night.as_of_date} known as of {night.known_as_of.isoformat()}"
    session = _values(settings, run) | _night_values(night)
    with _one_build_at_a_time(settings) as warehouse, _dbt_environment(settings, session):
        layer = f"night {night.as_of_date}"
        recorder = Recorder(
            warehouse, _parsed_project(settings), session, run.run_id, layer, try_number, logging.DEBUG
        )
        return _build(settings, name, select_night(settings.dataset), recorder, started)


def build_labels(settings: Settings, run: Run, try_number: int = 1) -> LayerSummary:
    """Build and test the labels of the nights that ``ops.label_nights`` holds for `run`.

    Raises
    ------
    TransformationError
        If the model or one of its tests fails.
    """
    started = time.monotonic()
    session = _values(settings, run)
    with _one_build_at_a_time(settings) as warehouse, _dbt_environment(settings, session):
        recorder = Recorder(warehouse, _parsed_project(settings), session, run.run_id, "labels", try_number)
        return _build(settings, "the labels", select_labels(settings.dataset), recorder, started)


def run_dbt(settings: Settings, arguments: Sequence[str], run_id: str | None = None) -> None:
    """Call dbt with `arguments` and the values of `run_id`, or of the newest run, where there is one.

    dbt prints to the console itself.

    Raises
    ------
    TransformationError
        If dbt reports a failure.
    """
    run_id = run_id or _newest_run(settings)
    session = _values(settings, read_run(settings, run_id)) if run_id else {}
    variables = [] if "--vars" in arguments else _project_variables(settings)
    builds = bool(_BUILDING_COMMANDS & set(arguments))
    lock = _one_build_at_a_time(settings) if builds else nullcontext()
    is_parsed = bool(variables) and bool(_READING_COMMANDS & set(arguments))
    with lock, _dbt_environment(settings, session):
        runner = dbtRunner(manifest=_parsed_project(settings) if is_parsed else None)
        result = runner.invoke([*arguments, *variables, *_places(settings)])
    if not result.success:
        reason = f": {result.exception}" if result.exception else ", see its output above"
        raise TransformationError(f"Expected `dbt {' '.join(arguments)}` to succeed, it failed{reason}")


def build_docs(settings: Settings) -> Path:
    """Write the project's documentation and lineage as one page that loads nothing from elsewhere.

    Returns
    -------
    pathlib.Path
        ``<home>/dbt_docs/index.html``.

    Raises
    ------
    TransformationError
        If dbt reports a failure, or its page has no head to put the rule into.
    """
    run_dbt(settings, ["docs", "generate", "--static", "--quiet"])
    page = (settings.home / "dbt" / "target" / "static_index.html").read_text(encoding="utf-8")
    if "<head>" not in page:
        raise TransformationError(
            "Expected dbt's documentation to have a <head>, found none: this release of dbt writes another "
            "page. Install the locked packages, or mend `build_docs`."
        )
    path = settings.home / "dbt_docs" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.replace("<head>", f"<head>{_NOTHING_FROM_ELSEWHERE}", 1), encoding="utf-8")
    return path


def _build(
    settings: Settings, name: str, selection: Sequence[str], recorder: Recorder, started: float
) -> LayerSummary:
    runner = dbtRunner(manifest=recorder.manifest, callbacks=[recorder.receive])
    result = runner.invoke(["build", *selection, *_NEVER_BUILT, *_project_options(settings)])
    return summarise(result, recorder, name, time.monotonic() - started)


def _parsed_project(settings: Settings) -> Manifest:
    """Return the parsed project; a copy for each call, since dbt writes into the nodes it runs."""
    address = warehouse_url(settings, Role.TRANSFORMER).render_as_string()
    return Manifest.from_msgpack(_parse(settings, address, _project_signature(settings)))


@lru_cache(maxsize=2)
def _parse(settings: Settings, address: str, signature: str) -> bytes:  # noqa: ARG001 - they are the key
    """Parse the project, or read what an earlier process parsed."""
    parsed = dbtRunner().invoke(["parse", *_project_options(settings)])
    if not parsed.success:
        raise TransformationError(
            f"Expected the dbt project at {settings.project_dir / 'dbt_project'} to parse, "
            f"found: {parsed.exception}"
        )
    content: bytes = parsed.result.to_msgpack()
    return content


def _project_signature(settings: Settings) -> str:
    """Tell the project's files as they are now from those that were parsed before."""
    digest = hashlib.sha256()
    for path in sorted((settings.project_dir / "dbt_project").rglob("*")):
        found = path.stat()
        digest.update(f"{path}\0{found.st_mtime_ns}\0{found.st_size}\0".encode())
    return digest.hexdigest()


def _project_options(settings: Settings) -> list[str]:
    return [*_project_variables(settings), *_QUIET, *_places(settings)]


def _project_variables(settings: Settings) -> list[str]:
    """Return the one variable that decides what the project holds; the rest are session settings."""
    return ["--vars", json.dumps({"dataset": settings.dataset})]


def _values(settings: Settings, run: Run) -> dict[str, str]:
    """Return what macros/run_values.sql reads: the same parsed project serves every run."""
    dataset = load_dataset(settings)
    return {
        "churn.run_id": run.run_id,
        "churn.label_definition": dataset.label_definition,
        "churn.value_definition": dataset.value_definition,
    } | _night_values(Night(run.as_of_date, run.known_as_of))


def _night_values(night: Night) -> dict[str, str]:
    return {
        "churn.as_of_date": night.as_of_date.isoformat(),
        "churn.known_as_of": night.known_as_of.isoformat(),
    }


def _newest_run(settings: Settings) -> str | None:
    with connect(settings, Role.TRANSFORMER) as warehouse:
        row = warehouse.execute(
            "select run_id from ops.pipeline_runs order by started_at desc, run_id desc limit 1"
        ).fetchone()
    return str(row[0]) if row else None


def _places(settings: Settings) -> list[str]:
    """Return the options that keep dbt's files out of the project's folder."""
    project, home = settings.project_dir / "dbt_project", settings.home / "dbt"
    return [
        "--project-dir", str(project), "--profiles-dir", str(project),
        "--target-path", str(home / "target"), "--log-path", str(home / "logs"),
    ]  # fmt: skip


@contextmanager
def _dbt_environment(settings: Settings, session: Mapping[str, str]) -> Iterator[None]:
    """Set what profiles.yml and the session read, and put the environment back afterwards."""
    url = warehouse_url(settings, Role.TRANSFORMER)
    former = dict(os.environ)
    os.environ.update(
        CHURN_DBT_HOST=url.host or "127.0.0.1",
        CHURN_DBT_PORT=str(url.port or 5432),
        CHURN_DBT_USER=url.username or "",
        CHURN_DBT_PASSWORD=str(url.password),
        CHURN_DBT_DATABASE=url.database or "",
        PGOPTIONS=" ".join(f"-c {name}={value}" for name, value in (_SESSION | dict(session)).items()),
        DO_NOT_TRACK="1",
    )
    if "sslmode" in url.query:
        os.environ["PGSSLMODE"] = str(url.query["sslmode"])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


@contextmanager
def _one_build_at_a_time(settings: Settings) -> Iterator[Connection]:
    """Hold the warehouse's build lock: dbt renames tables, and a night and a training may meet."""
    with connect(settings, Role.TRANSFORMER, autocommit=True) as warehouse:
        if warehouse.execute("select pg_try_advisory_lock(%s)", [_BUILD_LOCK]).fetchone() == (False,):
            log.info("another dbt build is at work on this warehouse: waiting for it to end")
            warehouse.execute("select pg_advisory_lock(%s)", [_BUILD_LOCK])
        yield warehouse
