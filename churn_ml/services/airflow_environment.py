"""What every Airflow process and task of this instance is told: paths, address, keys, settings."""

import base64
import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, warehouse_url
from churn_ml.warehouse.state import read_state, secret

ADMIN_USER = "admin"


@dataclass(frozen=True)
class AirflowEndpoint:
    """Where the UI is and who may enter; the password is in `password_file`."""

    url: str
    user: str
    password_file: Path


def airflow_endpoint(settings: Settings) -> AirflowEndpoint:
    """Return where this instance's Airflow is, running or not."""
    return AirflowEndpoint(base_url(settings), ADMIN_USER, password_file(settings))


def airflow_environment(settings: Settings) -> dict[str, str]:
    """Return the whole environment of every Airflow process and task of this instance.

    The caller's own ``AIRFLOW*``, ``CHURN_*`` and ``COVERAGE_*`` variables do not pass; every
    setting that has a value does, so that a task sees the deployment that `settings` describes.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "CHURN_", "COVERAGE_"))
    }
    # A proxy of the caller must not be asked for the execution API on this machine.
    direct = ",".join(
        filter(None, [inherited.get("NO_PROXY") or inherited.get("no_proxy"), "127.0.0.1,localhost"])
    )
    return inherited | {"NO_PROXY": direct, "no_proxy": direct} | own_variables(settings)


def own_variables(settings: Settings) -> dict[str, str]:
    """Return the part of the environment that depends on nothing but this instance."""
    return _setting_variables(settings) | _airflow_variables(settings)


def airflow_home(settings: Settings) -> Path:
    """Return Airflow's own folder in the home of the instance."""
    return settings.home / "airflow"


def password_file(settings: Settings) -> Path:
    """Return the file that holds the admin password, for the owner only."""
    return airflow_home(settings) / "admin-password.json"


def airflow_port(settings: Settings) -> int:
    """Return the port asked for, else the remembered one, else Airflow's own default."""
    return int(settings.airflow_port or read_state(settings).get("airflow_port") or 8080)


def base_url(settings: Settings) -> str:
    """Return the address of the API server and its UI."""
    return f"http://127.0.0.1:{airflow_port(settings)}"


def admin_password(settings: Settings) -> str:
    """Return the password of the admin user, generated on first use."""
    return secret(settings, "airflow_admin")


def _setting_variables(settings: Settings) -> dict[str, str]:
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {
        f"CHURN_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _airflow_variables(settings: Settings) -> dict[str, str]:
    home = airflow_home(settings)
    url = base_url(settings)
    database = warehouse_url(settings, Role.AIRFLOW).render_as_string(hide_password=False)
    options: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": settings.project_dir / "airflow" / "dags",
            "plugins_folder": settings.project_dir / "airflow" / "plugins",
            "executor": "LocalExecutor",
            "parallelism": 16,
            "load_examples": False,
            "fernet_key": base64.urlsafe_b64encode(_key(settings, "fernet")[:32]).decode(),
            "execution_api_server_url": f"{url}/execution/",
            "simple_auth_manager_users": f"{ADMIN_USER}:admin",
            "simple_auth_manager_passwords_file": password_file(settings),
        },
        "database": {
            "sql_alchemy_conn": database.replace("postgresql://", "postgresql+psycopg2://", 1),
            "sql_alchemy_conn_async": database.replace("postgresql://", "postgresql+psycopg://", 1),
        },
        "api": {"base_url": url, "secret_key": _key(settings, "api").hex()},
        "api_auth": {"jwt_secret": _key(settings, "jwt").hex()},
        "workers": {"min_heartbeat_interval": 1},
        "scheduler": {"job_heartbeat_sec": 2, "scheduler_idle_sleep_time": 0.25},
        "dag_processor": {"refresh_interval": 5, "min_file_process_interval": 60},
        "logging": {"base_log_folder": home / "logs"},
        "usage_data_collection": {"enabled": False},
    }
    variables = {
        f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
        for section, values in options.items()
        for option, value in values.items()
    }
    return variables | {
        "AIRFLOW_HOME": str(home),
        "SPT_NOENV": "1",  # setproctitle must leave the environment readable: supervision marks it
        "PYTHONUNBUFFERED": "1",
    }


def _key(settings: Settings, purpose: str) -> bytes:
    return hmac.new(secret(settings, "airflow").encode(), purpose.encode(), hashlib.sha512).digest()
