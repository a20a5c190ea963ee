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


OUTSIDE_THE_MARTS = ["raw.customers", "ops.pipeline_runs", "scores.customer_scores", "ml.model_versions"]


@pytest.mark.parametrize("table", OUTSIDE_THE_MARTS)
def test_bi_reader_cannot_read_outside_the_marts(settings: Settings, table: str) -> None:
    with connect(settings, Role.READER) as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(f"select * from {table}")


def test_transformer_cannot_read_quarantined_text(settings: Settings) -> None:
    denied = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with connect(settings, Role.TRANSFORMER) as transformer, denied:
        transformer.execute("select raw_bytes from ops.quarantine")


def test_scorer_can_insert_scores_but_not_change_them(settings: Settings) -> None:
    denied = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with connect(settings, Role.SCORER) as scorer, denied:
        scorer.execute("update scores.customer_scores set churn_probability = 0")


def test_reader_cannot_hold_up_the_night(settings: Settings) -> None:
    with connect(settings, Role.READER) as reader:
        names = ["statement_timeout", "idle_in_transaction_session_timeout", "transaction_read_only"]
        limits = [reader.execute("select current_setting(%s)", [name]).fetchall() for name in names]
    assert limits == [[("5min",)], [("1min",)], [("on",)]]
