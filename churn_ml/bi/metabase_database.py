"""The warehouse as Metabase knows it: one connection as bi_reader that shows the schema ``marts`` alone."""

import logging
import time
from typing import Any

from churn_ml.bi.metabase_api import Metabase, Patience
from churn_ml.bi.metabase_bodies import differs
from churn_ml.bi.metabase_files import DATABASE, SCHEMA
from churn_ml.errors import ServiceError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, warehouse_url

log = logging.getLogger(__name__)

_ENCRYPTED = {"require", "verify-ca", "verify-full"}


def connection_details(settings: Settings) -> dict[str, Any]:
    """Return how Metabase reaches the warehouse: as bi_reader, and of all schemas only ``marts``."""
    url = warehouse_url(settings, Role.READER)
    host, port = url.host, url.port or 5432
    if settings.metabase_warehouse_address:
        host, _, given_port = settings.metabase_warehouse_address.partition(":")
        port = int(given_port or 5432)
    mode = str(url.query.get("sslmode", ""))
    encrypted = {"ssl": True, "ssl-mode": mode} if mode in _ENCRYPTED else {"ssl": False}
    return {
        "host": host,
        "port": port,
        "dbname": url.database,
        "user": url.username,
        "password": url.password,
        "schema-filters-type": "inclusion",
        "schema-filters-patterns": SCHEMA,
        **encrypted,
    }


def load_database(metabase: Metabase, details: dict[str, Any]) -> tuple[int, str]:
    """Make the connection, or mend it where it differs or does not work.

    Returns
    -------
    id : int
    done : str
        ``created``, ``updated`` or ``unchanged``.

    Raises
    ------
    ServiceError
        If a database of another kind or of another dataset has the name, or Metabase cannot connect.
    """
    same_name = [one for one in metabase.get("/api/database")["data"] if one["name"] == DATABASE]
    body = {"name": DATABASE, "engine": "postgres", "details": details}
    if not same_name:
        created = metabase.post(
            "/api/database", {**body, "is_full_sync": True, "is_on_demand": False, "auto_run_queries": True}
        )
        return created["id"], "created"
    database = metabase.get(f"/api/database/{same_name[0]['id']}")
    if database["engine"] != "postgres":
        raise ServiceError(
            f"Expected Metabase's database {DATABASE!r} to be Postgres, found {database['engine']}. "
            "Rename that one."
        )
    shown = database.get("details", {}).get("dbname")
    if shown not in (None, details["dbname"]):
        raise ServiceError(
            f"Expected Metabase's database {DATABASE!r} to show {details['dbname']}, found {shown}: every "
            "question would show other customers. Load into another Metabase, or rename that database: "
            "then the questions of bi/metabase/ move to a new one."
        )
    told = {key: value for key, value in details.items() if key != "password"}  # Metabase tells no password
    if not differs(told, database.get("details", {})) and _works(metabase, database["id"]):
        return database["id"], "unchanged"
    metabase.put(f"/api/database/{database['id']}", body)
    return database["id"], "updated"


def wait_for_fields(
    metabase: Metabase, database: int, wanted: set[tuple[str, str]], patience: Patience
) -> dict[tuple[str, str], int]:
    """Return Metabase's id of each wanted (table, column), after a sync where it does not know one yet.

    Raises
    ------
    ServiceError
        If Metabase still does not know them after the limit.
    """
    fields = _fields(metabase, database)
    if wanted - fields.keys():
        metabase.post(f"/api/database/{database}/sync_schema")
    end = time.monotonic() + patience.limit
    while missing := sorted(wanted - fields.keys()):
        if time.monotonic() >= end:
            names = ", ".join(f"{SCHEMA}.{table}.{column}" for table, column in missing)
            raise ServiceError(
                f"Expected Metabase to know {names} within {patience.limit:.0f} s, found {len(fields)} "
                f"columns of {SCHEMA}. Where no night was published yet, publish one (`churn-ml night`), "
                "then load again."
            )
        time.sleep(patience.pause)
        fields = _fields(metabase, database)
    log.info("Metabase knows %d columns of %s", len(fields), SCHEMA)
    return fields


def _fields(metabase: Metabase, database: int) -> dict[tuple[str, str], int]:
    found = metabase.get(f"/api/database/{database}/fields")
    return {(one["table_name"], one["name"]): one["id"] for one in found if one["schema"] == SCHEMA}


def _works(metabase: Metabase, database: int) -> bool:
    return bool(metabase.get(f"/api/database/{database}/healthcheck").get("status") == "ok")
