"""The dashboard as a real server, for a browser to visit."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from churn_ml.services.dashboard import answers, dashboard_command, dashboard_environment
from churn_ml.services.postgres import free_port
from churn_ml.settings import Settings


@contextmanager
def serve(settings: Settings, folder: Path) -> Iterator[str]:
    """Serve the dashboard of `settings` as `churn-ml dashboard` does, and yield its address."""
    port = free_port()
    address, log = f"http://127.0.0.1:{port}", folder / "dashboard.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            dashboard_command(settings, port), env=dict(dashboard_environment(settings)), stdout=out,
            stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while not answers(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield address
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.terminate()
        process.wait(20)
