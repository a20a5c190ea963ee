"""Whom to call first: expected profit, the greedy choice, the arms, the queue, and what a campaign did.

One business for the module: three nights of the same customers with hand-made scores. On the first one
the capacity binds, on the second one the budget, and on the third the first night's cooldown is over.
"""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clones import clone_warehouse, drop_warehouse
from nightly import cut_off_of
from scipy.stats import binom, binomtest
from telco_nights import BEFORE_FEATURES, build, customer, deliver, publish, rows, score

from churn_ml.errors import PublishingError, TransformationError
from churn_ml.publishing.assignments import COLUMNS, write_assignments
from churn_ml.services.dbt import run_dbt
from churn_ml.settings import Settings
from churn_ml.simulation import treatments
from churn_ml.training.profit import DecisionParameters, treatment_profits
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_repetition, open_run

FIRST = date(2026, 7, 1)
DAYS = (FIRST, FIRST + timedelta(days=1), FIRST + timedelta(days=90))
CAMPAIGN, SEED, SHARE = "summer", 11, Decimal("0.3")
TELCO = DecisionParameters(0.40, 0.70, 12, 0.60, 2.0, 40.0, 0.30, "USD")
UNVALUED = ("c001", "c002")
CHARGES = ("20", "35.5", "50", "75.25", "99.95", "110")
draw = np.random.default_rng(5)
PEOPLE = {f"c{number:03d}": str(draw.choice(CHARGES)) for number in range(120)}
# Of c003 and c004, everything but the name is the same.
PEOPLE["c003"] = PEOPLE["c004"] = "110"
PROBABILITIES = {name: int(draw.integers(20, 990)) / 1000 for name in PEOPLE}
PROBABILITIES["c003"] = PROBABILITIES["c004"] = 0.95
PROBABILITIES["c001"], PROBABILITIES["c002"] = 0.9, 0.3


@dataclass
class Nights:
    settings: Settings
    runs: list[Run] = field(default_factory=list)
    limits: list[tuple[Decimal, int]] = field(default_factory=list)


def is_held_out(customer_id: str) -> bool:
    drawn = hashlib.sha256(f"{CAMPAIGN}:{SEED}:{customer_id}".encode()).hexdigest()[:8]
    return int(drawn, 16) < SHARE * 2**32


def cost_of(customer_id: str) -> Decimal:
    p = Decimal(str(PROBABILITIES[customer_id]))
    exact = 2 + 40 * (1 - p * Decimal("0.7"))
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def profit_of(customer_id: str) -> float:
    profits = treatment_profits(np.array([float(PEOPLE[customer_id])]), TELCO)
    assert profits is not None
    return float(profits.expected(np.array([PROBABILITIES[customer_id]]))[0])


def ranking() -> list[str]:
    def order(name: str) -> tuple[float, float, str]:
        return -round(profit_of(name), 2), -PROBABILITIES[name] * float(PEOPLE[name]) * 12, name

    return [*sorted(set(PEOPLE) - set(UNVALUED), key=order), *UNVALUED]


def choose(limits: tuple[Decimal, int], resting: set[str]) -> dict[str, bool]:
    """Whom the greedy choice takes, each with whether they are held out, one after the other."""
    budget, capacity = limits
    chosen: dict[str, bool] = {}
    for name in ranking():
        if name in UNVALUED or round(profit_of(name), 2) <= 0:
            break
        if name in resting:
            continue
        if not is_held_out(name):
            budget, capacity = budget - cost_of(name), capacity - 1
            if budget < 0 or capacity < 0:
                break
        chosen[name] = is_held_out(name)
    return chosen


def set_campaign(settings: Settings, budget: Decimal, capacity: int, **others: object) -> None:
    values = {"campaign_id": CAMPAIGN, "assignment_seed": SEED, "holdout_share": SHARE, "cooldown_days": 90,
              "budget_amount": budget, "capacity_count": capacity, "least_arm_count": 1,
              "least_left_count": 1} | others  # fmt: skip
    assignments = ", ".join(f"{name} = %s" for name in values)
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute(f"update features.campaign_parameters set {assignments}", list(values.values()))


