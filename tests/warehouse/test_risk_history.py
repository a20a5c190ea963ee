"""How risk moves from night to night: changes, and tiers through time."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from clones import clone_warehouse, drop_warehouse
from risk_marts import build_marts, choose_bases, cut_off, facts
from telco_nights import (
    BEFORE_FEATURES,
    DAY,
    build,
    customer,
    deliver,
    publish,
    rows,
    score,
)

from churn_ml.errors import TransformationError
from churn_ml.services.dbt import run_dbt
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_repetition, open_run

DAYS = [DAY - timedelta(days=28), DAY - timedelta(days=1), DAY]
SCORES: dict[str, list[float | None]] = {
    "riser": [0.1, 0.5, 0.8],
    "steady": [0.2, 0.25, 0.3],
    "faller": [0.9, 0.9, 0.45],
    "leaver": [0.5, 0.6, None],
    "absent": [0.3, 0.3, None],
    "newcomer": [None, 0.5, 1.0],
    "refused": [0.5, None, None],
    "gone": [None, None, None],
}
LISTED = {"absent": (0, 1), "newcomer": (1, 2), "gone": (0, 1)}
CHANGES = {"leaver": {2: {"churn": "Yes"}}, "gone": {0: {"churn": "Yes"}, 1: {"churn": "Yes"}},
           "refused": {1: {"tenure": "ten"}, 2: {"tenure": "ten"}}}  # fmt: skip
RISK_MARTS = ["fct_churn_score", "fct_tier_change", "tier_transition_daily", "risk_distribution_daily"]
RUN_TIME_COLUMNS = {"run_id", "scoring_run_key", "scored_at", "scored_date"}


def score_by_hand(settings: Settings, run: Run) -> None:
    """Score `run`, a night of `DAYS`, with the probabilities of `SCORES`, and build its marts."""
    number = DAYS.index(run.as_of_date)
    given = {name: values[number] for name, values in SCORES.items()}
    score(settings, run, {name: value for name, value in given.items() if value is not None})
    choose_bases(settings, run)
    build_marts(settings, run, tested=run.as_of_date == DAY)


@pytest.fixture(scope="module")
def nights(server: Settings) -> Iterator[tuple[Settings, list[Run]]]:
    """Three published nights: 28 days before the last, the day before it, and the last."""
    settings = clone_warehouse(server)
    runs = []
    for number, day in enumerate(DAYS):
        people = [customer(name, **CHANGES.get(name, {}).get(number, {}))
                  for name in SCORES if number in LISTED.get(name, (0, 1, 2))]  # fmt: skip
        deliver(settings, *people, as_of_date=day, known_at=cut_off(day))
        run = open_run(settings, "night", cut_off(day))
        build(settings, run, *BEFORE_FEATURES)
        score_by_hand(settings, run)
        publish(settings, run)
        runs.append(run)
    yield settings, runs
    drop_warehouse(settings)


@pytest.fixture
def copied(nights: tuple[Settings, list[Run]]) -> Iterator[tuple[Settings, list[Run]]]:
    """The same nights in a warehouse of the test's own."""
    cloned = clone_warehouse(nights[0])
    yield cloned, nights[1]
    drop_warehouse(cloned)


def contents(settings: Settings, run: Run, mart: str) -> list[tuple[object, ...]]:
    found = rows(
        settings,
        "select column_name from information_schema.columns where table_schema = 'marts' and table_name = %s",
        [mart],
    )
    columns = ", ".join(str(name) for (name,) in found if name not in RUN_TIME_COLUMNS)
    return sorted(
        rows(settings, f"select {columns} from marts.{mart} where run_id = %s", [run.run_id]), key=repr
    )


