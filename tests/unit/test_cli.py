"""The command line: documented, honest about errors, JSON where asked."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from churn_ml.cli import app
from churn_ml.settings import Settings

PROJECT = Path(__file__).parents[2]


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}")


PASSED_ON = {"churn-ml dbt", "churn-ml warehouse psql"}
"""Commands that hand their arguments and their output to another program."""

COMMANDS = dict(_commands(typer.main.get_command(app), "churn-ml"))


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_documented_in_the_readme(command: str) -> None:
    assert f"`{command}`" in (PROJECT / "README.md").read_text()


def test_readme_names_no_command_that_does_not_exist() -> None:
    named = set(re.findall(r"`(churn-ml [a-z ]+[a-z])`", (PROJECT / "README.md").read_text()))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - PASSED_ON))
def test_command_takes_json(command: str) -> None:
    options = [option for parameter in COMMANDS[command].params for option in parameter.opts]
    assert "--json" in options


def _run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from churn_ml.cli import main; main()", *arguments],
        env=os.environ | {"CHURN_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_error_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    result = _run(tmp_path, "warehouse", "url")
    assert result.returncode == 1
    assert "churn-ml up" in result.stderr
    assert "Traceback" not in result.stderr


def test_malformed_date_says_what_was_expected(tmp_path: Path) -> None:
    result = _run(tmp_path, "night", "--as-of", "31.10.2026")
    assert result.returncode == 2
    assert "YYYY-MM-DD" in result.stderr


def test_doctor_of_a_machine_where_nothing_ran_names_the_next_command(tmp_path: Path) -> None:
    result = _run(tmp_path, "doctor", "--json")
    assert result.returncode == 1
    wrong = [finding for finding in json.loads(result.stdout) if not finding["is_healthy"]]
    assert wrong
    assert all("churn-ml" in finding["next_step"] for finding in wrong)


def test_url_connects_as_the_role_it_names(server: Settings) -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from churn_ml.cli import main; main()", "warehouse", "url", "--json"],
        env=os.environ | {"CHURN_HOME": str(server.home), "CHURN_DATABASE_PREFIX": "template"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout)["url"].startswith("postgresql://bi_reader:")


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = (
        "import sys, churn_ml.cli; heavy = ('pandas', 'sklearn', 'dbt', 'great_expectations', 'airflow');"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
