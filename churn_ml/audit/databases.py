"""A throw-away warehouse on the same server: never the warehouse itself, always dropped afterwards.

One database is at work at a time, under one name (dbt parses its project anew for every other
name); states that several proofs start from are kept beside it and copied back in its place.
"""

import logging
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from churn_ml.errors import AuditFailed
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, admin_url, connect, connect_admin
from churn_ml.warehouse.provision import provision
from churn_ml.warehouse.sql import SQL, Identifier
from churn_ml.warehouse.state import secret

log = logging.getLogger(__name__)

_MARK = "_audit_"
_LOCK_SPACE = "churn-ml audit:"


@dataclass(frozen=True)
class ThrowAway:
    """The audit's own warehouse: the settings of the database at work, and the states kept beside it."""

    settings: Settings
    admin: Connection

    def keep(self, state: str) -> None:
        """Set the database at work aside as `state`; what comes next must `restore` one."""
        self.admin.execute(
            SQL("alter database {} rename to {}").format(
                Identifier(self.settings.warehouse_database), Identifier(self.database_of(state))
            )
        )

    def restore(self, state: str) -> None:
        """Put a copy of `state` to work in the place of whatever was."""
        _drop(self.admin, self.settings.warehouse_database)
        _copy_database(self.admin, self.database_of(state), self.settings.warehouse_database)

    def holds(self, state: str) -> bool:
        """Return whether `state` was set aside."""
        return self.database_of(state) in _databases(self.admin, self.settings.database_prefix)

    def database_of(self, state: str) -> str:
        """Return the name of the database that holds `state`."""
        return f"{self.settings.warehouse_database}_{state}"

    def connect(self, role: Role, state: str | None = None) -> Connection:
        """Open the database at work, or the one that holds `state`."""
        return connect(self.settings, role, database=self.database_of(state) if state else None)


@contextmanager
def open_throw_away(live: Settings) -> Iterator[ThrowAway]:
    """Make an empty, migrated warehouse of the live one's dataset; leaving the block drops it.

    What a killed audit left behind is dropped first; an audit that is still at work keeps its own.

    Raises
    ------
    AuditFailed
        If only the address of an outside server is known, and nobody who may create databases there.
    """
    _require_administrator(live)
    with connect_admin(live) as admin:
        _drop_leftovers(admin, live)
        prefix = f"{live.database_prefix}{_MARK}{uuid.uuid4().hex[:8]}"
        admin.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [_LOCK_SPACE + prefix])
        settings = _settings_of_its_own(live, prefix)
        try:
            provision(settings)
            _drop(admin, settings.airflow_database)
            yield ThrowAway(settings, admin)
        finally:
            for database in _databases(admin, prefix):
                _drop(admin, database)
            shutil.rmtree(settings.home, ignore_errors=True)


def _require_administrator(live: Settings) -> None:
    if admin_url(live).username is None:
        raise AuditFailed(
            "Expected a user who may create databases and roles in CHURN_WAREHOUSE_URL, found an address "
            "without one: the audit works in a database of its own. Set the URL that the migration uses."
        )


def _settings_of_its_own(live: Settings, prefix: str) -> Settings:
    """Give the audit a folder of its own too, so that its dbt files never meet those of a night."""
    url = admin_url(live).render_as_string(hide_password=False)
    role_secret = live.role_secret or SecretStr(secret(live, "role_secret"))
    home = live.home / "audit" / prefix
    home.mkdir(parents=True)
    return live.model_copy(
        update={"database_prefix": prefix, "home": home, "inbox_dir": home / "inbox",
                "warehouse_url": SecretStr(url), "role_secret": role_secret, "webhook_url": None}
    )  # fmt: skip


def _drop_leftovers(admin: Connection, live: Settings) -> None:
    """Drop the databases of audits that ended without their last step: nobody holds their lock."""
    start = len(f"{live.database_prefix}{_MARK}") + 8
    for prefix in sorted({name[:start] for name in _databases(admin, live.database_prefix + _MARK)}):
        lock = [_LOCK_SPACE + prefix]
        row = admin.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", lock).fetchone()
        if row != (True,):
            continue
        for database in _databases(admin, prefix):
            log.info("dropping %s, left behind by an audit that was killed", database)
            _drop(admin, database)
        shutil.rmtree(live.home / "audit" / prefix, ignore_errors=True)
        admin.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", lock)


def _databases(admin: Connection, prefix: str) -> list[str]:
    rows = admin.execute("select datname from pg_database where starts_with(datname, %s)", [prefix])
    return [str(name) for (name,) in rows.fetchall()]


def _copy_database(admin: Connection, source: str, target: str) -> None:
    name = Identifier(target)
    admin.execute(
        SQL("create database {} template {} owner {}").format(
            name, Identifier(source), Identifier(Role.OWNER)
        )
    )
    admin.execute(SQL("revoke all on database {} from public").format(name))
    for role in Role:
        if role is not Role.AIRFLOW:
            rights = SQL("connect" if role is Role.READER else "connect, temporary")
            admin.execute(SQL("grant {} on database {} to {}").format(rights, name, Identifier(role)))


def _drop(admin: Connection, database: str) -> None:
    admin.execute(SQL("drop database if exists {} with (force)").format(Identifier(database)))
