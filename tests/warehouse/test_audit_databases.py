"""The audit's database is a throw-away: nothing of the warehouse changes and nothing stays behind."""

from datetime import date

import pytest
from psycopg import sql
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
from churn_ml.warehouse.connection import Role, connect, connect_admin

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
