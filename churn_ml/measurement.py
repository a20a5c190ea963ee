"""What a process takes: CPU, the most memory, and the bytes that went in and out."""

import resource
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_PROCESS = Path("/proc/self")
_RESET_PEAK = "5"


class ByteCount:
    """Bytes that passed a COPY: the system counts those of files and pipes, not those of sockets."""

    def __init__(self) -> None:
        self.read = 0
        self.written = 0
        self._lock = threading.Lock()

    def add(self, *, read: int = 0, written: int = 0) -> None:
        """Count what has passed; any thread may."""
        with self._lock:
            self.read += read
            self.written += written


COPIED = ByteCount()


@dataclass(frozen=True)
class Usage:
    """What some work took; bytes are None where the system does not count those of files."""

    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    is_peak_of_process: bool
    bytes_read: int | None
    bytes_written: int | None


class Meter:
    """Measures from its making on: this process, and what it started and waited for."""

    def __init__(self) -> None:
        self._is_peak_reset = reset_peak_memory()
        self._started = time.monotonic()
        self._cpu = _cpu_seconds()
        self._bytes = _bytes()

    def read(self) -> Usage:
        """Return what was taken until now."""
        before, now = self._bytes, _bytes()
        passed = (now[0] - before[0], now[1] - before[1]) if now and before else (None, None)
        return Usage(
            time.monotonic() - self._started, _cpu_seconds() - self._cpu, peak_memory_mb(),
            not self._is_peak_reset, *passed,
        )  # fmt: skip


def peak_memory_mb() -> float:
    """Return the most memory this process has held, in MB, since `reset_peak_memory` where that works."""
    status = _PROCESS / "status"
    if status.exists():  # unlike getrusage this does not count what a parent held before a fork
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (1024**2 if sys.platform == "darwin" else 1024)


def reset_peak_memory() -> bool:
    """Let the most memory be counted from now on; return whether the system allows it."""
    try:
        (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _bytes() -> tuple[int, int] | None:
    try:
        counts = dict(line.split(": ") for line in (_PROCESS / "io").read_text().splitlines())
    except OSError:
        return None
    return int(counts["rchar"]) + COPIED.read, int(counts["wchar"]) + COPIED.written
