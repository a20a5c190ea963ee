"""A warehouse of its own for a test: a copy of a migrated one takes a fraction of a second."""

import uuid

from psycopg import sql

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect_admin


def clone_warehouse(template: Settings) -> Settings:
    """Copy the warehouse of `template` under a prefix of its own."""
    settings = template.model_copy(update={"database_prefix": f"t{uuid.uuid4().hex[:10]}"})
    with connect_admin(template) as admin:
        target, source = (
            sql.Identifier(settings.warehouse_database),
            sql.Identifier(template.warehouse_database),
        )
        admin.execute(sql.SQL("create database {} template {} owner churn_owner").format(target, source))
        admin.execute(sql.SQL("revoke all on database {} from public").format(target))
        for role in Role:
            if role is not Role.AIRFLOW:
                rights = "connect" if role is Role.READER else "connect, temporary"
                admin.execute(
                    sql.SQL("grant {} on database {} to {}").format(
                        sql.SQL(rights), target, sql.Identifier(role)
                    )
                )
    return settings


def drop_warehouse(settings: Settings) -> None:
    """Drop what `clone_warehouse` made."""
    with connect_admin(settings) as admin:
        admin.execute(
            sql.SQL("drop database {} with (force)").format(sql.Identifier(settings.warehouse_database))
        )
