"""House rules of DAG files; a message names the DAG and the fix."""

import ast
import itertools
from pathlib import Path
from typing import Any

import pytest
from dag_parsing import dag_files, describe_dags, run_python

from churn_ml.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
FILES = sorted((PROJECT / "airflow" / "dags").glob("*.py"))
MOST_LINES = 115
DOC_PARTS = ["**Produces**", "**Key**", "**When**", "**A failure**", "**Rerun one day**"]
DETERMINISTIC = ("gate_", "settle")
HEAVY = ["pandas", "numpy", "sklearn", "pyarrow", "dbt", "great_expectations"]

_FEATURES = ["gate_raw", "dbt_staging", "dbt_intermediate", "dbt_features", "gate_features"]
ORDERS = {
    "churn_nightly": [
        "open_run",
        "land",
        "settle",
        *_FEATURES,
        "score",
        "dbt_marts",
        "gate_marts",
        "publish",
        "report",
    ],
    "churn_training": ["open_run", "settle", *_FEATURES, "panel", "plan", "candidate", "select"],
    "churn_backfill": [
        "open_run",
        *_FEATURES,
        "score",
        "dbt_marts",
        "gate_marts",
        "compare",
        "publish",
        "report",
    ],
    "churn_maintenance": ["prune"],
}
_LAYERS = ["dbt_staging", "dbt_intermediate", "dbt_features", "gate_features"]
# What the graph shows, from left to right; `open_run` and `prune` stand outside.
GROUPS = {
    "churn_nightly": {
        "raw": ["gate_raw", "land", "settle"], "features": _LAYERS, "scores": ["score", "score_challengers"],
        "marts": ["dbt_marts", "gate_marts"], "published": ["publish", "report"],
    },
    "churn_training": {
        "raw": ["gate_raw", "settle"], "features": [*_LAYERS, "panel"],
        "models": ["candidate", "plan", "select"],
    },
    "churn_backfill": {
        "raw": ["gate_raw"], "features": _LAYERS, "scores": ["score"],
        "marts": ["compare", "dbt_marts", "gate_marts"], "published": ["publish", "report"],
    },
    "churn_maintenance": {},
}  # fmt: skip
# A task that waits for one of the order, and that no task waits for.
BESIDE = {"churn_nightly": {"score_challengers": "score"}}

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)

IMPORT = """
import importlib.util, json, sys
from pathlib import Path
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag

before, seen = set(sys.modules), []
def watch(event, arguments):
    name = str(arguments[0]) if arguments else ""
    if event in {"socket.connect", "subprocess.Popen", "os.system"}:
        seen.append(f"{event} {arguments[:2]}")
    elif event == "open" and Path(name).suffix not in {".py", ".pyc", ".so", ".mo", ""}:
        seen.append(f"open {name}")
sys.addaudithook(watch)
spec = importlib.util.spec_from_file_location("a_dag_file", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print("RESULT", json.dumps({"modules": sorted(set(sys.modules) - before), "seen": list(seen)}))
"""


def tasks(parsed: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(dag["dag_id"], task) for dag in parsed["dags"] for task in dag["tasks"]]


