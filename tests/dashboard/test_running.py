"""The dashboard as a process: started once, told one secret, on this machine only, stopped whole."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from clones import clone_warehouse, drop_warehouse

from churn_ml.errors import ServiceError, SettingsError
from churn_ml.services.airflow_environment import own_variables
from churn_ml.services.dashboard import (
    DASHBOARD,
    answers,
    await_dashboard,
    begin_dashboard,
    dashboard_command,
    dashboard_endpoint,
    dashboard_environment,
    dashboard_process,
    stop_dashboard,
)
from churn_ml.services.doctor import examine
from churn_ml.services.instance import instance_status, stop_instance
from churn_ml.services.supervision import Supervisor, port_is_free
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, warehouse_url
from churn_ml.warehouse.state import read_state, update_state

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def own_home(server: Settings, tmp_path: Path) -> Iterator[Settings]:
    """An instance of its own on the tests' server, which it knows as an outside one."""
    url = warehouse_url(server, Role.READER).render_as_string(hide_password=False)
    settings = Settings(
        _env_file=None, home=tmp_path / "a home", dataset="telco", reader_url=url, warehouse_url=url
    )
    yield settings
    stop_dashboard(settings)


@pytest.fixture(scope="module")
def running(server: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An instance whose dashboard was started as `up` starts it."""
    clone = clone_warehouse(server)
    url = warehouse_url(clone, Role.READER).render_as_string(hide_password=False)
    settings = Settings(
        _env_file=None, home=tmp_path_factory.mktemp("an instance") / "home", dataset="telco",
        reader_url=url, warehouse_url=url, role_secret="never told", webhook_url="http://127.0.0.1/secret",
    )  # fmt: skip
    begin_dashboard(settings)
    await_dashboard(settings)
    yield settings
    assert stop_dashboard(settings) == [DASHBOARD]
    drop_warehouse(clone)


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env=environment_of(settings), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from churn_ml.cli import main; main()", *arguments]


def environment_of(settings: Settings) -> dict[str, str]:
    assert settings.reader_url is not None
    return {
        "PATH": os.defpath,
        "CHURN_HOME": str(settings.home),
        "CHURN_DATASET": settings.dataset,
        "CHURN_READER_URL": settings.reader_url.get_secret_value(),
        "CHURN_WAREHOUSE_URL": settings.reader_url.get_secret_value(),
    }


def environment_at(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8")
    return dict(item.split("=", 1) for item in text.split("\0") if item)


def knock(settings: Settings, **headers: str) -> int:
    """Ask for the page's connection as a browser does, and return the status of the answer."""
    endpoint = dashboard_endpoint(settings)
    assert endpoint is not None
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    with httpx.stream(
        "GET", f"{endpoint.address}/_stcore/stream", headers={**upgrade, **headers}
    ) as response:
        return response.status_code


def test_dashboard_answers_and_is_not_started_twice(running: Settings) -> None:
    endpoint, process = dashboard_endpoint(running), dashboard_process(running)
    assert endpoint is not None
    assert process is not None
    assert answers(endpoint.address)
    begin_dashboard(running)
    assert dashboard_process(running) == process


def test_process_holds_no_secret_but_the_url_of_the_reader(running: Settings) -> None:
    process = dashboard_process(running)
    assert process is not None
    held = environment_at(process.pid)
    assert {name for name in held if name.startswith("CHURN_")} == {
        "CHURN_PROJECT_DIR", "CHURN_HOME", "CHURN_DATASET", "CHURN_READER_URL", "CHURN_SUPERVISED_AS",
    }  # fmt: skip
    assert held["CHURN_READER_URL"].startswith("postgresql://bi_reader:")
    assert "never told" not in str(held)
    assert "secret" not in held["CHURN_READER_URL"]


def test_url_of_the_reader_opens_the_marts_and_nothing_else(running: Settings) -> None:
    with connect(running, Role.READER) as reader:
        assert reader.execute("select user").fetchone() == ("bi_reader",)
    told = Settings(_env_file=None, home=running.home, dataset="telco", reader_url=running.reader_url)
    with pytest.raises(SettingsError, match="Expected a running warehouse"):
        warehouse_url(told, Role.OWNER)


def test_url_of_another_role_is_refused(own_home: Settings) -> None:
    url = (
        warehouse_url(own_home, Role.READER).set(username="churn_owner").render_as_string(hide_password=False)
    )
    wrong = own_home.model_copy(update={"reader_url": Settings(_env_file=None, reader_url=url).reader_url})
    with pytest.raises(SettingsError, match="Expected the user bi_reader in CHURN_READER_URL"):
        warehouse_url(wrong, Role.READER)


@pytest.mark.parametrize(
    "url", ["postgresql://bi_reader:geheim@host:port/db", "postgresql//bi_reader:geheim@host/db"]
)
def test_malformed_url_of_the_reader_is_told_without_it(url: str) -> None:
    with pytest.raises(SettingsError, match="Expected CHURN_READER_URL as postgresql://") as caught:
        warehouse_url(Settings(_env_file=None, reader_url=url), Role.READER)
    assert "geheim" not in str(caught.value)


def test_it_listens_on_the_loopback_only(running: Settings) -> None:
    endpoint = dashboard_endpoint(running)
    assert endpoint is not None
    port = int(endpoint.address.rpartition(":")[2])
    listening = [
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == port
    ]
    assert listening == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize("header", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_page_of_another_site_is_refused_without_a_call_abroad(
    running: Settings, header: dict[str, str]
) -> None:
    process, endpoint = dashboard_process(running), dashboard_endpoint(running)
    assert process is not None
    assert endpoint is not None
    assert environment_at(process.pid)["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert knock(running, Origin=endpoint.address) == 101
    assert knock(running, **header) == 403


def test_command_says_where_a_running_dashboard_is(running: Settings) -> None:
    result = run(running, "dashboard", "--json")
    endpoint = dashboard_endpoint(running)
    assert endpoint is not None
    assert (result.returncode, json.loads(result.stdout)) == (0, {"url": endpoint.url})


def test_status_and_doctor_know_it(running: Settings) -> None:
    (status,) = [status for status in instance_status(running) if status.service == DASHBOARD]
    endpoint = dashboard_endpoint(running)
    assert endpoint is not None
    assert (status.is_running, status.address) == (True, endpoint.address)
    (finding,) = [finding for finding in examine(running) if finding.part == DASHBOARD]
    assert finding.is_healthy


def test_doctor_sees_one_that_does_not_answer(own_home: Settings) -> None:
    with Supervisor(own_home.home / DASHBOARD).locked():
        supervisor = Supervisor(own_home.home / DASHBOARD)
        supervisor.ensure_running(DASHBOARD, SLEEP, {"PATH": os.defpath}, fingerprint="deaf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        update_state(own_home, dashboard_port=free.getsockname()[1])
    (finding,) = [finding for finding in examine(own_home) if finding.part == DASHBOARD]
    assert not finding.is_healthy
    assert finding.next_step is not None
    assert "does not answer" in finding.observation
    assert "churn-ml down, then churn-ml up" in finding.next_step


def test_down_stops_it_and_forgets_it(own_home: Settings) -> None:
    supervisor = Supervisor(own_home.home / DASHBOARD)
    with supervisor.locked():
        supervisor.ensure_running(DASHBOARD, SLEEP, {"PATH": os.defpath}, fingerprint="any")
    update_state(own_home, dashboard_port=8501)
    assert stop_instance(own_home) == [DASHBOARD]
    assert [status for status in instance_status(own_home) if status.service == DASHBOARD] == []
    assert stop_instance(own_home) == []


def test_one_that_ends_at_once_is_told_with_its_log(own_home: Settings) -> None:
    supervisor = Supervisor(own_home.home / DASHBOARD)
    with supervisor.locked():
        supervisor.ensure_running(
            DASHBOARD,
            [sys.executable, "-c", "print('no page today')"],
            {"PATH": os.defpath},
            fingerprint="any",
        )
    update_state(own_home, dashboard_port=8501)
    with pytest.raises(ServiceError, match=r"(?s)no page today.*churn-ml up"):
        await_dashboard(own_home)


def test_port_that_was_asked_for_is_never_moved(own_home: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"Expected port {port} \(CHURN_DASHBOARD_PORT\) to be free"):
            begin_dashboard(own_home.model_copy(update={"dashboard_port": port}))
        update_state(own_home, dashboard_port=port)
        refused = run(own_home, "dashboard", "--port", str(port))
    assert refused.returncode == 1
    assert "(--port) to be free" in refused.stderr
    assert dashboard_process(own_home) is None


def test_foreground_serves_until_it_is_interrupted(own_home: Settings) -> None:
    with subprocess.Popen(
        command("dashboard", "--json"), env=environment_of(own_home), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = json.loads("".join(process.stdout.readline() for _ in range(3)))["url"]
            deadline = time.monotonic() + 60
            while not answers(url) and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.1)
            assert answers(url)
            assert url == f"http://127.0.0.1:{read_state(own_home)['dashboard_port']}"
            assert dashboard_process(own_home) is None, "a foreground one is not what `down` stops"
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
        finally:
            process.kill()
    assert port_is_free(int(url.rpartition(":")[2]))


def test_every_option_is_a_flag(own_home: Settings) -> None:
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in options(dashboard_command(own_home, 9000)))
    assert flags | {"server.allowedHosts": ""} == {
        "server.address": "127.0.0.1", "server.port": "9000", "server.headless": "true",
        "server.fileWatcherType": "none", "server.runOnSave": "false", "server.enableCORS": "true",
        "server.enableXsrfProtection": "true", "browser.serverAddress": "127.0.0.1",
        "browser.gatherUsageStats": "false", "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none", "client.showErrorLinks": "false",
        "logger.hideWelcomeMessage": "true", "logger.level": "warning", "server.allowedHosts": "",
    }  # fmt: skip


def test_address_of_a_proxy_is_shown_and_allowed(own_home: Settings) -> None:
    proxied = own_home.model_copy(
        update={"dashboard_url": "https://churn.example.com/", "dashboard_port": 9000}
    )
    endpoint = dashboard_endpoint(proxied)
    assert endpoint is not None
    assert (endpoint.url, endpoint.address) == ("https://churn.example.com", "http://127.0.0.1:9000")
    flags = options(dashboard_command(proxied, 9000, "0.0.0.0"))  # noqa: S104
    assert "--server.address=0.0.0.0" in flags
    assert "--browser.serverAddress=churn.example.com" in flags
    assert "--server.allowedHosts=churn.example.com" in flags


def test_environment_of_the_dashboard_passes_nothing_of_the_caller(
    own_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never told")
    monkeypatch.setenv("STREAMLIT_SERVER_ENABLE_CORS", "false")
    environment = dashboard_environment(own_home)
    assert not {"AWS_SECRET_ACCESS_KEY", "STREAMLIT_SERVER_ENABLE_CORS"} & set(environment)


def test_tasks_of_airflow_are_told_where_the_dashboard_is(own_home: Settings) -> None:
    told = own_variables(own_home.model_copy(update={"dashboard_url": "https://churn.example.com"}))
    assert told["CHURN_DASHBOARD_URL"] == "https://churn.example.com"


def options(arguments: Sequence[str]) -> list[str]:
    return [argument for argument in arguments if argument.startswith("--")]