def score_and_choose_bases(settings: Settings, run: Run) -> None:
    score(settings, run, PROBABILITIES)
    with connect(settings, Role.SCORER) as scorer:
        scorer.execute("select ops.choose_bases(%s)", [run.run_id])


def build_layers(nights: Nights, run: Run, *layers: str) -> None:
    if nights.runs:
        paths = [f"path:models/{layer}" for layer in layers]
        run_dbt(nights.settings, ["run", "--select", *paths, "--quiet"], run.run_id)
    else:
        build(nights.settings, run, *layers, tested=True)


def make_night(nights: Nights, day: date, budget: Decimal, capacity: int) -> None:
    """Let a night choose and publish; the first one with dbt's tests, the others models only."""
    run = open_run(nights.settings, "night", cut_off_of(day))
    build_layers(nights, run, *BEFORE_FEATURES)
    with connect(nights.settings, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "update features.customer_values set monthly_value_amount = null, value_status = 'missing'"
            " where customer_id = any(%s)",
            [list(UNVALUED)],
        )
    set_campaign(nights.settings, budget, capacity)
    score_and_choose_bases(nights.settings, run)
    build_layers(nights, run, "marts")
    publish(nights.settings, run)
    nights.runs.append(run)
    nights.limits.append((budget, capacity))


@pytest.fixture(scope="module")
def nights(server: Settings) -> Iterator[Nights]:
    nights = Nights(clone_warehouse(server))
    people = [customer(name, monthly_charges=charges) for name, charges in PEOPLE.items()]
    for day in DAYS:
        deliver(nights.settings, *people, as_of_date=day, known_at=cut_off_of(day))
    make_night(nights, DAYS[0], Decimal(100_000), 30)
    # To the cent what the first eight of those who do not rest would cost.
    treated = [name for name, held_out in choose((Decimal(100_000), 99), assigned(nights, 0)).items()
               if not held_out]  # fmt: skip
    make_night(nights, DAYS[1], sum(map(cost_of, treated[:8]), Decimal(0)), 99)
    make_night(nights, DAYS[2], Decimal(100_000), 99)
    yield nights
    drop_warehouse(nights.settings)


def read(nights: Nights, night: int, columns: str, mart: str, order: str = "1") -> list[tuple[Any, ...]]:
    statement = f"select {columns} from marts.{mart} where run_id = %s order by {order}"
    return rows(nights.settings, statement, [nights.runs[night].run_id])


def arms(nights: Nights, night: int) -> dict[str, bool]:
    found = read(nights, night, "customer_id, is_held_out", "fct_treatment_assignment", "priority_rank")
    return dict(found)  # type: ignore[arg-type]


def assigned(nights: Nights, night: int) -> set[str]:
    return set(arms(nights, night))


def test_profit_is_that_of_the_training_to_the_cent(nights: Nights) -> None:
    found = dict(read(nights, 0, "customer_id, expected_profit_amount", "customer_churn_current"))
    assert {name for name, profit in found.items() if profit is None} == set(UNVALUED)
    assert any(profit < 0 for profit in found.values() if profit is not None)
    for name in set(PEOPLE) - set(UNVALUED):
        assert abs(float(found[name]) - profit_of(name)) <= 0.005 + 1e-9, name


def test_cost_and_profit_add_up_to_what_acceptance_brings(nights: Nights) -> None:
    found = read(nights, 2, "customer_id, expected_profit_amount, cost_amount, is_held_out",
                 "fct_treatment_assignment")  # fmt: skip
    for name, profit, cost, held_out in found:
        gain = PROBABILITIES[name] * 0.30 * float(PEOPLE[name]) * 12 * 0.60
        assert abs(float(profit) + float(cost_of(name)) - gain) <= 0.01 + 1e-9
        assert cost == (0 if held_out else cost_of(name))


