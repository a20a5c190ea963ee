"""Roles, grants and migrations on the real server."""

import psycopg
import pytest

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.provision import provision


def test_provision_twice_changes_nothing(server: Settings) -> None:
    with connect(server, Role.OWNER) as owner:
        before = owner.execute("select version_num from public.schema_migrations").fetchall()
    provision(server)
    with connect(server, Role.OWNER) as owner:
        assert owner.execute("select version_num from public.schema_migrations").fetchall() == before


def test_transformer_cannot_read_quarantined_text(settings: Settings) -> None:
    denied = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with connect(settings, Role.TRANSFORMER) as transformer, denied:
        transformer.execute("select raw_bytes from ops.quarantine")


def test_scorer_can_insert_scores_but_not_change_them(settings: Settings) -> None:
    denied = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with connect(settings, Role.SCORER) as scorer, denied:
        scorer.execute("update scores.customer_scores set churn_probability = 0")
