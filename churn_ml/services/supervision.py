"""Processes that outlive the command that started them, and nothing else's processes.

A process is known by its pid, its start time and the boot it belongs to, so that a recycled pid
is never taken for ours. Each is the leader of a session of its own and carries a mark in its
environment that its descendants inherit: stopping one stops all of them, whatever group they
moved to.
"""

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from churn_ml.errors import ServiceError

log = logging.getLogger(__name__)

_MARK = "CHURN_SUPERVISED_AS"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ProcessStatus:
    """One supervised process as it is now."""

    name: str
    pid: int
    running: bool
    log_file: Path


@dataclass(frozen=True)
class ProcessRecord:
    """What is remembered of one process; `mark` is in its environment and its children's."""

    pid: int
    start_ticks: int
    boot_id: str
    mark: str
    fingerprint: str
    started_at: float


def port_is_free(port: int) -> bool:
    """Return whether nothing listens on `port` of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Supervisor:
    """The processes remembered in one folder.

    Parameters
    ----------
    folder : Path
        Where ``processes.json`` and one log file per process are kept; made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log_file(self, name: str) -> Path:
        """Return the log file of the process `name`."""
        return self.folder / f"{name}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold this folder's lock, so that two commands do not start the same process twice."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "processes.lock", "a") as file:  # noqa: PTH123 - flock needs a file
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def statuses(self) -> list[ProcessStatus]:
        """Return every remembered process and whether it runs."""
        return [
            ProcessStatus(name, record.pid, _runs(record), self.log_file(name))
            for name, record in self._read().items()
        ]

    def running(self, name: str) -> ProcessRecord | None:
        """Return the record of `name` if that very process still runs."""
        record = self._read().get(name)
        return record if record is not None and _runs(record) else None

    def ensure_running(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, fingerprint: str
    ) -> ProcessRecord:
        """Start `name` unless it runs with the same `fingerprint`; a differing one is restarted."""
        record = self.running(name)
        if record is not None and record.fingerprint == fingerprint:
            return record
        if record is not None:
            log.info("%s runs with other settings: it is restarted", name)
        self.stop(name)
        return self._start(name, command, environment, fingerprint)

    def stop(self, name: str, *, patience: float = 15) -> bool:
        """Stop `name` and all its descendants; return whether any was running.

        SIGTERM goes to the group of the process; what is left when it has ended, or after
        `patience` seconds, gets SIGTERM and at last SIGKILL, pid by pid.
        """
        record = self._read().get(name)
        if record is None:
            return False
        members = _members(record)
        if _runs(record):
            _send(os.killpg, record.pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while _runs(record) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._end_rest(name, record)
        self._forget(name)
        return bool(members)

    def _end_rest(self, name: str, record: ProcessRecord) -> None:
        """End what is left, which has lost its leader or does not listen to it."""
        rest = _members(record)
        for number in (signal.SIGTERM, *[signal.SIGKILL] * 5):
            for pid in rest:
                log.warning("%s: process %d is still there and gets %s", name, pid, number.name)
                _send(os.kill, pid, number)
            deadline = time.monotonic() + 2
            while rest and time.monotonic() < deadline:
                time.sleep(0.05)
                rest = _members(record)
            if not rest:
                return
        raise ServiceError(f"Expected {name} to end, found processes {rest} alive after SIGKILL.")

    def _start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], fingerprint: str
    ) -> ProcessRecord:
        mark = uuid.uuid4().hex
        with self._open_log(name) as output:
            process = subprocess.Popen(
                list(command),
                env={**environment, _MARK: mark},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # The child is ours until it is waited for, so its pid cannot be recycled meanwhile.
        ticks = _start_ticks(process.pid) or 0
        record = ProcessRecord(process.pid, ticks, _boot_id(), mark, fingerprint, time.time())
        self._write(self._read() | {name: record})
        log.info("started %s as process %d", name, process.pid)
        return record

    def _open_log(self, name: str) -> IO[bytes]:
        path = self.log_file(name)
        if path.exists():
            path.replace(path.with_suffix(".log.previous"))
        return path.open("wb")

    def _forget(self, name: str) -> None:
        self._write({other: record for other, record in self._read().items() if other != name})

    def _read(self) -> dict[str, ProcessRecord]:
        path = self.folder / "processes.json"
        try:
            content: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
            return {name: ProcessRecord(**record) for name, record in content.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise ServiceError(
                f"Expected the started processes in {path}, found {error}. End them by hand "
                "(`ps -ef | grep airflow`), then remove the file."
            ) from None

    def _write(self, records: Mapping[str, ProcessRecord]) -> None:
        path = self.folder / "processes.json"
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({name: asdict(record) for name, record in records.items()}, file, indent=2)
        temporary.replace(path)


def _runs(record: ProcessRecord) -> bool:
    return record.boot_id == _boot_id() and _start_ticks(record.pid) == record.start_ticks


def _members(record: ProcessRecord) -> list[int]:
    """Return the live processes that carry the mark, and those of the leader's session."""
    if record.boot_id != _boot_id():
        return []
    mark = f"{_MARK}={record.mark}".encode()
    session = record.pid if _runs(record) else None
    return [
        pid
        for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        if pid != os.getpid() and _belongs(pid, mark, session)
    ]


def _belongs(pid: int, mark: bytes, session: int | None) -> bool:
    fields = _stat_fields(pid)
    if fields is None:
        return False
    if session is not None and int(fields[3]) == session:
        return True
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _start_ticks(pid: int) -> int | None:
    """Return when `pid` started, in clock ticks since boot; None where it has ended."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields is not None else None


def _stat_fields(pid: int) -> list[str] | None:
    """Return the fields of ``/proc/<pid>/stat`` from the state on; None for a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields if fields[0] not in {"Z", "X"} else None


def _boot_id() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _send(kill: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        kill(pid, number)
