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


def test_functions_of_the_owner_run_no_code_of_their_caller(settings: Settings) -> None:
    with connect(settings, Role.PUBLISHER) as publisher:
        open_to_callers = publisher.execute(
            "select proname from pg_proc where prosecdef"
            " and pronamespace in ('ops'::regnamespace, 'ml'::regnamespace)"
            " and not coalesce('search_path=pg_catalog, pg_temp' = any(proconfig), false)"
        ).fetchall()
        assert open_to_callers == []
        publisher.execute(
            "create function pg_temp.tell(pg_catalog.text) returns boolean language plpgsql as"
            " $$ begin raise exception 'code of the caller ran as %', current_user; end $$"
        )
        publisher.execute("create domain pg_temp.text as pg_catalog.text check (pg_temp.tell(value))")
        with pytest.raises(psycopg.errors.RaiseException, match="run none is not in ops"):
            publisher.execute("select ops.publish_run('none', 'no such run')")
