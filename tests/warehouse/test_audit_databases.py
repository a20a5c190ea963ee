"""The audit's database is a throw-away: nothing of the warehouse changes and nothing stays behind."""

from datetime import date
from pathlib import Path

import pytest
from psycopg import sql
from pydantic import SecretStr
from subscription_deliveries import WORLD_CUSTOMERS, deliver_world
from typer.testing import CliRunner

from churn_ml.audit.databases import open_throw_away
from churn_ml.audit.proofs import Proof, run_audit
from churn_ml.audit.sample import copy_sample, night_of, read_night
from churn_ml.cli import app
from churn_ml.cli.audit import print_proofs, require_all
from churn_ml.errors import AuditFailed
from churn_ml.landing.delivery import land_path
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, admin_url, connect, connect_admin
from churn_ml.warehouse.state import secret

DAY = date(2026, 10, 31)


def databases_of(settings: Settings) -> list[str]:
    with connect_admin(settings) as admin:
        rows = admin.execute(
            "select datname from pg_database where starts_with(datname, %s)",
            [settings.database_prefix + "_audit"],
        ).fetchall()
    return [name for (name,) in rows]


def test_nothing_stays_behind_even_after_a_failure(subscriptions: Settings) -> None:
    with pytest.raises(RuntimeError), open_throw_away(subscriptions) as target:  # noqa: PT012
        assert databases_of(subscriptions) == [target.settings.warehouse_database]
        target.keep("sample")
        target.restore("sample")
        raise RuntimeError
    assert databases_of(subscriptions) == []
    assert list((subscriptions.home / "audit").iterdir()) == []


def test_next_audit_drops_what_a_killed_one_left_and_spares_one_at_work(subscriptions: Settings) -> None:
    left = f"{subscriptions.database_prefix}_audit_0123abcd_subscriptions_built"
    with connect_admin(subscriptions) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(left)))
    with open_throw_away(subscriptions) as first, open_throw_away(subscriptions) as second:
        names = [first.settings.warehouse_database, second.settings.warehouse_database]
        assert sorted(databases_of(subscriptions)) == sorted(names)


def test_sample_is_seeded_whole_and_leaves_the_warehouse_alone(subscriptions: Settings) -> None:
    deliver_world(subscriptions.inbox, [DAY])
    land_path(subscriptions, subscriptions.inbox, first_load=True)
    chosen = []
    for _ in range(2):
        with open_throw_away(subscriptions) as target:
            sample = copy_sample(subscriptions, target, night_of(DAY), customers=5, seed=3)
            with target.connect(Role.OWNER) as owner:
                [ids] = owner.execute("select array_agg(distinct customer_id) from raw.customers").fetchall()
                assert owner.execute(
                    "select count(*) from raw.usage where _batch_id not in"
                    " (select batch_id from ops.landing_batches)"
                ).fetchall() == [(0,)]
                assert owner.execute("select count(*) from raw.plans").fetchall() == [(2,)]
            chosen.append(ids[0])
    assert chosen[0] == chosen[1]
    assert sample.customers == len(chosen[0]) == 5
    assert set(chosen[0]) < set(WORLD_CUSTOMERS)
    with connect(subscriptions, Role.AUDITOR) as auditor:
        assert auditor.execute("select count(distinct customer_id) from raw.usage").fetchall() == [(20,)]
        rows = auditor.execute("select * from raw.usage where customer_id = any(%s)", [chosen[0]]).rowcount
    assert 0 < rows < sample.rows


def test_newest_delivery_is_the_newest_night_where_none_is_published(subscriptions: Settings) -> None:
    deliver_world(subscriptions.inbox, [DAY])
    land_path(subscriptions, subscriptions.inbox, first_load=True)
    assert read_night(subscriptions, None) == night_of(DAY)


def test_warehouse_without_deliveries_says_what_to_land(subscriptions: Settings) -> None:
    with pytest.raises(AuditFailed, match="churn-ml land"):
        run_audit(subscriptions)


def test_dataset_without_event_times_is_refused(settings: Settings) -> None:
    with pytest.raises(AuditFailed, match="CHURN_DATASET"):
        run_audit(settings)


def test_unknown_proof_names_those_there_are() -> None:
    result = CliRunner().invoke(app, ["audit", "everything"])
    assert result.exit_code == 1
    assert isinstance(result.exception, AuditFailed)
    assert "truncation, future_shock, late_arrival" in str(result.exception)


def test_failed_proof_is_shown_with_its_rows_and_raises(capsys: pytest.CaptureFixture[str]) -> None:
    from churn_ml.audit.comparison import Difference

    difference = Difference("features.customer_features", "C00000001", "sessions_28d", "7", "14")
    failed = Proof("truncation", False, "night 2026-10-24: 60 feature rows", (difference,), 1.0)
    print_proofs([failed, Proof("future_shock", True, "the same night", (), 2.0)])
    shown = capsys.readouterr().out
    assert "C00000001" in shown
    assert "sessions_28d" in shown
    with pytest.raises(AuditFailed, match="truncation did not"):
        require_all([failed])


def test_outside_server_needs_no_superuser(server: Settings, tmp_path: Path) -> None:
    """A user who may create databases and roles, and who administers the roles of the warehouse."""
    address = admin_url(server)
    with connect_admin(server) as admin:
        admin.execute("create role auditing login createdb createrole password 'known'")
        for role in Role:
            admin.execute(f"grant {role} to auditing with admin option")
        outside = server.model_copy(
            update={
                "home": tmp_path,
                "dataset": "subscriptions",
                "database_prefix": "outside",
                "warehouse_url": SecretStr(
                    f"postgresql://auditing:known@{address.host}:{address.port}/postgres"
                ),
                "role_secret": SecretStr(secret(server, "role_secret")),
            }
        )
        with open_throw_away(outside) as target:
            for state in ("first", "second"):
                target.keep(state)
                assert target.holds(state)
                target.restore(state)
            with target.connect(Role.TRANSFORMER) as transformer:
                assert transformer.execute("select count(*) from raw.usage").fetchall() == [(0,)]
        assert databases_of(outside) == []


def test_address_without_a_user_is_refused_with_the_next_step(server: Settings) -> None:
    address = admin_url(server)
    outside = server.model_copy(
        update={"warehouse_url": SecretStr(f"postgresql://{address.host}:{address.port}/postgres")}
    )
    with pytest.raises(AuditFailed, match="CHURN_WAREHOUSE_URL"), open_throw_away(outside):
        pass
