"""The scheduler's start with the tasks' libraries loaded: what it loads, and that a fork of it works."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from churn_ml.services.warm_start import TASK_LIBRARIES, load, warm_command

FORK = """
import json, os
from churn_ml.services.warm_start import TASK_LIBRARIES, load

failed = load(TASK_LIBRARIES)
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = np.random.default_rng(1).random((400, 5))
    churned = (rows @ rows.T)[0] > 1
    HistGradientBoostingClassifier(max_iter=2).fit(rows, churned)
    os.write(writer, str(len(os.listdir("/proc/self/task"))).encode())
    os._exit(0)
ended = os.waitpid(child, 0)[1]
print("RESULT", json.dumps({"failed": failed, "ended": ended}))
"""


def test_libraries_of_tasks_load_and_a_fork_computes_with_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=300
    )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    assert result == {"failed": [], "ended": 0}


def test_library_that_does_not_load_is_a_warning_only(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert load(["json", "no_such_module"]) == ["no_such_module"]
    assert "no_such_module was not loaded" in caplog.text


def test_program_gets_its_own_arguments() -> None:
    command = warm_command("json.tool", "--help")
    command[3] = "json,no_such_module"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert "--indent" in done.stdout


def test_models_come_first_and_our_own_code_never() -> None:
    assert TASK_LIBRARIES[0] == "skops.io", "loaded after Airflow it costs seconds"
    own = [name for name in TASK_LIBRARIES if name.startswith("churn_ml")]
    assert own == [], "a task must run the code of its start, not of the scheduler's"
