"""What became of the scored customers, once their windows closed: outcomes and what is told from them.

The night of 30 October and that of 16 December, which states what became of everyone: see stated_outcomes.py.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from clones import clone_warehouse, drop_warehouse
from scipy.stats import binomtest  # type: ignore[import-untyped]
from sklearn.metrics import brier_score_loss, log_loss, precision_score, recall_score, roc_auc_score
from stated_outcomes import LATE, PROBABILITIES, SCORED, STATING, History
from subscription_deliveries import cut_off_after
from subscription_nights import build_features, plan_and_label, score
from telco_nights import publish, rows
from untested import build_layer

from churn_ml.errors import PublishingError, TransformationError
from churn_ml.publishing.fingerprints import fingerprint_mart
from churn_ml.publishing.outcomes import read_matured_nights
from churn_ml.publishing.publish import publish_run
from churn_ml.services.dated_nights import plan_labels
from churn_ml.services.dbt import run_dbt
from churn_ml.settings import Settings
from churn_ml.training.metrics import point_metrics
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import Run, open_repetition, open_run

OUTCOME_MARTS = ("fct_score_outcome", "model_performance", "calibration", "outcome_by_group", "lead_time")


OUTCOMES = {
    3: (None, "churned_in_gap", date(2026, 11, 3), Decimal("240.00"), "none"),
    4: (True, "churned", date(2026, 11, 20), Decimal("240.00"), "none"),
    5: (True, "churned", date(2026, 11, 25), Decimal("240.00"), "none"),
    8: (False, "retained", None, Decimal("0.00"), "treated"),
    9: (True, "churned", date(2026, 11, 30), Decimal("240.00"), "treated"),
    10: (True, "churned", date(2026, 12, 1), Decimal("240.00"), "held_out"),
    11: (None, "censored", None, None, "none"),
    21: (True, "churned", date(2026, 11, 20), Decimal("396.00"), "none"),
}
RETAINED = (False, "retained", None, Decimal("0.00"), "none")


@pytest.fixture(scope="session")
def stated(stated_outcomes: History) -> History:
    return stated_outcomes


@pytest.fixture
def copied(stated: History) -> Iterator[History]:
    """The same warehouse, for a test that changes it."""
    settings = clone_warehouse(stated.settings)
    yield History(settings, stated.scored, stated.stating)
    drop_warehouse(settings)


def outcomes(settings: Settings, run: Run) -> dict[int, tuple[object, ...]]:
    found = rows(
        settings,
        "select customer_id, churned, outcome_status, churn_date, value_lost_amount, treatment_status"
        " from marts.fct_score_outcome where run_id = %s",
        [run.run_id],
    )
    return {int(str(customer_id)[1:]): tuple(outcome) for customer_id, *outcome in found}


def row(settings: Settings, mart: str, run: Run) -> dict[str, object]:
    with connect(settings, Role.AUDITOR) as auditor:
        cursor = auditor.execute(f"select * from marts.{mart} where run_id = %s", [run.run_id])
        [found] = cursor.fetchall()
        return dict(zip([column.name for column in cursor.description or ()], found, strict=True))


def measured(settings: Settings, run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What happened, what was expected and the monthly value of those whom the metrics are of."""
    found = rows(
        settings,
        "select churned, churn_probability, value_at_risk_amount / 12 from marts.fct_score_outcome"
        " where run_id = %s and churned is not null and treatment_status <> 'treated'",
        [run.run_id],
    )
    churned, probabilities, values = zip(*found, strict=True)
    return np.array(churned), np.array(probabilities), np.array(values, dtype=float)


def test_everyone_scored_has_an_outcome(stated: History) -> None:
    assert outcomes(stated.settings, stated.stating) == {
        number: OUTCOMES.get(number, RETAINED) for number in PROBABILITIES
    }


def test_outcome_stands_beside_the_score_as_it_was_published(stated: History) -> None:
    found = rows(
        stated.settings,
        "select distinct outcomes.run_id, outcomes.scored_run_id, outcomes.scored_as_of_date from"
        " marts.fct_score_outcome as outcomes inner join marts.fct_churn_score as scores"
        " on outcomes.scored_run_key = scores.scoring_run_key and outcomes.customer_key = scores.customer_key"
        " and outcomes.churn_probability = scores.churn_probability"
        " and outcomes.expected_revenue_loss_amount = scores.expected_revenue_loss_amount"
        " and outcomes.risk_tier_key = scores.risk_tier_key",
    )
    assert found == [(stated.stating.run_id, stated.scored.run_id, SCORED)]


