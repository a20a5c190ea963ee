"""Supervised processes: started once, never mistaken for others, stopped with all they started."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_ml.errors import ServiceError
from churn_ml.services.supervision import Supervisor, port_is_free

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\n"
    "time.sleep(600)",
]
# The child leaves its parent's group and session, as a task of Airflow may.
PARENT_OF_A_STRAY = [
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "sleep = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
    "child = subprocess.Popen(sleep, start_new_session=True)\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)",
]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "a folder with spaces")
    supervisor.folder.mkdir()
    yield supervisor
    for status in supervisor.statuses():
        supervisor.stop(status.name, patience=1)


def start(supervisor: Supervisor, command: list[str], fingerprint: str = "same") -> int:
    return supervisor.ensure_running("worker", command, os.environ, fingerprint=fingerprint).pid


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_output(supervisor: Supervisor) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        text = supervisor.log_file("worker").read_text()
        if text:
            return text
        time.sleep(0.05)
    raise AssertionError("the process wrote nothing")


def edit_record(supervisor: Supervisor, **changes: object) -> None:
    path = supervisor.folder / "processes.json"
    content = json.loads(path.read_text())
    content["worker"] |= changes
    path.write_text(json.dumps(content))


def test_starting_twice_keeps_the_running_process(supervisor: Supervisor) -> None:
    assert start(supervisor, SLEEP) == start(supervisor, SLEEP)


def test_other_settings_restart_the_process(supervisor: Supervisor) -> None:
    former = start(supervisor, SLEEP)
    assert start(supervisor, SLEEP, fingerprint="other") != former
    assert not is_alive(former)


def test_dead_process_is_started_again(supervisor: Supervisor) -> None:
    former = start(supervisor, SLEEP)
    os.kill(former, 9)
    while is_alive(former):
        time.sleep(0.02)
    assert supervisor.running("worker") is None
    assert is_alive(start(supervisor, SLEEP))


def test_recycled_pid_is_neither_taken_for_ours_nor_killed(supervisor: Supervisor) -> None:
    ours = start(supervisor, SLEEP)
    stranger = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        ticks = json.loads((supervisor.folder / "processes.json").read_text())["worker"]["start_ticks"]
        edit_record(supervisor, pid=stranger.pid, start_ticks=ticks - 100)
        assert supervisor.running("worker") is None
        supervisor.stop("worker")
        assert stranger.poll() is None
        assert not is_alive(ours)  # found by the mark in its environment
    finally:
        stranger.kill()
        stranger.wait()


def test_record_of_another_boot_is_stale(supervisor: Supervisor) -> None:
    ours = start(supervisor, SLEEP)
    edit_record(supervisor, boot_id="another boot")
    assert supervisor.running("worker") is None
    assert supervisor.stop("worker") is False
    assert is_alive(ours)
    os.kill(ours, 9)


def test_stop_reaches_a_descendant_that_left_the_group(supervisor: Supervisor) -> None:
    parent = start(supervisor, PARENT_OF_A_STRAY)
    stray = int(wait_for_output(supervisor))
    assert supervisor.stop("worker") is True
    assert not is_alive(parent)
    assert not is_alive(stray)


def test_orphans_of_a_killed_leader_are_stopped(supervisor: Supervisor) -> None:
    parent = start(supervisor, PARENT_OF_A_STRAY)
    stray = int(wait_for_output(supervisor))
    os.kill(parent, 9)
    while is_alive(parent):
        time.sleep(0.02)
    assert supervisor.stop("worker") is True
    assert not is_alive(stray)


def test_process_that_ignores_sigterm_is_killed(supervisor: Supervisor) -> None:
    pid = start(supervisor, DEAF)
    wait_for_output(supervisor)
    assert supervisor.stop("worker", patience=0.5) is True
    assert not is_alive(pid)


def test_stopping_what_never_ran_is_a_no_op(supervisor: Supervisor) -> None:
    assert supervisor.stop("worker") is False


def test_records_are_for_the_owner_only(supervisor: Supervisor) -> None:
    start(supervisor, SLEEP)
    assert (supervisor.folder / "processes.json").stat().st_mode & 0o777 == 0o600


def test_broken_records_say_what_to_do(supervisor: Supervisor) -> None:
    (supervisor.folder / "processes.json").write_text("{")
    with pytest.raises(ServiceError, match=r"processes.json.*remove the file"):
        supervisor.running("worker")
    (supervisor.folder / "processes.json").unlink()


def test_log_of_the_former_process_is_kept(supervisor: Supervisor) -> None:
    start(supervisor, [sys.executable, "-c", "print('the first', flush=True)"])
    wait_for_output(supervisor)
    start(supervisor, SLEEP, fingerprint="other")
    assert supervisor.log_file("worker").with_suffix(".log.previous").read_text() == "the first\n"


def test_port_in_use_is_not_free() -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not port_is_free(port)
    assert port_is_free(port)
