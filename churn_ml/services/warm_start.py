"""Start a program with libraries loaded that the processes it forks will need.

Airflow's scheduler forks its workers, and they fork a process per task. What is imported before
the first fork is shared by all of them: a task starts in a fraction of a second, and its memory is
counted once. Loading scikit-learn's model format before Airflow also keeps it from asking every
module of Airflow for every function that it knows, which takes seconds and fills the log.

``python -m churn_ml.services.warm_start MODULE[,MODULE...] PROGRAM [ARGUMENT...]``
"""

import gc
import importlib
import logging
import runpy
import sys
import time
from collections.abc import Iterable

log = logging.getLogger("churn_ml.services.warm_start")  # run as a program its name is another

TASK_LIBRARIES = (
    "skops.io",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.compose",
    "sklearn.pipeline",
    "pandas",
    "pyarrow.compute",
    "pyarrow.csv",
    "pyarrow.parquet",
    "sqlalchemy",
    "psycopg",
    "dbt.cli.main",
    "dbt.adapters.postgres",
    "great_expectations",
    "great_expectations.execution_engine.sqlalchemy_execution_engine",
    "great_expectations.render.view",
)
"""What tasks import, models first. Never our own modules: a task runs the code that is there when it
starts, whatever the age of the scheduler."""


def warm_command(program: str, *arguments: str) -> list[str]:
    """Return the command that starts `program`, a module, with the tasks' libraries loaded."""
    return [
        sys.executable,
        "-m",
        "churn_ml.services.warm_start",
        ",".join(TASK_LIBRARIES),
        program,
        *arguments,
    ]


def load(modules: Iterable[str]) -> list[str]:
    """Import `modules` and return those that could not be, each with a warning: tasks then do it."""
    started, failed = time.monotonic(), []
    for name in modules:
        try:
            importlib.import_module(name)
        except (ImportError, OSError, AttributeError, ValueError, RuntimeError) as error:
            log.warning(
                "%s was not loaded, tasks start more slowly: %s: %s", name, type(error).__name__, error
            )
            failed.append(name)
    gc.collect()
    gc.freeze()  # a collection in a forked process must not touch, and so copy, what is shared
    log.info("loaded the libraries of tasks in %.1f s", time.monotonic() - started)
    return failed


def main(arguments: list[str]) -> None:
    """Load the modules of the first argument, then be the program that the others name."""
    modules, program, *rest = arguments
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    load(modules.split(","))
    logging.getLogger().handlers.clear()
    sys.argv = [program, *rest]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