def test_rank_is_by_profit_then_loss_then_name_and_unvalued_customers_are_last(nights: Nights) -> None:
    found = read(nights, 0, "customer_id, priority_score, value_status", "customer_churn_current",
                 "priority_rank")  # fmt: skip
    assert [name for name, _, _ in found] == ranking()
    assert [(score, status) for _, score, status in found[-2:]] == [(None, "missing")] * 2
    scores = {name: score for name, score, _ in found}
    assert scores["c003"] == scores["c004"]
    assert found[0][1] == 100
    assert ranking().index("c004") == ranking().index("c003") + 1


def test_score_is_the_share_of_customers_whose_profit_is_no_higher(nights: Nights) -> None:
    found = read(nights, 0, "expected_profit_amount, priority_score", "customer_churn_current")
    profits = [profit for profit, _ in found if profit is not None]
    for profit, priority_score in found:
        if profit is not None:
            share = Decimal(100 * sum(other <= profit for other in profits)) / len(profits)
            assert priority_score == share.quantize(Decimal("0.01"), ROUND_HALF_UP)


@pytest.mark.parametrize("night", [0, 1, 2])
def test_choice_is_the_greedy_one(nights: Nights, night: int) -> None:
    resting = {0: set(), 1: assigned(nights, 0), 2: assigned(nights, 1)}[night]
    expected = choose(nights.limits[night], resting)
    assert list(arms(nights, night).items()) == list(expected.items())
    treated = [name for name, held_out in expected.items() if not held_out]
    assert len(treated) == {0: 30, 1: 8}.get(night, len(treated))
    assert 0 < len(treated) < len(expected)


def test_budget_is_used_to_the_cent_and_one_cent_less_treats_one_less(nights: Nights) -> None:
    budget, capacity = nights.limits[1]
    [(used,)] = read(nights, 1, "sum(cost_amount)", "fct_treatment_assignment")
    assert used == budget
    less = choose((budget - Decimal("0.01"), capacity), assigned(nights, 0))
    assert list(less.values()).count(False) == 7


def test_nobody_is_assigned_within_the_cooldown_in_either_arm(nights: Nights) -> None:
    first, second, third = (assigned(nights, night) for night in range(3))
    assert not first & second
    assert not second & third
    assert {name for name in first if arms(nights, 0)[name]} & third
    assert {name for name in first if not arms(nights, 0)[name]} & third
    until = {row for (row,) in read(nights, 0, "cooldown_until_date", "fct_treatment_assignment")}
    assert until == {DAYS[2]}


def test_arms_stay_the_same_and_have_the_declared_share(nights: Nights) -> None:
    for night in range(3):
        assert all(held_out == is_held_out(name) for name, held_out in arms(nights, night).items())
    held_out = sum(is_held_out(f"someone {number}") for number in range(20_000))
    assert binom.ppf(0.0005, 20_000, 0.3) <= held_out <= binom.ppf(0.9995, 20_000, 0.3)


@pytest.mark.parametrize("night", [0, 1, 2])
def test_queue_shows_whom_to_treat_then_who_would_follow_and_nobody_held_out(
    nights: Nights, night: int
) -> None:
    found = read(nights, night, "queue_position, customer_id, is_within_budget, queue_status, treatment",
                 "retention_queue")  # fmt: skip
    resting = {0: set(), 1: assigned(nights, 0), 2: assigned(nights, 1)}[night]
    treated = [name for name, held_out in arms(nights, night).items() if not held_out]
    listed = [name for name in ranking() if name not in resting and not is_held_out(name)]
    others = [name for name in listed if name not in treated and name not in UNVALUED
              and round(profit_of(name), 2) > 0]  # fmt: skip
    # c001 is at high risk and c002 is not; of neither is the profit known.
    unknown = [name for name in ("c001",) if name in listed]
    assert [name for _, name, *_ in found] == treated + others + unknown
    assert [position for position, *_ in found] == list(range(1, len(found) + 1))
    assert [row[2:] for row in found] == (
        [(True, "to_treat", "discount")] * len(treated)
        + [(False, "beyond_budget", None)] * len(others)
        + [(False, "profit_not_known", None)] * len(unknown)
    )


