"""Roles and databases on the server, then the schema by versioned migrations."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import create_engine

from churn_ml.declarations import load_dataset
from churn_ml.errors import WarehouseError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import (
    Connection,
    Role,
    connect,
    connect_admin,
    role_password,
    warehouse_url,
)
from churn_ml.warehouse.raw_tables import ensure_raw_tables

log = logging.getLogger(__name__)

_LEAST_VERSION = 150000
# A dashboard that forgets its transaction must not hold up the night, which renews a view.
_READER_LIMITS = {
    "default_transaction_read_only": "on",
    "idle_in_transaction_session_timeout": "1min",
    "lock_timeout": "10s",
}
_PROVISION_LOCK = 7203447
_DATABASE_ROLES: list[Role] = [role for role in Role if role is not Role.AIRFLOW]


def provision(settings: Settings) -> None:
    """Bring roles, databases and schema to the state this version of the code expects.

    Safe to call at every start; concurrent calls wait for each other.

    Raises
    ------
    WarehouseError
        If the server is older than Postgres 15 or its user may not create roles and databases.
    """
    with connect_admin(settings) as admin:
        _require_server(admin)
        admin.execute("select pg_advisory_lock(%s)", [_PROVISION_LOCK])
        try:
            _ensure_roles_and_databases(settings, admin)
        except InsufficientPrivilege as error:
            raise WarehouseError(
                f"Expected {admin.info.user!r} to have made the roles and databases of the warehouse on this "
                f"server, found: {str(error).strip()}. Use the user who made them in CHURN_WAREHOUSE_URL."
            ) from None
        migrate(settings, settings.warehouse_database)
        with connect(settings, Role.OWNER) as owner:
            ensure_raw_tables(owner, load_dataset(settings))


def _ensure_roles_and_databases(settings: Settings, admin: Connection) -> None:
    for role in Role:
        _ensure_role(admin, role, role_password(settings, role))
    limits = {**_READER_LIMITS, "statement_timeout": f"{settings.reader_timeout_seconds}s"}
    for parameter, value in limits.items():
        admin.execute(
            sql.SQL("alter role {} set {} = {}").format(
                sql.Identifier(Role.READER), sql.Identifier(parameter), sql.Literal(value)
            )
        )
    # Migrations make schemas for dbt and for training; ops.discard_run and ml.trials touch what they own.
    for owned in (Role.TRANSFORMER, Role.TRAINER):
        admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(owned), sql.Identifier(Role.OWNER)))
    _ensure_database(admin, settings.airflow_database, [Role.AIRFLOW], owner=Role.AIRFLOW)
    _ensure_database(admin, settings.warehouse_database, _DATABASE_ROLES, owner=Role.OWNER)


def migrate(settings: Settings, database: str) -> None:
    """Upgrade `database` to the newest migration, as ``churn_owner``."""
    config = _alembic()
    url = warehouse_url(settings, Role.OWNER, database=database).set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def newest_migration() -> str | None:
    """Return the revision that `migrate` upgrades to."""
    head: str | None = ScriptDirectory.from_config(_alembic()).get_current_head()
    return head


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def _require_server(admin: Connection) -> None:
    version = admin.info.server_version
    if version < _LEAST_VERSION:
        raise WarehouseError(
            f"Expected Postgres 15 or newer, found version {version // 10000} at "
            f"{admin.info.host}:{admin.info.port}. Point CHURN_WAREHOUSE_URL at a newer server."
        )
    row = admin.execute(
        "select rolsuper or (rolcreaterole and rolcreatedb) from pg_roles where rolname = current_user"
    ).fetchone()
    if row is None or not row[0]:
        raise WarehouseError(
            f"Expected a user that may create roles and databases, found {admin.info.user!r} without. "
            "Run `alter role ... createrole createdb` as an administrator, or set another user "
            "in CHURN_WAREHOUSE_URL."
        )


def _ensure_role(admin: Connection, role: Role, password: str) -> None:
    exists = admin.execute("select from pg_roles where rolname = %s", [role.value]).fetchone()
    verb = sql.SQL("alter" if exists is not None else "create")
    admin.execute(
        sql.SQL("{} role {} login password {}").format(verb, sql.Identifier(role), sql.Literal(password))
    )
    if exists is None:
        log.info("created role %s", role)
        admin.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))


def _ensure_database(admin: Connection, name: str, users: list[Role], *, owner: Role) -> None:
    database = sql.Identifier(name)
    if admin.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
        admin.execute(
            sql.SQL("create database {} owner {} encoding 'UTF8' template template0").format(
                database, sql.Identifier(owner)
            )
        )
        log.info("created database %s", name)
    admin.execute(sql.SQL("revoke all on database {} from public").format(database))
    for role in users:
        rights = "connect" if role is Role.READER else "connect, temporary"
        admin.execute(
            sql.SQL("grant {} on database {} to {}").format(sql.SQL(rights), database, sql.Identifier(role))
        )
