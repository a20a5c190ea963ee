"""The embedded server: starts twice, survives a kill, keeps out of its neighbours' way."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_ml.errors import SettingsError, WarehouseError
from churn_ml.services.postgres import (
    data_folder,
    postgres_pid,
    remove_postgres,
    start_postgres,
    stop_postgres,
)
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import admin_url, connect_admin
from churn_ml.warehouse.state import read_state, secret, update_state


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "a folder with spaces" / "home"


@pytest.fixture
def instance(home: Path) -> Iterator[Settings]:
    settings = Settings(_env_file=None, home=home)
    yield settings
    remove_postgres(settings)


def _count_tables(settings: Settings) -> object:
    with connect_admin(settings) as admin:
        return admin.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()


def test_start_twice_keeps_the_same_server(instance: Settings) -> None:
    port = start_postgres(instance)
    pid = postgres_pid(instance)
    assert start_postgres(instance) == port
    assert postgres_pid(instance) == pid


def test_rows_survive_kill_9(instance: Settings) -> None:
    start_postgres(instance)
    with connect_admin(instance) as admin:
        admin.execute("create table kept (id integer)")
        admin.execute("insert into kept values (1)")
    pid = postgres_pid(instance)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    start_postgres(instance)
    with connect_admin(instance) as admin:
        assert admin.execute("select id from kept").fetchall() == [(1,)]


def test_stale_pid_file_of_another_process_is_removed(instance: Settings) -> None:
    start_postgres(instance)
    pid_file = data_folder(instance) / "postmaster.pid"
    content = pid_file.read_text()
    stop_postgres(instance)
    pid_file.write_text(content.replace(content.split("\n", 1)[0], str(os.getpid()), 1))
    assert postgres_pid(instance) is None
    start_postgres(instance)
    assert _count_tables(instance) == (0,)


def test_stop_twice_says_that_nothing_ran(instance: Settings) -> None:
    start_postgres(instance)
    assert stop_postgres(instance) is True
    assert stop_postgres(instance) is False


def test_taken_port_is_left_for_another(instance: Settings) -> None:
    port = start_postgres(instance)
    stop_postgres(instance)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        assert start_postgres(instance) != port
    assert _count_tables(instance) == (0,)


def test_two_instances_run_side_by_side(instance: Settings, tmp_path: Path) -> None:
    neighbour = Settings(_env_file=None, home=tmp_path / "neighbour")
    try:
        assert start_postgres(instance) != start_postgres(neighbour)
        assert stop_postgres(neighbour) is True
        assert postgres_pid(instance) is not None
    finally:
        remove_postgres(neighbour)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can enter a folder of mode 0700 that it owns")
def test_home_that_only_root_can_enter(instance: Settings, home: Path) -> None:
    home.parent.mkdir(mode=0o700, parents=True)
    start_postgres(instance)
    assert _count_tables(instance) == (0,)


def test_wrong_password_is_refused(instance: Settings) -> None:
    start_postgres(instance)
    outsider = Settings(
        _env_file=None,
        home=instance.home,
        warehouse_url=admin_url(instance).set(password="guess").render_as_string(hide_password=False),
    )
    with pytest.raises(WarehouseError, match="password authentication failed") as caught:
        connect_admin(outsider)
    assert "guess" not in str(caught.value)


def test_never_started_instance_names_the_command(home: Path) -> None:
    with pytest.raises(SettingsError, match="churn-ml up"):
        admin_url(Settings(_env_file=None, home=home))


def test_secrets_file_is_for_its_owner_only(home: Path) -> None:
    settings = Settings(_env_file=None, home=home)
    first = secret(settings, "some")
    assert secret(settings, "some") == first
    assert (home / "secrets.json").stat().st_mode & 0o077 == 0


def test_state_keeps_what_a_later_change_does_not_name(home: Path) -> None:
    settings = Settings(_env_file=None, home=home)
    update_state(settings, postgres_port=1)
    update_state(settings, airflow_port=2)
    assert read_state(settings)["postgres_port"] == 1


def test_kill_9_is_noticed_at_once(instance: Settings) -> None:
    start_postgres(instance)
    pid = postgres_pid(instance)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while postgres_pid(instance) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert postgres_pid(instance) is None
