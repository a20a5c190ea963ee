"""The import rules of the house: who may import whom, and which library has which single door."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "churn_ml"

# Each room may import the rooms on the levels above its own, and itself. Rooms on one level are
# siblings and do not import each other.
LEVELS = [
    {"errors"},
    {"settings", "measurement"},
    {"declarations"},
    {"warehouse"},
    {"features"},
    {"models"},
    {"services", "landing", "training", "scoring", "publishing", "quality", "simulation", "dashboard", "bi"},
    {"audit"},
    {"cli"},
]
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# Each of these libraries is imported in one place only.
DOORS = {
    "psycopg": "warehouse/",
    "psycopg2": "warehouse/",
    "sqlalchemy": "warehouse/",
    "alembic": "warehouse/",
    "dbt": "services/dbt.py",
    "great_expectations": "quality/",
    "airflow": None,
    "optuna": "training/search.py",
    "mlflow": "models/mirror.py",
    "matplotlib": "training/card",
    "interpret": "models/",
    "lightgbm": "models/",
    "xgboost": "models/",
    "streamlit": "dashboard/",
    "altair": "dashboard/",
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base", "manager", "misc"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def imported_names(module: Path) -> list[tuple[int, str]]:
    """Return (line, dotted name) of every import, also of those inside functions."""
    found = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                parents = module.relative_to(PROJECT).parts[: -node.level]
                source = ".".join([*parents, source]).rstrip(".")
            found += [(node.lineno, f"{source}.{alias.name}") for alias in node.names]
    return found


def breaks_of_layers(module: Path) -> list[str]:
    path = module.relative_to(PROJECT)
    room = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return [f"{path}:{line} imports {name}: churn_ml/__init__.py imports no room"
                for line, name in imported_names(module) if name.startswith("churn_ml.")]  # fmt: skip
    broken = []
    for line, name in imported_names(module):
        parts = name.split(".")
        other = parts[1] if parts[0] == "churn_ml" and len(parts) > 1 else room
        if other == room or other not in LEVEL_OF or LEVEL_OF[other] < LEVEL_OF[room]:
            continue
        reason = (
            f"{room} and {other} are siblings, and siblings do not import each other"
            if LEVEL_OF[other] == LEVEL_OF[room]
            else f"{other} is built on {room}, so {room} must not know it"
        )
        broken.append(f"{path}:{line} imports {name}: {reason}")
    return broken


def breaks_of_doors(module: Path) -> list[str]:
    path = module.relative_to(PACKAGE).as_posix()
    broken = []
    for line, name in imported_names(module):
        library = name.split(".")[0]
        if library not in DOORS:
            continue
        door = DOORS[library]
        if door is None:
            broken.append(f"churn_ml/{path}:{line} imports {name}: churn_ml imports no {library}")
        elif not path.startswith(door):
            broken.append(
                f"churn_ml/{path}:{line} imports {name}: {library} is imported in churn_ml/{door} only"
            )
    return broken


def write(folder: Path, path: str, text: str) -> Path:
    module = folder / "churn_ml" / path
    module.parent.mkdir(parents=True)
    module.write_text(text, encoding="utf-8")
    return module


def test_every_room_has_a_level() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert rooms <= set(LEVEL_OF), (
        f"give {sorted(rooms - set(LEVEL_OF))} a level in tests/unit/test_imports.py"
    )


def test_imports_between_rooms_go_one_way() -> None:
    broken = [message for module in MODULES for message in breaks_of_layers(module)]
    assert not broken, "\n".join(broken)


def test_each_library_has_one_door() -> None:
    broken = [message for module in MODULES for message in breaks_of_doors(module)]
    assert not broken, "\n".join(broken)


def test_no_row_goes_through_pandas_sql() -> None:
    slow = re.compile(r"\bread_sql|\bto_sql\b")
    found = [module.relative_to(PROJECT) for module in MODULES if slow.search(module.read_text("utf-8"))]
    assert not found, f"stream by COPY instead of read_sql and to_sql: {', '.join(map(str, found))}"


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = [path.relative_to(PROJECT) for path in PACKAGE.rglob("*") if path.stem in FORBIDDEN_NAMES]
    assert not named, f"name these after what they hold: {', '.join(map(str, named))}"


def test_dag_files_import_rooms_only_inside_tasks() -> None:
    """A DAG file is parsed every few seconds: only settings-free modules may be imported at its top."""
    heavy = {"pandas", "numpy", "sklearn", "dbt", "great_expectations", "pyarrow", "psycopg", "sqlalchemy"}
    broken = []
    for dag in sorted((PROJECT / "airflow" / "dags").glob("*.py")):
        for node in ast.parse(dag.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            broken += [f"{dag.name}:{node.lineno} imports {name} at its top: import it inside the task"
                       for name in names if name.split(".")[0] in heavy]  # fmt: skip
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        (
            "landing/a.py",
            "from churn_ml.scoring.night import x",
            "1 imports churn_ml.scoring.night.x: landing and scoring are siblings",
        ),
        (
            "warehouse/a.py",
            "def f():\n    import churn_ml.models.registry",
            "2 imports churn_ml.models.registry: models is built on warehouse",
        ),
        (
            "warehouse/a.py",
            "from ..models import registry",
            "1 imports churn_ml.models.registry: models is built on warehouse",
        ),
        (
            "errors.py",
            "from churn_ml import settings",
            "1 imports churn_ml.settings: settings is built on errors",
        ),
    ],
)
def test_layer_rule_sees_each_way_to_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str, message: str
) -> None:
    monkeypatch.setattr(f"{__name__}.PROJECT", tmp_path)
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path / "churn_ml")
    (broken,) = breaks_of_layers(write(tmp_path, path, text))
    assert broken.startswith(f"churn_ml/{path}:{message}")


def test_door_rule_names_file_import_and_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path / "churn_ml")
    module = write(tmp_path, "scoring/a.py", "import psycopg\nfrom airflow.sdk import dag\nimport psycopgish")
    assert breaks_of_doors(module) == [
        "churn_ml/scoring/a.py:1 imports psycopg: psycopg is imported in churn_ml/warehouse/ only",
        "churn_ml/scoring/a.py:2 imports airflow.sdk.dag: churn_ml imports no airflow",
    ]