def test_reader_sees_the_newest_queue_only_and_every_assignment(nights: Nights) -> None:
    runs = [run.run_id for run in nights.runs]
    for mart, expected in (("retention_queue", runs[2:]), ("fct_treatment_assignment", runs)):
        found = rows(nights.settings, f"select distinct run_id from marts.{mart}", role=Role.READER)
        assert {run_id for (run_id,) in found} == set(expected)


def everything(settings: Settings, mart: str, run_id: str) -> list[tuple[Any, ...]]:
    left_out = "'run_id', 'scoring_run_key', 'known_as_of', 'scored_at', 'scored_date'"
    return rows(
        settings,
        f"select (to_jsonb(mart) - array[{left_out}])::text from marts.{mart} as mart"
        " where run_id = %s order by 1",
        [run_id],
    )


def test_what_went_out_stays_in_every_repetition_and_no_campaign_assigns_nobody(
    nights: Nights,
) -> None:
    settings, original = nights.settings, nights.runs[1].run_id
    run = open_repetition(settings, "reproduce", DAYS[1])
    set_campaign(settings, *nights.limits[1])
    score_and_choose_bases(settings, run)
    build_layers(nights, run, "marts")
    for mart in ("fct_treatment_assignment", "retention_queue", "campaign_uplift"):
        assert everything(settings, mart, run.run_id) == everything(settings, mart, original) != []
    set_campaign(settings, Decimal(100_000), 1)
    for run_kind in ("restate", "night"):
        call_it(settings, run, run_kind)
        run_dbt(settings, ["run", "--select", "fct_treatment_assignment", "--quiet"], run.run_id)
        kept = everything(settings, "fct_treatment_assignment", run.run_id)
        assert kept == everything(settings, "fct_treatment_assignment", original)
    began_before_it_went_out(settings, run)
    set_campaign(settings, *nights.limits[1], valid_to=date(2016, 1, 1))
    run_dbt(
        settings, ["run", "--select", "fct_treatment_assignment", "retention_queue", "--quiet"], run.run_id
    )
    set_campaign(settings, *nights.limits[1], valid_to=None)
    assert everything(settings, "fct_treatment_assignment", run.run_id) == []
    queue = rows(settings, "select customer_id, queue_status from marts.retention_queue where run_id = %s",
                 [run.run_id])  # fmt: skip
    assert {status for _, status in queue} <= {"no_campaign", "profit_not_known"}
    assert not {name for name, _ in queue} & assigned(nights, 0)
    assert {name for name, _ in queue if is_held_out(str(name))}


def began_before_it_went_out(settings: Settings, run: Run) -> None:
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "update ops.pipeline_runs set started_at = '2015-01-01' where run_id = %s", [run.run_id]
        )


def call_it(settings: Settings, run: Run, run_kind: str) -> None:
    with connect(settings, Role.OWNER) as owner:
        owner.execute("update ops.pipeline_runs set run_kind = %s where run_id = %s", [run_kind, run.run_id])


@pytest.mark.parametrize(
    ("change", "message", "mend"),
    [
        ("insert into staging.campaign_parameters select (jsonb_populate_record(parameters,"
         " jsonb_build_object('valid_from', '2016-01-01'))).* from staging.campaign_parameters as parameters",
         "at most one campaign for dataset telco and label definition telco_30d valid on 2026-09-29, found 2",
         "delete from staging.campaign_parameters where valid_from > '2015-01-01'"),
        ("update staging.campaign_parameters set currency = 'EUR'",
         "Expected the campaign of 2026-09-29 to have its budget in USD",
         "update staging.campaign_parameters set currency = 'USD'"),
    ],
)  # fmt: skip
def test_two_campaigns_on_a_day_and_a_budget_in_another_currency_are_refused(
    nights: Nights, capsys: pytest.CaptureFixture[str], change: str, message: str, mend: str
) -> None:
    with connect(nights.settings, Role.TRANSFORMER) as transformer:
        transformer.execute(change)
    try:
        with pytest.raises(TransformationError):
            run_dbt(nights.settings, ["run", "--select", "dated_campaign_parameters", "--quiet"],
                    nights.runs[2].run_id)  # fmt: skip
    finally:
        with connect(nights.settings, Role.TRANSFORMER) as transformer:
            transformer.execute(mend)
    assert message in capsys.readouterr().out


