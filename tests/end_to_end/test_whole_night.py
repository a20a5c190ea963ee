"""Whole nights through every room, on a simulated delivery."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest
from clones import clone_warehouse, drop_warehouse
from nightly import (
    cut_off_of,
    first_load,
    night,
    read,
    train_and_promote,
)
from untested import build_layer

from churn_ml.errors import GateBlocked, LandingError, NoChampion, PublishingError
from churn_ml.landing.delivery import land_file, land_inbox
from churn_ml.landing.snapshots import settle_night
from churn_ml.publishing.fingerprints import RUN_TIME_COLUMNS
from churn_ml.publishing.publish import discard_run, publish_run, unpublish_run
from churn_ml.publishing.summary import summarise_night
from churn_ml.quality.gates import run_gate
from churn_ml.scoring.night import score_night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_run, read_run

FIRST_DAY, SECOND_DAY = date(2026, 9, 30), date(2026, 10, 31)


@pytest.fixture(scope="module")
def shown(published_template: Settings) -> Iterator[Settings]:
    """A warehouse with one published night, for tests that leave it as it is."""
    cloned = clone_warehouse(published_template)
    yield cloned
    drop_warehouse(cloned)


def test_bi_sees_the_night_only_once_it_is_audited_and_published(built: tuple[Settings, str]) -> None:
    settings, run_id = built
    assert read(settings, "select count(*) from marts.customer_churn_current") == [(0,)]
    with pytest.raises(PublishingError, match="audit"):
        publish_run(settings, run_id, "too early")
    run_gate(settings, run_id, "marts")
    publish_run(settings, run_id, "test")
    assert read(settings, "select distinct run_id from marts.customer_churn_current") == [(run_id,)]


def test_every_eligible_customer_is_scored_exactly_once(shown: Settings) -> None:
    [(eligible, scored, doubled)] = read(
        shown,
        "select count(*) filter (where is_eligible), count(churn_probability),"
        " count(*) - count(distinct customer_id) from marts.fct_churn_score",
    )
    assert eligible == scored > 1000
    assert doubled == 0


def test_everyone_else_has_a_reason(shown: Settings) -> None:
    [(silent,)] = read(
        shown,
        "select count(*) from marts.fct_churn_score"
        " where (churn_probability is null) <> (exclusion_reason is not null)",
    )
    assert silent == 0


def test_expected_revenue_loss_is_the_same_in_every_mart(shown: Settings) -> None:
    sums = [
        read(shown, f"select sum(expected_revenue_loss_amount) from marts.{mart}")
        for mart in ("fct_churn_score", "customer_churn_current", "revenue_at_risk_daily")
    ]
    assert sums[0] == sums[1] == sums[2]
    assert sums[0][0][0] > 0


def test_summary_of_a_night_says_what_bi_sees_and_nothing_of_a_hidden_one(published: Settings) -> None:
    [(run_id, scored, high, loss)] = read(
        published,
        "select run_id, count(churn_probability), count(*) filter (where risk_tier = 'high'),"
        " sum(expected_revenue_loss_amount) from marts.fct_churn_score group by run_id",
    )
    summary = summarise_night(published, str(run_id))
    assert (summary.scored_customer_count, summary.high_risk_customer_count) == (scored, high)
    assert summary.headline()["expected_revenue_loss_amount"] == str(loss)
    unpublish_run(published, str(run_id), "to be looked at again")
    with pytest.raises(PublishingError, match="Expected BI to see run"):
        summarise_night(published, str(run_id))


def correct_contracts(settings: Settings, snapshots: dict[date, Path]) -> None:
    """Deliver the second snapshot once more: every monthly contract becomes one of two years."""
    corrected = snapshots[SECOND_DAY].read_text().replace("Month-to-month", "Two year")
    (settings.inbox / SECOND_DAY.isoformat() / "corrected.csv").write_text(corrected)


def test_rerun_supersedes_and_shows_bi_the_same_rows_whatever_was_delivered_since(
    published: Settings, snapshots: dict[date, Path]
) -> None:
    former = read(published, "select distinct run_id from marts.fct_churn_score")
    correct_contracts(published, snapshots)
    again = night(published, cut_off_of(SECOND_DAY))
    assert [(again.superseded_run_id,)] == former
    assert again.differing_marts == ()
    assert read(published, "select distinct run_id from marts.fct_churn_score") == [(again.run_id,)]


@pytest.mark.long
def test_rerun_of_an_older_night_shows_bi_the_same_rows_whatever_landed_since(
    published: Settings, snapshots: dict[date, Path]
) -> None:
    later = date(2026, 11, 30)
    folder = published.inbox / later.isoformat()
    folder.mkdir()
    (folder / "customers.csv").write_bytes(snapshots[SECOND_DAY].read_bytes())
    newest = night(published, cut_off_of(later))
    correct_contracts(published, snapshots)
    land_inbox(published, open_run(published, "night", cut_off_of(date(2026, 12, 2))).run_id)
    assert night(published, cut_off_of(SECOND_DAY)).differing_marts == ()
    assert read(published, "select distinct run_id from marts.customer_churn_current") == [(newest.run_id,)]


def test_fingerprint_notices_a_changed_row(published: Settings) -> None:
    with connect(published, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "update marts.fct_churn_score set segment = 'other'"
            " where customer_id = (select min(customer_id) from marts.fct_churn_score)"
        )
        [(run_id,)] = transformer.execute("select distinct run_id from marts.fct_churn_score").fetchall()
    from churn_ml.publishing.fingerprints import read_fingerprints, take_fingerprints

    before = {item.mart: item.rows_md5 for item in read_fingerprints(published, str(run_id))}
    after = {item.mart: item.rows_md5 for item in take_fingerprints(published, str(run_id))}
    assert [mart for mart in before if before[mart] != after[mart]] == ["fct_churn_score"]


def test_run_time_columns_are_the_declared_ones(shown: Settings) -> None:
    found = read(
        shown,
        "select distinct column_name from information_schema.columns"
        " where table_schema = 'marts' and (column_name like '%scored%at' or column_name = 'built_at')",
    )
    assert {str(name) for (name,) in found} <= RUN_TIME_COLUMNS


def test_failed_marts_gate_leaves_the_last_good_night(published: Settings) -> None:
    before = read(published, "select distinct run_id from marts.fct_churn_score")
    run_id = open_run(published, "night", cut_off_of(SECOND_DAY)).run_id
    score_night(published, run_id)
    build_layer(published, run_id, "marts")
    with connect(published, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "update marts.fct_churn_score set expected_revenue_loss_amount = value_at_risk_amount + 1"
            " where run_id = %s and churn_probability is not null",
            [run_id],
        )
    with pytest.raises(GateBlocked, match=r"ops\.validation_results"):
        run_gate(published, run_id, "marts")
    with pytest.raises(PublishingError, match="failed blocking checks"):
        publish_run(published, run_id, "in spite of the gate")
    assert read(published, "select distinct run_id from marts.fct_churn_score") == before


def test_unpublish_takes_one_row_and_hides_every_mart(published: Settings) -> None:
    [(run_id,)] = read(published, "select distinct run_id from marts.fct_churn_score")
    unpublish_run(published, str(run_id), "a wrong delivery")
    for mart in ("fct_churn_score", "customer_churn_current", "revenue_at_risk_daily", "dim_scoring_run"):
        assert read(published, f"select count(*) from marts.{mart}") == [(0,)]
    with pytest.raises(PublishingError, match="not published"):
        unpublish_run(published, str(run_id), "twice")


def test_published_run_is_never_discarded(published: Settings) -> None:
    [(run_id,)] = read(published, "select distinct run_id from marts.fct_churn_score")
    unpublish_run(published, str(run_id), "a wrong delivery")
    with pytest.raises(PublishingError, match="never discarded"):
        discard_run(published, str(run_id))


def test_discard_removes_every_row_of_an_unpublished_run(built: tuple[Settings, str]) -> None:
    settings, run_id = built
    assert discard_run(settings, run_id) > 0
    assert read(settings, "select count(*) from scores.customer_scores", Role.AUDITOR) == [(0,)]
    assert read(settings, "select count(*) from marts.fct_churn_score", Role.AUDITOR) == [(0,)]
    assert read_run(settings, run_id).status == "discarded"


def test_later_night_of_the_same_snapshot_changes_nothing(published: Settings) -> None:
    run = open_run(published, "night", cut_off_of(date(2026, 11, 1)))
    land_inbox(published, run.run_id)
    assert settle_night(published, run.run_id) is False
    assert read_run(published, run.run_id).status == "unchanged"


def test_no_champion_at_the_cut_off_names_the_command(landed: Settings) -> None:
    run = open_run(landed, "night", cut_off_of(SECOND_DAY))
    with pytest.raises(NoChampion, match="churn-ml model promote"):
        score_night(landed, run.run_id)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into marts.revenue_at_risk_daily default values",
        "delete from marts.customer_churn_current",
        "create table marts.mine (id integer)",
        "create temporary table mine (id integer)",
        "select * from features.customer_features",
        "select * from ops.published_runs",
        "select ops.publish_run('a', 'b')",
    ],
)
def test_bi_reader_can_do_nothing_but_read_marts(shown: Settings, statement: str) -> None:
    with connect(shown, Role.READER) as reader:
        reader.execute("set transaction read write")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(statement)


def test_training_customers_are_scored_out_of_fold(shown: Settings) -> None:
    [(in_training, out_of_fold)] = read(
        shown,
        "select count(*) filter (where t.customer_id is not null), count(*) filter (where s.is_out_of_fold)"
        " from scores.customer_scores as s left join ml.training_customers as t"
        " using (model_version, customer_id)",
        Role.SCORER,
    )
    assert in_training == out_of_fold > 0


def test_second_snapshot_holds_customers_that_the_model_never_met(shown: Settings) -> None:
    [(strangers,)] = read(
        shown, "select count(*) from scores.customer_scores where not is_out_of_fold", Role.SCORER
    )
    assert int(str(strangers)) > 0


def _published_run(settings: Settings) -> str:
    [(run_id,)] = read(settings, "select distinct run_id from marts.fct_churn_score")
    return str(run_id)


def test_discarded_run_is_never_published(built: tuple[Settings, str]) -> None:
    settings, run_id = built
    run_gate(settings, run_id, "marts")
    with connect(settings, Role.PUBLISHER) as publisher:
        publisher.execute("select ops.discard_run(%s)", [run_id])
    with pytest.raises(PublishingError, match="audit it before"):
        publish_run(settings, run_id, "an empty night")


def test_marts_rebuilt_after_their_gate_are_not_published(built: tuple[Settings, str]) -> None:
    settings, run_id = built
    run_gate(settings, run_id, "marts")
    build_layer(settings, run_id, "marts")
    with pytest.raises(PublishingError, match="audit it before"):
        publish_run(settings, run_id, "with the verdicts of other rows")


def test_night_scored_by_another_model_than_the_champion_is_not_published(
    built: tuple[Settings, str],
) -> None:
    settings, run_id = built
    run_gate(settings, run_id, "marts")
    with connect(settings, Role.SCORER) as scorer:
        scorer.execute("select ops.record_run_model(%s, 'another')", [run_id])
    with pytest.raises(PublishingError, match=r"scored by the champion at .*, found another"):
        publish_run(settings, run_id, "test")


def test_corrected_delivery_is_published_by_the_next_night(
    published: Settings, snapshots: dict[date, Path]
) -> None:
    correct_contracts(published, snapshots)
    following = night(published, cut_off_of(date(2026, 11, 30)))
    assert following.as_of_date == SECOND_DAY
    assert following.superseded_run_id is not None
    assert following.differing_marts
    assert read(
        published, "select count(*) from marts.fct_churn_score where contract = 'month_to_month'"
    ) == [(0,)]


def test_published_run_keeps_its_state_and_its_date(published: Settings) -> None:
    run_id = _published_run(published)
    for statement in (
        "select ops.close_run(%s, 'discarded', null)",
        "select ops.settle_run(%s, '2026-01-01')",
    ):
        with connect(published, Role.LOADER) as loader, pytest.raises(psycopg.errors.RaiseException):
            loader.execute(statement, [run_id])


def test_history_is_not_rewritten_by_landing_at_a_published_cut_off(
    published: Settings, snapshots: dict[date, Path]
) -> None:
    with pytest.raises(LandingError, match="every published cut-off"):
        land_file(
            published, snapshots[FIRST_DAY], "customers", as_of_date=SECOND_DAY,
            known_at=cut_off_of(FIRST_DAY),
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.long
def test_real_telco_night(settings: Settings, real_telco_file: Path) -> None:
    day = date(2026, 10, 31)
    first_load(settings, real_telco_file, day)
    trained = train_and_promote(settings, cut_off_of(day).replace(hour=1))
    night(settings, cut_off_of(day), tested=True)
    [(known, active, scored)] = read(
        settings,
        "select count(*), count(*) filter (where is_active), count(churn_probability)"
        " from marts.fct_churn_score",
    )
    assert (known, active, scored) == (7043, 5174, 5174)
    assert 0.840 <= trained.metrics["roc_auc"] <= 0.860
    assert 0.405 <= trained.metrics["log_loss"] <= 0.420
