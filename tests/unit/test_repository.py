"""What the repository may hold: rules about files, not about their behaviour."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
README_LINES = 45
LARGEST_BYTES = 1_000_000
INSTALLED_NAMES = {"airflow", "great_expectations", "dbt"}
# Written in two parts, so that this file does not hold what it looks for.
INDEX_HOSTS = re.compile("|".join(re.escape(".".join(parts)) for parts in [
    ("pypi", "org"), ("pythonhosted", "org"), ("test", "pypi"), ("piwheels", "org"), ("pkg", "dev"),
]))  # fmt: skip
INDEX_OPTIONS = re.compile(
    r"--(?:extra-)?index" + r"-url|--find" + r"-links|UV_" + r"INDEX|PIP_" + r"INDEX_URL"
)
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:root|work|home/\w+)/" + r"[\w.]")


def tracked_files() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (PROJECT / ".git").exists():
        pytest.skip("not a git clone: there is no list of tracked files")
    command = [git, "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    return [PROJECT / name for name in listed if name and (PROJECT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content[:8000]:
            found.append((path.relative_to(PROJECT), content.decode("utf-8", errors="replace")))
    return found


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {match[0]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]


def test_no_file_names_a_package_index() -> None:
    assert lines_that_match(INDEX_HOSTS) == []


def test_locks_and_images_set_no_index() -> None:
    held = (
        "Dockerfile",
        "requirements.lock",
        "bootstrap.lock",
        ".github",
        ".pre-commit-config.yaml",
        "pyproject.toml",
    )
    found = [line for line in lines_that_match(INDEX_OPTIONS) if line.startswith(held)]
    assert found == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_that_match(MACHINE_PATH) == []


def test_folders_named_like_installed_packages_are_no_packages() -> None:
    """An ``__init__.py`` there would hide the installed package from every import."""
    for folder in ("airflow", "great_expectations"):
        assert list((PROJECT / folder).rglob("__init__.py")) == [], f"remove it: {folder}/ hides the library"
    for folder in (PROJECT / "tests").rglob("*"):
        assert not (folder.is_dir() and folder.name in INSTALLED_NAMES), (
            f"rename {folder}: it hides the library"
        )


def test_test_files_have_unique_names_and_folders_are_no_packages() -> None:
    """Without packages pytest imports test files by their bare name."""
    names = [path.name for path in (PROJECT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
    assert list((PROJECT / "tests").rglob("__init__.py")) == []


def test_no_built_or_private_file_is_tracked() -> None:
    names = {"target", "node_modules", "__pycache__", "uncommitted", ".env", ".venv", ".churn", "logs"}
    endings = {".pyc", ".pkl", ".joblib", ".db", ".sqlite", ".log", ".pem", ".key"}
    for path in tracked_files():
        inside = path.relative_to(PROJECT)
        assert not names & set(inside.parts), f"{inside} must not be tracked"
        assert path.suffix not in endings, f"{inside} must not be tracked"


def test_no_tracked_file_is_large() -> None:
    large = [
        str(path.relative_to(PROJECT)) for path in tracked_files() if path.stat().st_size > LARGEST_BYTES
    ]
    assert large == []


ROOMS_BESIDE_THE_PACKAGE = (
    "airflow", "benchmarks", "datasets", "dbt_project", "great_expectations", "tests",
)  # fmt: skip


def rooms() -> list[Path]:
    packages = [path.parent for path in (PROJECT / "churn_ml").glob("*/__init__.py")]
    packages.remove(PROJECT / "churn_ml" / "cli")  # a door, not a room: `churn-ml --help` is its page
    return sorted([*packages, *(PROJECT / name for name in ROOMS_BESIDE_THE_PACKAGE)])


@pytest.mark.parametrize("room", rooms(), ids=lambda room: str(room.relative_to(PROJECT)))
def test_every_room_has_a_readme_of_one_screen(room: Path) -> None:
    readme = room / "README.md"
    assert readme.is_file(), f"{readme} is missing: what lives here, what may not, the command to work here"
    count = len(readme.read_text(encoding="utf-8").splitlines())
    assert count <= README_LINES, f"{readme} has {count} lines, at most {README_LINES} fit one screen"


def test_license_is_mit() -> None:
    text = " ".join((PROJECT / "LICENSE").read_text(encoding="utf-8").split())
    assert text.startswith("MIT License Copyright (c) ")
    assert "Permission is hereby granted, free of charge, to any person obtaining a copy" in text
    assert 'THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND' in text


def test_lock_pins_every_package_with_hashes() -> None:
    for name in ("requirements.lock", "bootstrap.lock"):
        text = (PROJECT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        entries = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
        assert entries
        for entry in entries:
            assert re.match(r"[a-z0-9._-]+(\[[\w,-]+\])?==\S+ ", entry), f"{name}: {entry[:60]} is not pinned"
            assert "--hash=sha256:" in entry, f"{name}: {entry[:60]} has no hash"


def test_hooks_run_the_tools_of_the_environment() -> None:
    """Nothing is downloaded, and the versions are those of the lock."""
    repositories = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    for hook in repositories[0]["hooks"]:
        assert hook["language"] == "system", hook["id"]
        assert hook["entry"].startswith(".venv/bin/"), hook["id"]


def test_workflow_runs_what_ci_run_does_and_may_only_read() -> None:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["test"]
    assert workflow["permissions"] == {"contents": "read"}
    assert job["timeout-minutes"] <= 60
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    assert (PROJECT / ".ci" / "run").is_file()