def test_metrics_are_those_of_scikit_learn(stated: History) -> None:
    churned, p, _ = measured(stated.settings, stated.stating)
    assert len(churned) == 13
    found = row(stated.settings, "model_performance", stated.stating)
    expected = {
        "roc_auc": roc_auc_score(churned, p),
        "log_loss": log_loss(churned, p),
        "brier": brier_score_loss(churned, p),
        "high_tier_precision": precision_score(churned, p >= 0.15),
        "high_tier_recall": recall_score(churned, p >= 0.15),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_metrics_are_those_of_the_registry(stated: History) -> None:
    expected = point_metrics(*measured(stated.settings, stated.stating), decision=None)
    found = row(stated.settings, "model_performance", stated.stating)
    names = ("roc_auc", "log_loss", "brier", "top_decile_lift", "observed_expected_ratio",
             "observed_expected_money_ratio")  # fmt: skip
    assert {name: found[name] for name in names} == pytest.approx(
        {name: expected[name] for name in names}, abs=1e-4
    )


def test_performance_counts_everyone_once(stated: History) -> None:
    found = row(stated.settings, "model_performance", stated.stating)
    counts = {"customer_count": 17, "measured_count": 13, "unknown_count": 2, "churned_in_gap_count": 1,
              "treated_count": 2, "treated_churned_count": 1, "churned_count": 4, "high_tier_count": 2,
              "high_tier_churned_count": 1, "valued_count": 13}  # fmt: skip
    assert {name: found[name] for name in counts} == counts
    assert found["value_lost_amount"] == Decimal("1116.00")
    low, high = found["expected_revenue_loss_low_amount"], found["expected_revenue_loss_high_amount"]
    assert low < found["expected_revenue_loss_amount"] < high  # type: ignore[operator]
    assert found["is_value_lost_within_interval"] == (low <= Decimal("1116.00") <= high)  # type: ignore[operator]


def test_calibration_is_of_tenths_with_ties_in_one(stated: History) -> None:
    churned, p, _ = measured(stated.settings, stated.stating)
    below = np.array([(p < one).sum() + (p == one).sum() / 2 for one in p])
    tenths = np.floor(10 * below / len(p)).astype(int) + 1
    found = rows(
        stated.settings,
        "select bin_number, customer_count, churned_count, mean_churn_probability, churned_share_low,"
        " churned_share_high from marts.calibration where run_id = %s order by 1",
        [stated.stating.run_id],
    )
    assert [tenth for tenth, *_ in found] == sorted(set(tenths.tolist()))
    for tenth, count, left, mean, low, high in found:
        here = tenths == tenth
        assert (count, left) == (here.sum(), churned[here].sum())
        interval = binomtest(left, count).proportion_ci(0.9, "wilson")
        assert (mean, low, high) == pytest.approx((p[here].mean(), *interval), abs=1e-6)


def test_groups_are_those_of_the_scored_night(stated: History) -> None:
    groups = "scores.segment, region, contract, tenure_group, tenure_group_sort"
    run = [stated.stating.run_id]
    found = rows(
        stated.settings,
        f"select {groups}, measured_count, churned_count, expected_churned_count::numeric, value_lost_amount,"
        " expected_revenue_loss_amount from marts.outcome_by_group as scores"
        " where run_id = %s order by 1, 2, 3, 4",
        run,
    )
    assert found == rows(
        stated.settings,
        f"select {groups}, count(*), count(*) filter (where churned),"
        " sum(outcomes.churn_probability::numeric), sum(value_lost_amount),"
        " sum(outcomes.expected_revenue_loss_amount)"
        " from marts.fct_score_outcome as outcomes inner join marts.fct_churn_score as scores"
        " on scored_run_key = scores.scoring_run_key and outcomes.customer_key = scores.customer_key"
        " where outcomes.run_id = %s and churned is not null and treatment_status <> 'treated'"
        f" group by {groups} order by 1, 2, 3, 4",
        run,
    )
    assert sum(int(str(row[5])) for row in found) == 13


def test_logo_churn_is_brought_to_28_days(stated: History) -> None:
    [[customers, stayed]] = rows(
        stated.settings,
        "select count(*), count(*) filter (where tonight.is_active) from marts.fct_churn_score as former"
        " left join marts.fct_churn_score as tonight"
        " on former.customer_id = tonight.customer_id and tonight.run_id = %s"
        " where former.run_id = %s and former.is_active",
        [stated.stating.run_id, stated.scored.run_id],
    )
    found = row(stated.settings, "churn_kpis_daily", stated.stating)
    assert (found["retention_28d_from_date"], found["logo_churn_28d_target_share"]) == (SCORED, 0.025)
    share = 1 - (int(str(stayed)) / int(str(customers))) ** (28 / (STATING - SCORED).days)
    assert 0 < share < 1
    assert found["logo_churn_28d_share"] == pytest.approx(share, abs=1e-6)


def test_each_leaver_has_one_length_of_warning(stated: History) -> None:
    found = rows(
        stated.settings,
        "select lead_time, customer_count, flagged_count, mean_lead_days, value_lost_amount"
        " from marts.lead_time where run_id = %s order by lead_time_sort",
        [stated.stating.run_id],
    )
    assert found == [
        ("left_in_gap", 1, 1, 4.0, Decimal("240.00")),
        ("up_to_7_days", 1, 1, 1.0, Decimal("396.00")),
        ("8_to_14_days", 1, 1, 12.0, Decimal("240.00")),
        ("15_to_30_days", 1, 1, 21.0, Decimal("240.00")),
        ("over_30_days", 1, 1, 31.0, Decimal("240.00")),
        ("never_flagged", 1, 0, None, Decimal("240.00")),
    ]


def test_reproduced_night_states_the_same_outcomes(copied: History) -> None:
    settings = copied.settings
    again = open_repetition(settings, "reproduce", STATING)
    plan_and_label(settings, again)
    score(settings, again)
    build_layer(settings, again.run_id, "marts")
    with connect(settings, Role.AUDITOR) as auditor:
        for mart in OUTCOME_MARTS:
            then, now = (fingerprint_mart(auditor, mart, run_id) for run_id in
                         (copied.stating.run_id, again.run_id))  # fmt: skip
            assert then == now
            assert now.row_count > 0


def test_restated_night_knows_what_came_late(copied: History) -> None:
    settings = copied.settings
    restated = open_repetition(settings, "restate", STATING, LATE)
    build_features(settings, restated)
    score(settings, restated)
    build_layer(settings, restated.run_id, "marts")
    before, after = outcomes(settings, copied.stating), outcomes(settings, restated)
    changed = {number: outcome for number, outcome in after.items() if outcome != before[number]}
    assert changed == {12: (True, "churned", date(2026, 11, 22), Decimal("240.00"), "none")}
    assert row(settings, "model_performance", restated)["churned_count"] == 5
    [seen] = read_matured_nights(settings)
    publish(settings, restated)
    [seen_then] = read_matured_nights(settings)
    assert (seen.observed_count, seen_then.observed_count) == (4, 5)


@pytest.mark.parametrize("run_kind", ["restate", "night"])
def test_night_published_anew_gets_outcomes_of_its_own(copied: History, run_kind: str) -> None:
    settings = copied.settings
    assert len(read_matured_nights(settings)) == 1
    assert due(settings) == []
    if run_kind == "restate":
        anew = open_repetition(settings, "restate", SCORED, LATE)
    else:
        anew = open_run(settings, "night", cut_off_after(SCORED))
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute(
            "update ops.published_runs set run_id = %s, known_as_of = %s where as_of_date = %s",
            [anew.run_id, anew.known_as_of, SCORED],
        )
        admin.execute(
            "insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)"
            " values ('publish', %s, %s, 'published anew', 'tests')",
            [SCORED, anew.run_id],
        )
    assert read_matured_nights(settings) == [], "BI sees no outcome of a night that was replaced"
    assert due(settings) == [(SCORED, anew.run_id)]
    repeated = open_repetition(settings, "restate", STATING, LATE)
    assert bases(settings, repeated) == [], "the next night states it, and only that one"


def test_outcomes_are_stated_by_one_published_night(copied: History) -> None:
    settings = copied.settings
    run = open_run(settings, "night", cut_off_after(date(2026, 12, 21)))
    assert bases(settings, run) == []
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute(
            "insert into ops.run_bases (run_id, base_role, base_as_of_date, base_run_id)"
            " select %s, base_role, base_as_of_date, base_run_id from ops.run_bases"
            " where base_role = 'matured' and run_id = (select run_id from ops.published_runs"
            " where as_of_date = %s)",
            [run.run_id, STATING],
        )
        admin.execute(
            "update ops.pipeline_runs set model_version = ml.champion_at(known_as_of) where run_id = %s",
            [run.run_id],
        )
    with pytest.raises(PublishingError, match="found 1, the first of 2026-10-30"):
        publish_run(settings, run.run_id, "a second statement")


def due(settings: Settings) -> list[tuple[object, ...]]:
    """Which scored runs the next night states the outcomes of."""
    return bases(settings, open_run(settings, "night", cut_off_after(date(2026, 12, 21))))


def bases(settings: Settings, run: Run) -> list[tuple[object, ...]]:
    with connect(settings, Role.TRANSFORMER) as warehouse:
        plan_labels(settings, warehouse, run)
    with connect(settings, Role.SCORER) as scorer:
        scorer.execute("select ops.choose_bases(%s)", [run.run_id])
    return rows(
        settings,
        "select base_as_of_date, base_run_id from ops.run_bases where run_id = %s and base_role = 'matured'",
        [run.run_id],
    )


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("delete from marts.fct_score_outcome where customer_id = 'C00000001'",
         "outcomes_cover_matured_nights"),
        ("update marts.model_performance set churned_count = churned_count + 1", "outcomes_add_up"),
        ("delete from marts.calibration where bin_number = 10", "outcomes_add_up"),
        ("update marts.outcome_by_group set churned_count = churned_count + 1", "outcomes_add_up"),
        ("delete from marts.lead_time where lead_time = 'never_flagged'", "outcomes_add_up"),
    ],
)  # fmt: skip
def test_outcomes_that_do_not_add_up_are_refused(copied: History, fault: str, test: str) -> None:
    with connect(copied.settings, Role.TRANSFORMER) as transformer:
        transformer.execute(fault)
    with pytest.raises(TransformationError):
        run_dbt(copied.settings, ["test", "--select", test, "--quiet"], copied.stating.run_id)