def test_export_holds_both_arms_of_a_published_night(nights: Nights, tmp_path: Path) -> None:
    path = tmp_path / "assignments.csv"
    written = write_assignments(nights.settings, DAYS[0], path)
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert {row["customer_id"]: row["is_held_out"] == "true" for row in found} == arms(nights, 0)
    assert (written.treated_count, written.held_out_count) == (30, len(found) - 30)
    assert {(row["treatment"], row["assigned_at"], row["campaign_id"]) for row in found} == {
        ("discount", "2026-07-02T02:00:00Z", CAMPAIGN)
    }
    assert list(COLUMNS) == treatments.COLUMNS
    with pytest.raises(PublishingError, match=r"night of 2026-07-03, found none\. Published: 3"):
        write_assignments(nights.settings, date(2026, 7, 3), path)
    assert [file.name for file in tmp_path.iterdir()] == ["assignments.csv"]


def newcombe(first: tuple[int, int], second: tuple[int, int], level: float) -> tuple[float, float]:
    """Method 10 of Newcombe 1998, from scipy's Wilson intervals; (count, of count) each."""
    shares = [left / known for left, known in (first, second)]
    limits = [binomtest(left, known).proportion_ci(level, "wilson") for left, known in (first, second)]
    difference = shares[0] - shares[1]
    below = sqrt((shares[0] - limits[0].low) ** 2 + (limits[1].high - shares[1]) ** 2)
    above = sqrt((limits[0].high - shares[0]) ** 2 + (shares[1] - limits[1].low) ** 2)
    return difference - below, difference + above


def test_reference_gives_the_interval_that_newcombe_printed() -> None:
    assert newcombe((56, 70), (48, 80), 0.95) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe((9, 10), (3, 10), 0.95) == pytest.approx((0.1705, 0.8090), abs=5e-5)


def state_outcomes(nights: Nights, statuses: dict[str, str]) -> None:
    """Let the third night state what became of the first one's customers."""
    stating, scored = nights.runs[2].run_id, nights.runs[0].run_id
    with connect(nights.settings, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.run_bases (run_id, base_role, base_as_of_date, base_run_id)"
            " values (%s, 'matured', %s, %s) on conflict do nothing",
            [stating, DAYS[0], scored],
        )
    with connect(nights.settings, Role.TRANSFORMER) as transformer:
        transformer.execute("delete from marts.fct_score_outcome where run_id = %s", [stating])
        transformer.execute(
            "insert into marts.fct_score_outcome select (jsonb_populate_record(null::marts.fct_score_outcome,"
            " to_jsonb(scores) || jsonb_build_object('run_id', stating.run_id,"
            "  'scoring_run_key', stating.scoring_run_key, 'scored_run_id', scores.run_id,"
            "  'scored_run_key', scores.scoring_run_key, 'scored_as_of_date', scores.as_of_date,"
            "  'scored_as_of_date_key', scores.as_of_date_key, 'treatment_status', 'none',"
            "  'outcome_status', outcomes.outcome_status, 'outcome_status_sort', 1))).*"
            " from marts.fct_churn_score as scores"
            " join unnest(%s::text[], %s::text[]) as outcomes (customer_id, outcome_status)"
            " using (customer_id)"
            " join marts.dim_scoring_run as stating on stating.run_id = %s where scores.run_id = %s",
            [list(statuses), list(statuses.values()), stating, scored],
        )