def test_risk_is_compared_with_the_nights_before(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    found = facts(settings, runs[2], "previous_as_of_date, previous_churn_probability, previous_risk_tier,"
                  " risk_change_pts, risk_change_7d_pts, risk_change_28d_pts")  # fmt: skip
    assert found == {
        "riser": [DAYS[1], 0.5, "medium", 30, 70, 70],
        "steady": [DAYS[1], 0.25, "low", 5, 10, 10],
        "faller": [DAYS[1], 0.9, "high", -45, -45, -45],
        "leaver": [DAYS[1], 0.6, "medium", None, None, None],
        "newcomer": [DAYS[1], 0.5, "medium", 50, None, None],
        "refused": [DAYS[1], None, None, None, None, None],
    }
    second = facts(settings, runs[1], "previous_as_of_date, risk_change_pts, risk_change_28d_pts")
    assert second["riser"] == [DAYS[0], 40, None]
    assert second["newcomer"] == [None, None, None]


def test_the_first_night_has_nothing_to_compare_with(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    found = facts(settings, runs[0], "num_nonnulls(previous_as_of_date, previous_churn_probability,"
                  " previous_risk_tier, previous_risk_tier_sort, risk_change_pts, risk_change_7d_pts,"
                  " risk_change_28d_pts, risk_change_model_pts, risk_change_customer_pts), days_in_tier,"
                  " tier_since_date")  # fmt: skip
    assert len(found) == 7
    assert all(values == [0, 0, DAYS[0]] for values in found.values())


def test_days_in_tier_count_from_the_first_night_of_an_unbroken_row(
    nights: tuple[Settings, list[Run]],
) -> None:
    settings, runs = nights
    found = facts(settings, runs[2], "risk_tier, tier_since_date, days_in_tier")
    assert found == {
        "riser": ["high", DAYS[2], 0],
        "steady": ["low", DAYS[0], 28],
        "faller": ["medium", DAYS[2], 0],
        "leaver": [None, DAYS[2], 0],
        "newcomer": ["high", DAYS[2], 0],
        "refused": [None, DAYS[1], 1],
    }


def test_a_change_by_one_model_is_the_customers(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    found = facts(settings, runs[2], "risk_change_pts, risk_change_model_pts, risk_change_customer_pts")
    assert found["riser"] == [30, 0, 30]
    assert found["leaver"] == [None, None, None]


def test_the_current_mart_carries_the_history(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    columns = (
        "previous_as_of_date, previous_churn_probability, previous_risk_tier, previous_risk_tier_sort,"
        " risk_change_pts, risk_change_7d_pts, risk_change_28d_pts, risk_change_model_pts,"
        " risk_change_customer_pts, tier_since_date, days_in_tier"
    )
    history = facts(settings, runs[2], columns)
    assert facts(settings, runs[2], columns, "customer_churn_current") == {
        name: values for name, values in history.items() if name != "leaver"
    }


def test_tier_changes_tell_from_where_to_where(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    columns = "from_state, from_risk_tier_key, from_exclusion_reason, to_state, to_risk_tier_key," \
              " to_exclusion_reason, previous_as_of_date"  # fmt: skip
    changes = [facts(settings, run, columns, "fct_tier_change") for run in runs]
    assert {(values[0], values[6]) for values in changes[0].values()} == {("new", None)}
    assert set(changes[0]) == set(SCORES) - {"newcomer"}
    assert changes[1] == {
        "riser": ["low", 1, None, "medium", 2, None, DAYS[0]],
        "newcomer": ["new", None, None, "medium", 2, None, DAYS[0]],
        "refused": ["medium", 2, None, "not_scored", 0, "rejected_value", DAYS[0]],
    }
    assert changes[2] == {
        "riser": ["medium", 2, None, "high", 3, None, DAYS[1]],
        "faller": ["high", 3, None, "medium", 2, None, DAYS[1]],
        "leaver": ["medium", 2, None, "left", 0, "not_active", DAYS[1]],
        "absent": ["low", 1, None, "absent", 0, "absent", DAYS[1]],
        "newcomer": ["medium", 2, None, "high", 3, None, DAYS[1]],
    }
    money = facts(settings, runs[2], "previous_churn_probability, churn_probability,"
                  " previous_value_at_risk_amount, value_at_risk_amount", "fct_tier_change")  # fmt: skip
    assert money["riser"] == [0.5, 0.8, 600, 600]
    assert money["absent"] == [0.3, None, 600, None]


def history_of(settings: Settings, name: str) -> list[tuple[object, ...]]:
    return rows(
        settings,
        "select risk_tier, risk_tier_key, exclusion_reason, valid_from, valid_to, is_current"
        " from marts.customer_tier_history where customer_id = %s order by valid_from",
        [name],
        Role.READER,
    )


def test_tiers_through_time_follow_each_other_without_a_gap(nights: tuple[Settings, list[Run]]) -> None:
    settings, _ = nights
    first, second, third = DAYS
    assert history_of(settings, "riser") == [
        ("low", 1, None, first, second, False),
        ("medium", 2, None, second, third, False),
        ("high", 3, None, third, None, True),
    ]
    assert history_of(settings, "steady") == [("low", 1, None, first, None, True)]
    assert history_of(settings, "leaver") == [
        ("medium", 2, None, first, third, False),
        (None, 0, "not_active", third, None, True),
    ]
    assert history_of(settings, "gone") == [(None, 0, "not_active", first, None, True)]
    assert history_of(settings, "absent")[-1] == (None, 0, "absent", third, None, True)


def test_tiers_through_time_are_those_of_every_published_night(nights: tuple[Settings, list[Run]]) -> None:
    settings, _ = nights
    differing = rows(
        settings,
        "select customer_id, as_of_date from marts.fct_churn_score as scores"
        " full join (select as_of_date, history.* from marts.dim_scoring_run"
        "  join marts.customer_tier_history as history on valid_from <= as_of_date"
        "  and (as_of_date < valid_to or valid_to is null)) as told using (as_of_date, customer_id)"
        " where scores.risk_tier_key is distinct from told.risk_tier_key"
        " or scores.exclusion_reason is distinct from told.exclusion_reason",
        role=Role.READER,
    )
    # Who is not among a night's customers has no score row: once listed as absent, once long gone.
    assert sorted(differing) == [("absent", DAYS[2]), ("gone", DAYS[2])]


def test_transitions_hold_every_customer_of_both_nights_once(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    found = rows(
        settings,
        "select from_state, to_state, customer_count, previous_value_at_risk_amount, value_at_risk_amount"
        " from marts.tier_transition_daily where run_id = %s order by from_state_sort, to_state_sort",
        [runs[2].run_id],
    )
    assert found == [
        ("low", "low", 1, 600, 600),
        ("low", "absent", 1, 600, None),
        ("medium", "high", 2, 1200, 1200),
        ("medium", "left", 1, 600, 600),
        ("high", "medium", 1, 600, 600),
        ("not_scored", "not_scored", 1, 600, 600),
        ("left", "absent", 1, 600, None),
    ]


def test_the_distribution_has_twenty_buckets_and_every_score(nights: tuple[Settings, list[Run]]) -> None:
    settings, runs = nights
    found = rows(
        settings,
        "select bucket_number, bucket_label, customer_count, revenue_at_risk_amount,"
        " expected_revenue_loss_amount from marts.risk_distribution_daily where run_id = %s order by 1",
        [runs[2].run_id],
    )
    assert [number for number, *_ in found] == list(range(1, 21))
    # 0.3, 0.45 and 0.8 are the lower edges of their buckets; 1.0 is in the last one.
    assert {number: values for number, *values in found if values[1]} == {
        7: ["30-35 %", 1, 600, 180],
        10: ["45-50 %", 1, 600, 270],
        17: ["80-85 %", 1, 600, 480],
        20: ["95-100 %", 1, 600, 600],
    }
    assert {tuple(values[2:]) for values in found if not values[2]} == {(0, 0, 0)}


def test_a_reproduction_compares_with_the_nights_of_then(copied: tuple[Settings, list[Run]]) -> None:
    """Also where one of them is published no more."""
    settings, runs = copied
    with connect(settings, Role.PUBLISHER) as publisher:
        publisher.execute("select ops.unpublish_run(%s, 'test')", [runs[1].run_id])
    again = open_repetition(settings, "reproduce", DAY)
    score_by_hand(settings, again)  # the features of its night stand
    for mart in RISK_MARTS:
        assert contents(settings, again, mart) == contents(settings, runs[2], mart) != []


FAULTS = {
    "risk_changes_split_exactly":
        "update marts.fct_churn_score set risk_change_customer_pts = risk_change_customer_pts + 0.000001"
        " where run_id = %s and customer_id = 'riser'",
    "tier_transitions_add_up":
        "update marts.tier_transition_daily set customer_count = customer_count + 1"
        " where run_id = %s and to_state = 'absent'",
    "tier_changes_match_scores": "delete from marts.fct_tier_change where run_id = %s and to_state = 'left'",
    "risk_distribution_adds_up":
        "update marts.risk_distribution_daily set expected_revenue_loss_amount = 0.01"
        " where run_id = %s and bucket_number = 1",
    "previous_nights_still_stand":
        "delete from marts.fct_churn_score where run_id = (select base_run_id from ops.run_bases"
        " where run_id = %s and base_role = 'days_28')",
}  # fmt: skip


def test_every_identity_can_fail(
    copied: tuple[Settings, list[Run]], capsys: pytest.CaptureFixture[str]
) -> None:
    settings, runs = copied
    with connect(settings, Role.TRANSFORMER) as transformer:
        for fault in FAULTS.values():
            assert transformer.execute(fault, [runs[2].run_id]).rowcount > 0
    with pytest.raises(TransformationError):
        run_dbt(settings, ["test", "--select", *FAULTS], runs[2].run_id)
    output = capsys.readouterr().out
    assert [name for name in FAULTS if f"Failure in test {name}" not in output] == []
