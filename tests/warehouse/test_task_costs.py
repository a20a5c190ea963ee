"""What tasks take: rows of ``ops.task_costs`` with figures that can be checked."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from churn_ml.errors import ScoringError
from churn_ml.measurement import COPIED, Meter, peak_memory_mb, reset_peak_memory
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.copying import open_copy_in, open_copy_out
from churn_ml.warehouse.runs import open_run
from churn_ml.warehouse.sql import SQL
from churn_ml.warehouse.task_costs import Task, measured

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
MB = 1 << 20


def read_costs(settings: Settings, columns: str) -> list[tuple[object, ...]]:
    with connect(settings, Role.PUBLISHER) as publisher:
        return publisher.execute(
            f"select {columns} from ops.task_costs order by task_measurement_id"  # type: ignore[arg-type]
        ).fetchall()


def test_task_of_a_run_is_a_row_with_its_rows_and_costs_per_customer(settings: Settings) -> None:
    run_id = open_run(settings, "night", CUT_OFF).run_id
    with measured(settings, Task("score", run_id=run_id)) as counts:
        counts.take({"rows": 2000})
    with measured(settings, Task("land", run_id=run_id)) as counts:
        counts.take({"rows_in": 12, "rows_out": 10})
    assert read_costs(settings, "run_id, task_id, verdict, rows_in, rows_out, customer_count") == [
        (run_id, "score", "succeeded", None, 2000, 2000),
        (run_id, "land", "succeeded", 12, 10, 2000),
    ]
    [(seconds, share)] = read_costs(settings, "seconds, seconds_per_1000_customers")[1:]
    assert share == pytest.approx(float(str(seconds)) / 2)


def test_costs_of_a_run_without_scores_are_not_divided(settings: Settings) -> None:
    with measured(settings, Task("prune")):
        pass
    assert read_costs(settings, "run_id, customer_count, seconds_per_1000_customers") == [(None, None, None)]


def test_failure_is_recorded_and_goes_on(settings: Settings) -> None:
    with pytest.raises(ScoringError), measured(settings, Task("score")):
        raise ScoringError("a message that may name a customer")
    with pytest.raises(KeyboardInterrupt), measured(settings, Task("score", try_number=2)):
        raise KeyboardInterrupt
    assert read_costs(settings, "task_id, try_number, verdict, failure") == [
        ("score", 1, "failed", "ScoringError"),
        ("score", 2, "failed", "KeyboardInterrupt"),
    ]


def test_task_of_a_dag_run_belongs_to_the_run_that_it_minted(settings: Settings) -> None:
    dag_run = {"dag_id": "churn_nightly", "dag_run_id": "manual__1"}
    with measured(settings, Task("open_run", **dag_run)):
        run_id = open_run(settings, "night", CUT_OFF, **dag_run).run_id
    with measured(settings, Task("candidate", map_index=2, **dag_run)):
        pass
    assert read_costs(settings, "run_id, task_id, map_index") == [
        (run_id, "open_run", -1),
        (run_id, "candidate", 2),
    ]


def test_costs_that_cannot_be_recorded_only_warn(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = settings.model_copy(update={"database_prefix": "not_there"})
    with measured(elsewhere, Task("score")):
        pass
    with measured(settings, Task("score", run_id="no such run")):
        pass
    assert caplog.text.count("what score took cannot be recorded") == 2


def test_cpu_of_children_and_bytes_of_files_and_copies_count(settings: Settings, tmp_path: Path) -> None:
    spin = "import time\nwhile time.process_time() < 0.4: pass"
    path, content = tmp_path / "file", os.urandom(MB)
    with measured(settings, Task("land")):
        subprocess.run([sys.executable, "-c", spin], check=True)
        path.write_bytes(content)
        with connect(settings, Role.OWNER) as owner:
            owner.execute("create temporary table numbers (number integer)")
            with open_copy_in(owner, SQL("copy numbers from stdin").format()) as sink:
                sink.write(b"7\n" * MB)
            with open_copy_out(owner, SQL("select * from numbers").format()) as copied:
                while copied.read(MB):
                    pass
    [(seconds, cpu, read, written)] = read_costs(settings, "seconds, cpu_seconds, bytes_read, bytes_written")
    assert float(str(cpu)) >= 0.4
    assert float(str(seconds)) > 0
    assert int(str(written)) >= 3 * MB
    assert int(str(read)) >= 2 * MB


def test_peak_memory_is_that_of_the_task_where_the_counter_can_be_set_back() -> None:
    if not reset_peak_memory():
        pytest.skip("this system does not let a process set its peak back")
    before = peak_memory_mb()
    held = bytearray(os.urandom(64 * MB))
    meter = Meter()
    assert len(held) == 64 * MB
    assert meter.read().peak_memory_mb >= before + 50
    del held
    assert Meter().read().peak_memory_mb < before + 50
    assert not meter.read().is_peak_of_process


def test_peak_of_a_process_that_cannot_be_set_back_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn_ml.measurement.reset_peak_memory", lambda: False)
    assert Meter().read().is_peak_of_process


def test_copied_bytes_add_up_over_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    before = COPIED.read
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: [COPIED.add(read=1) for _ in range(1000)], range(8)))
    assert COPIED.read - before == 8000