def test_every_file_is_read_without_an_error(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert len(parsed["dags"]) == len(FILES), "one DAG per file: split the file that holds more"


def test_dag_id_is_the_file_name(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"]:
        assert dag["file"] == f"{dag['dag_id']}.py", f"rename {dag['file']} to {dag['dag_id']}.py"


def test_doc_says_what_a_reader_needs(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"]:
        missing = [part for part in DOC_PARTS if part not in (dag["doc"] or "")]
        assert not missing, f"add {missing} to the module docstring of {dag['file']} and pass doc_md=__doc__"


def test_dag_has_tags_and_runs_alone(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"]:
        assert "churn" in dag["tags"], f"tag {dag['dag_id']} with 'churn' and its dataset"
        assert dag["max_active_runs"] == 1, f"set max_active_runs=1 on {dag['dag_id']}"
        assert dag["catchup"] is False, f"set catchup=False on {dag['dag_id']}: a backfill is asked for"


def test_params_are_typed(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"]:
        for name, schema in dag["params"].items():
            assert "type" in schema, f"give the param {name} of {dag['dag_id']} a type"


def test_failures_are_recorded_and_reported(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"]:
        assert dag["reports"], f"set on_failure_callback on {dag['dag_id']}: its row must be closed"
    for dag_id, task in tasks(parsed):
        assert task["callbacks"] == 1, f"set record_task_failure for {dag_id}.{task['task_id']}"


def test_tasks_are_owned_and_end(parsed: dict[str, Any]) -> None:
    for dag_id, task in tasks(parsed):
        name = f"{dag_id}.{task['task_id']}"
        assert task["owner"] == "churn", f"set an owner for {name}"
        assert task["timeout"], f"set execution_timeout for {name}"


def test_retries_back_off_and_checks_are_not_repeated(parsed: dict[str, Any]) -> None:
    for dag_id, task in tasks(parsed):
        name = f"{dag_id}.{task['task_id']}"
        if task["task_id"].startswith(DETERMINISTIC):
            assert task["retries"] == 0, f"set retries=0 for {name}: the same data gives the same verdict"
        else:
            assert task["retries"] == 2, f"set retries=2 for {name}"
            assert task["backoff"] > 1, f"set retry_exponential_backoff=2 for {name}"


def test_no_task_can_turn_a_failed_run_green(parsed: dict[str, Any]) -> None:
    for dag_id, task in tasks(parsed):
        assert task["trigger_rule"] == "all_success", (
            f"{dag_id}.{task['task_id']} would hide a failure: report in on_failure_callback instead"
        )


def test_what_every_task_takes_is_recorded(parsed: dict[str, Any]) -> None:
    for dag_id, task in tasks(parsed):
        assert task["is_measured"], f"decorate {dag_id}.{task['task_id']} with `task` of measured_tasks"


def test_a_task_that_is_not_measured_is_seen(server: Settings, tmp_path: Path) -> None:
    text = (PROJECT / "airflow" / "dags" / "churn_maintenance.py").read_text(encoding="utf-8")
    file = tmp_path / "churn_maintenance.py"
    file.write_text(text.replace("from measured_tasks import task", "task = sdk.task"), encoding="utf-8")
    [(_, task)] = tasks(describe_dags(server, file))
    assert task["is_measured"] is False


def tasks_of(parsed: dict[str, Any], dag_id: str) -> list[dict[str, Any]]:
    [found] = [dag["tasks"] for dag in parsed["dags"] if dag["dag_id"] == dag_id]
    return list(found)


@pytest.mark.parametrize(("dag_id", "order"), ORDERS.items())
def test_tasks_run_in_the_order_of_the_design(parsed: dict[str, Any], dag_id: str, order: list[str]) -> None:
    upstream = {task["task_id"]: set(task["upstream"]) for task in tasks_of(parsed, dag_id)}
    beside = BESIDE.get(dag_id, {})
    assert set(upstream) == {*order, *beside}
    for name, former in beside.items():
        assert upstream[name] == {former}, f"{name} must run after {former}"
        waiting = [task for task, before in upstream.items() if name in before]
        assert not waiting, f"nothing may wait for {name}, found {waiting}"
    for former, task in itertools.pairwise(order):
        assert former in upstream[task], f"{task} must run after {former}"
        crossing = upstream[task] - {former, "plan"}  # `select` is called with what was planned
        assert not crossing, (
            f"{task} waits for {crossing}: take the run from RUN, so that the graph is a line"
        )
    assert upstream[order[0]] == set()


@pytest.mark.parametrize(("dag_id", "groups"), GROUPS.items())
def test_groups_read_as_the_product(
    parsed: dict[str, Any], dag_id: str, groups: dict[str, list[str]]
) -> None:
    found: dict[str, list[str]] = {}
    for task in tasks_of(parsed, dag_id):
        found.setdefault(task["group"], []).append(task["task_id"])
    outside = found.pop(None)
    assert outside == (["prune"] if dag_id == "churn_maintenance" else ["open_run"])
    assert {name: sorted(members) for name, members in found.items()} == {
        name: sorted(members) for name, members in groups.items()
    }, f"put each task of {dag_id} into the group of its room, with ids that stay as they are"


def test_each_task_says_what_it_does(parsed: dict[str, Any]) -> None:
    for dag_id, task in tasks(parsed):
        assert task["doc"], f"give the function of {dag_id}.{task['task_id']} a docstring: the UI shows it"


def test_forms_explain_each_param(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"]:
        assert dag["description"], f"give {dag['dag_id']} a description: the list of DAGs shows it"
        for name, schema in dag["params"].items():
            explained = dag["forms"][name] or schema.get("description_md")
            assert schema.get("title"), f"give {name} of {dag['dag_id']} a title"
            assert explained, f"say what {name} of {dag['dag_id']} means: its form shows it"


def test_assets_lead_from_raw_to_what_is_published(parsed: dict[str, Any]) -> None:
    found = {f"{dag_id}.{task['task_id']}": task for dag_id, task in tasks(parsed)}
    assert {name: (task["inlets"], task["outlets"]) for name, task in found.items() if task["outlets"]} == {
        "churn_nightly.land": ([], ["telco_raw"]),
        "churn_nightly.dbt_features": (["telco_raw"], ["telco_features"]),
        "churn_training.select": (["telco_features"], ["telco_ml"]),
        "churn_nightly.score": (["telco_features", "telco_ml"], ["telco_scores"]),
        "churn_nightly.dbt_marts": (["telco_scores"], ["telco_marts"]),
        "churn_nightly.publish": (["telco_marts"], ["telco_published"]),
    }


def test_without_schedules_everything_waits_for_a_trigger(parsed: dict[str, Any]) -> None:
    waiting = {dag["dag_id"]: dag["timetable"] for dag in parsed["dags"]}
    assert waiting.pop("churn_backfill") == "AskedNights"
    assert set(waiting.values()) == {"NullTimetable"}
    assert [dag["intervals"] for dag in parsed["dags"]] == [[]] * len(FILES)


def test_backfill_has_real_nights_where_they_are_asked_for(parsed: dict[str, Any]) -> None:
    [nights] = [dag["asked"] for dag in parsed["dags"] if dag["dag_id"] == "churn_backfill"]
    assert nights == [
        [f"2026-10-{day}T02:00:00+00:00", f"2026-10-{day + 1}T02:00:00+00:00"] for day in (29, 30)
    ]


def test_backfill_never_runs_by_itself(scheduled: dict[str, dict[str, Any]]) -> None:
    assert scheduled["churn_backfill"]["intervals"] == []


def test_backfill_tells_nobody() -> None:
    code = (PROJECT / "airflow" / "dags" / "churn_backfill.py").read_text(encoding="utf-8")
    assert "report_failure" not in code, "alerts are off while old nights are repeated"


@pytest.fixture(scope="module", params=["weekly", "every_third_day"])
def scheduled(server: Settings, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """The DAGs by id with schedules on, and the rhythm of training."""
    dags = describe_dags(server, CHURN_SCHEDULES="on", CHURN_TRAINING_SCHEDULE=request.param)["dags"]
    return {dag["dag_id"]: dag for dag in dags} | {"rhythm": request.param}


def test_nights_have_real_intervals_of_one_day(scheduled: dict[str, dict[str, Any]]) -> None:
    night = scheduled["churn_nightly"]
    assert (night["timetable"], night["schedule"]) == ("CronDataIntervalTimetable", "0 2 * * *")
    first, second, third = (f"2026-01-0{day}T02:00:00+00:00" for day in (1, 2, 3))
    assert night["intervals"] == [[first, second], [second, third]]


def test_retention_is_applied_every_day(scheduled: dict[str, dict[str, Any]]) -> None:
    maintenance = scheduled["churn_maintenance"]
    assert (maintenance["timetable"], maintenance["schedule"]) == ("CronDataIntervalTimetable", "0 5 * * *")


def test_training_is_weekly_or_every_third_day(scheduled: dict[str, dict[str, Any]]) -> None:
    training, found = scheduled["churn_training"], scheduled["rhythm"]
    timetable, schedule, days = {
        "weekly": ("CronDataIntervalTimetable", "0 4 * * 0", ["04", "11", "18"]),  # Sundays
        "every_third_day": ("DeltaDataIntervalTimetable", "3 days, 0:00:00", ["01", "04", "07"]),
    }[str(found)]
    first, second, third = (f"2026-01-{day}T04:00:00+00:00" for day in days)
    assert (training["timetable"], training["schedule"]) == (timetable, schedule)
    assert training["intervals"] == [[first, second], [second, third]]


def test_dags_start_paused_with_schedules_on_and_off(
    parsed: dict[str, Any], scheduled: dict[str, dict[str, Any]]
) -> None:
    for dag in [*parsed["dags"], *(scheduled[file.stem] for file in FILES)]:
        assert dag["paused"] is True, (
            f"set is_paused_upon_creation=True on {dag['dag_id']}: no night runs before a champion exists"
        )


def test_seed_of_a_training_has_one_home(parsed: dict[str, Any]) -> None:
    [seed] = [dag["defaults"]["seed"] for dag in parsed["dags"] if "seed" in dag["defaults"]]
    assert seed == 20260101
    code = [*FILES, *(PROJECT / "churn_ml").rglob("*.py")]
    homes = [file.name for file in code if str(seed) in file.read_text(encoding="utf-8")]
    assert homes == ["churn_training.py"], "the DAG's param is the seed's only home: pass it on from there"


@each_file
def test_file_is_wiring_only(file: Path) -> None:
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{file.name} has {lines} lines: move work into churn_ml"


@each_file
def test_no_dag_imports_a_dag(file: Path) -> None:
    names = {other.stem for other in FILES}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            assert module.split(".")[0] not in names, (
                f"{file.name} imports {module}: use an asset or a trigger"
            )


@each_file
def test_parsing_imports_nothing_heavy_and_touches_nothing(server: Settings, file: Path) -> None:
    parsed = run_python(server, IMPORT, str(file))
    loaded = {module.split(".")[0] for module in parsed["modules"]}
    heavy = sorted(loaded & set(HEAVY))
    assert not heavy, f"{file.name} loads {heavy} when it is parsed: import inside the task"
    assert parsed["seen"] == [], f"{file.name} does I/O when it is parsed: {parsed['seen']}"


def test_the_rules_see_every_file(server: Settings) -> None:
    assert dag_files(server) == FILES
