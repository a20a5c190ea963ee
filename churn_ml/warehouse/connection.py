"""Connections and connection URLs, one per role."""

import hashlib
import hmac
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import Error as DatabaseError
from psycopg.errors import RaiseException, UndefinedColumn, UndefinedTable
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from churn_ml.errors import SettingsError, WarehouseError
from churn_ml.settings import Settings
from churn_ml.warehouse.state import read_state, secret

Connection = psycopg.Connection[tuple[Any, ...]]

__all__ = [
    "URL",
    "Connection",
    "DatabaseError",
    "RaiseException",
    "Role",
    "SQLAlchemyError",
    "UndefinedColumn",
    "UndefinedTable",
    "admin_url",
    "connect",
    "connect_admin",
    "open_url",
    "role_password",
    "warehouse_url",
]


class Role(StrEnum):
    """The warehouse roles; each task connects as the one that may do its work and no more."""

    OWNER = "churn_owner"
    LOADER = "churn_loader"
    TRANSFORMER = "churn_transformer"
    AUDITOR = "churn_auditor"
    TRAINER = "churn_trainer"
    SCORER = "churn_scorer"
    PUBLISHER = "churn_publisher"
    READER = "bi_reader"
    AIRFLOW = "churn_airflow"


def admin_url(settings: Settings) -> URL:
    """Return the URL of the server's administrative user, embedded or outside."""
    if settings.warehouse_url is not None:
        return make_url(settings.warehouse_url.get_secret_value()).set(drivername="postgresql")
    port = read_state(settings).get("postgres_port")
    if port is None:
        raise SettingsError(
            f"Expected a running warehouse, found none remembered in {settings.home}. "
            "Run `churn-ml up`, or set CHURN_WAREHOUSE_URL to an existing Postgres."
        )
    return URL.create(
        "postgresql", "churn_admin", secret(settings, "postgres_admin"), "127.0.0.1", port, "postgres"
    )


def role_password(settings: Settings, role: Role) -> str:
    """Return the password of `role`: HMAC-SHA256 of its name under the role secret."""
    key = settings.role_secret.get_secret_value() if settings.role_secret else secret(settings, "role_secret")
    return hmac.new(key.encode(), role.value.encode(), hashlib.sha256).hexdigest()


def warehouse_url(settings: Settings, role: Role, *, database: str | None = None) -> URL:
    """Return the URL of `role` on this dataset's warehouse, or on `database`.

    Raises
    ------
    SettingsError
        If no warehouse is remembered, or the URL that is given for the reader is another role's.
    """
    if role is Role.READER and settings.reader_url is not None:
        url = _given_reader_url(settings.reader_url.get_secret_value())
        return url.set(database=database) if database else url
    if database is None:
        database = settings.airflow_database if role is Role.AIRFLOW else settings.warehouse_database
    return admin_url(settings).set(
        username=role.value, password=role_password(settings, role), database=database
    )


def _given_reader_url(text: str) -> URL:
    try:
        url = make_url(text).set(drivername="postgresql")
    except (SQLAlchemyError, ValueError):
        raise SettingsError(
            "Expected CHURN_READER_URL as postgresql://bi_reader:password@host:port/database, found another "
            "form. Give what `churn-ml warehouse url` prints."
        ) from None
    if url.username != Role.READER.value:
        raise SettingsError(
            f"Expected the user {Role.READER.value} in CHURN_READER_URL, found {url.username or 'none'}. "
            "Give what `churn-ml warehouse url` prints."
        )
    return url


def connect(
    settings: Settings, role: Role, *, database: str | None = None, autocommit: bool = False
) -> Connection:
    """Open a connection as `role`; used as a context manager it commits and closes.

    Raises
    ------
    WarehouseError
        If the server does not answer or refuses the role.
    """
    return open_url(warehouse_url(settings, role, database=database), autocommit=autocommit)


def connect_admin(settings: Settings, *, database: str | None = None) -> Connection:
    """Open an autocommit connection as the server's administrative user."""
    url = admin_url(settings)
    return open_url(url.set(database=database or url.database), autocommit=True)


def open_url(url: URL, *, autocommit: bool = False) -> Connection:
    """Open `url` with the session in UTC."""
    try:
        return psycopg.connect(
            url.render_as_string(hide_password=False),
            autocommit=autocommit,
            application_name="churn-ml",
            options="-c TimeZone=UTC -c datestyle=ISO,YMD",
            connect_timeout=10,
        )
    except psycopg.OperationalError as error:
        raise WarehouseError(
            f"Expected Postgres to answer at {url.render_as_string()}, found: {str(error).strip()}. "
            "Run `churn-ml status`, then `churn-ml up`."
        ) from None