def build_uplift(nights: Nights, **limits: int) -> dict[str, Any]:
    """Build the third night's uplift again, whose publication is put aside for it."""
    settings, run_id = nights.settings, nights.runs[2].run_id
    set_campaign(settings, *nights.limits[2], **limits)
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("delete from marts.campaign_uplift where run_id = %s", [run_id])
    copy = open_run(settings, "night", cut_off_of(DAYS[2]))
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.run_bases (run_id, base_role, base_as_of_date, base_run_id)"
            " values (%s, 'previous', %s, %s)",
            [copy.run_id, DAYS[2], run_id],
        )
    run_dbt(settings, ["run", "--select", "dim_scoring_run", "campaign_uplift", "--quiet"], copy.run_id)
    [(row,)] = rows(settings, "select to_jsonb(uplift) from marts.campaign_uplift as uplift"
                    " where run_id = %s", [copy.run_id])  # fmt: skip
    assert isinstance(row, dict)
    return row


def test_uplift_is_too_small_before_any_outcome_is_known(nights: Nights) -> None:
    [found] = read(nights, 1, "verdict, treated_count, held_out_count, uplift_pts, cost_amount, currency",
                   "campaign_uplift")  # fmt: skip
    assert found == ("too_small", 0, 0, None, Decimal("0.00"), "USD")


def test_uplift_compares_the_arms_as_newcombe_does(nights: Nights) -> None:
    treated = [name for name, held_out in arms(nights, 0).items() if not held_out]
    held_out = [name for name, held in arms(nights, 0).items() if held]
    gone = dict.fromkeys(treated[:2], "churned") | dict.fromkeys(held_out[:5], "churned")
    gone |= {treated[2]: "churned_in_gap", held_out[5]: "churned_in_gap"}
    unknown = {treated[3]: "censored", held_out[6]: "not_labelled"}
    state_outcomes(nights, dict.fromkeys(PEOPLE, "retained") | gone | unknown)
    known = len(treated) - 1, len(held_out) - 1
    row = build_uplift(nights, least_arm_count=known[1], least_left_count=9)
    low, high = newcombe((6, known[1]), (3, known[0]), 0.9)
    assert (row["treated_count"], row["held_out_count"]) == (len(treated), len(held_out))
    assert (row["treated_unknown_count"], row["held_out_unknown_count"]) == (1, 1)
    assert (row["treated_left_count"], row["held_out_left_count"]) == (3, 6)
    assert row["uplift_pts"] == pytest.approx(100 * (6 / known[1] - 3 / known[0]), abs=1e-4)
    assert row["uplift_pts_low"] == pytest.approx(100 * low, abs=1e-4)
    assert row["uplift_pts_high"] == pytest.approx(100 * high, abs=1e-4)
    assert row["saved_customer_count_low"] == pytest.approx(known[0] * low, abs=0.005)
    assert row["verdict"] == ("works" if low > 0 else "no_effect_seen")
    assert row["cost_amount"] == pytest.approx(float(sum(map(cost_of, treated))))
    value = {name: float(PEOPLE[name]) * 12 for name in PEOPLE}
    lost = [[value[name] * (name in gone) for name in arm if name not in unknown]
            for arm in (held_out, treated)]  # fmt: skip
    saved = np.mean(lost[0]) - np.mean(lost[1])
    error = sqrt(sum(np.var(arm, ddof=1) / len(arm) for arm in lost))
    assert row["saved_revenue_amount"] == pytest.approx(known[0] * saved, abs=0.01)
    assert row["saved_revenue_amount_high"] == pytest.approx(
        known[0] * (saved + 1.6448536269514722 * error), abs=0.01
    )
    for limits in ({"least_arm_count": known[1] + 1}, {"least_left_count": 10}):
        row = build_uplift(nights, **limits)
        assert (row["verdict"], row["saved_customer_count"], row["saved_revenue_amount"]) == (
            "too_small", None, None,
        )  # fmt: skip
        assert row["uplift_pts_low"] == pytest.approx(100 * low, abs=1e-4)
