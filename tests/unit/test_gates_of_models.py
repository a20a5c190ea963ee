"""Every gate of a model can pass and can fail; those against leakage are in test_leakage."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from churn_ml.errors import TrainingError
from churn_ml.features.contract import Kind
from churn_ml.models.registration import GateResult
from churn_ml.training.gates import (
    GATES,
    calibration_gate,
    champion_gates,
    fairness_gates,
    golden_rows_gate,
    is_blocking,
    log_loss_gate,
    profit_gate,
    segment_gates,
    stability_gates,
    too_little_data_gates,
)
from churn_ml.training.leakage import leakage_column_gates, leakage_shuffled_gate
from churn_ml.training.panel import _groups
from churn_ml.training.profit import DecisionParameters

DECISION = DecisionParameters(0.40, 0.70, 12, 0.60, 2.0, 40.0, 0.30, "USD")
COUNT = 4000
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Return outcomes, the probabilities they came from and monthly values."""
    generator = np.random.default_rng(11)
    probabilities = expit(generator.normal(-1.2, 1.2, COUNT))
    return generator.random(COUNT) < probabilities, probabilities, generator.gamma(4, 16, COUNT)


def noisy(probabilities: np.ndarray, deviation: float, seed: int = 1) -> np.ndarray:
    return expit(logit(probabilities) + np.random.default_rng(seed).normal(0, deviation, len(probabilities)))


def by_name(results: list[GateResult]) -> dict[str, GateResult]:
    named = {f"{result.gate} {result.subject}".strip(): result for result in results}
    assert len(named) == len(results)
    return named


def verdicts(results: list[GateResult]) -> dict[str, str]:
    return {name: result.verdict for name, result in by_name(results).items()}


def test_too_little_data_is_told_with_the_numbers() -> None:
    least = {"least_rows": 300, "least_of_each_outcome": 50}
    enough = too_little_data_gates(row_count=300, churned_count=50, date_count=6, least_dates=6, **least)
    assert {gate.verdict for gate in enough} == {"pass"}
    results = by_name(
        too_little_data_gates(row_count=299, churned_count=49, date_count=5, least_dates=6, **least)
    )
    assert {name: gate.verdict for name, gate in results.items()} == {
        "too_little_data rows": "fail",
        "too_little_data churned": "fail",
        "too_little_data stayed": "pass",
        "too_little_data as_of_dates": "fail",
    }
    assert results["too_little_data rows"].detail == "299 of at least 300"
    few_stay = too_little_data_gates(row_count=400, churned_count=360, **least)
    assert verdicts(few_stay)["too_little_data stayed"] == "fail"


def test_calibration_overall(rows: Rows) -> None:
    churned, p, _ = rows
    good = calibration_gate(churned, p)
    assert good.verdict == "pass"
    assert (good.threshold_low, good.threshold_high) == (0.9, 1.1)
    assert good.interval_low < good.observed < good.interval_high
    for shift in (-0.3, 0.3):
        assert calibration_gate(churned, expit(logit(p) + shift)).verdict == "fail"


def test_class_weights_would_not_pass_the_calibration_gate() -> None:
    churned = np.arange(1000) < 265
    assert calibration_gate(churned, np.full(1000, 0.265)).verdict == "pass"
    assert calibration_gate(churned, np.full(1000, 0.41)).verdict == "fail"


def test_calibration_overall_is_widened_by_chance_where_asked() -> None:
    churned, p = np.arange(2000) < 57, np.full(2000, 0.025)
    assert calibration_gate(churned, p).verdict == "fail"
    widened = calibration_gate(churned, p, standard_errors=2)
    assert widened.verdict == "pass"
    assert widened.threshold_high == pytest.approx(1.1 + 2 * np.sqrt(2000 * 0.025 * 0.975) / 50, abs=1e-4)


def test_calibration_by_segment_finds_what_the_whole_hides(rows: Rows) -> None:
    churned, p, _ = rows
    is_fiber = np.arange(COUNT) % 2 == 0
    segments = {"segment": np.where(is_fiber, "fiber_optic", "dsl")}
    assert set(verdicts(segment_gates(churned, p, segments)).values()) == {"pass"}
    swapped = expit(logit(p) + np.where(is_fiber, 0.6, -0.6))
    assert calibration_gate(churned, swapped).verdict == "pass"
    assert verdicts(segment_gates(churned, swapped, segments)) == {
        "calibration_segment segment=dsl": "fail",
        "calibration_segment segment=fiber_optic": "fail",
    }


def test_a_small_segment_is_told_as_not_applicable_with_its_numbers(rows: Rows) -> None:
    churned, p, _ = rows
    labels = np.full(COUNT, "large", object)
    labels[:50], labels[50:60] = "small", None
    results = by_name(segment_gates(churned, p, {"region": labels}))
    assert results["calibration_segment region=large"].verdict == "pass"
    small = results["calibration_segment region=small"]
    assert small.verdict == "not_applicable"
    assert "expected of 50 rows; too few" in str(small.detail)
    assert results["calibration_segment region=not known"].verdict == "not_applicable"
    assert segment_gates(churned, p, {})[0].verdict == "not_applicable"


def test_numbers_of_many_values_are_cut_at_quartiles(rows: Rows) -> None:
    churned, p, _ = rows
    ages = np.arange(COUNT).astype(object) % 60 + 18
    subjects = [gate.subject for gate in segment_gates(churned, p, {"age": ages})]
    assert subjects == ["age=18 to 32", "age=32 to 47", "age=47 to 62", "age=62 to 77"]


def test_quarters_of_large_numbers_that_lie_close_have_names_of_their_own(rows: Rows) -> None:
    churned, p, _ = rows
    amounts = 1_000_000 + np.arange(COUNT) / 1000
    assert len(by_name(segment_gates(churned, p, {"amount": amounts}))) == 4
    assert _groups(pd.Series(amounts), Kind.NUMERIC).nunique() == 4


def test_log_loss_has_to_be_below_that_of_the_constant_rate(rows: Rows) -> None:
    churned, p, _ = rows
    base = np.full(COUNT, churned.mean())
    good = log_loss_gate(churned, p, base)
    assert good.verdict == "pass"
    assert good.interval_high < 0
    assert log_loss_gate(churned, base, base).verdict == "fail"
    assert log_loss_gate(churned, noisy(base, 0.02), base).verdict == "fail"
    assert log_loss_gate(churned, p[::-1].copy(), base).verdict == "fail"


def test_a_gain_that_chance_explains_is_no_gain(rows: Rows) -> None:
    churned, base = rows[0][:60], np.full(60, rows[0][:60].mean())
    guesses = [log_loss_gate(churned, noisy(base, 0.1, seed), base) for seed in range(20)]
    lucky = [gate for gate in guesses if gate.observed < 0 < gate.interval_high]
    assert lucky
    assert {gate.verdict for gate in lucky} == {"fail"}


def test_the_champion_is_not_to_be_beaten_but_not_to_be_lost_to(rows: Rows) -> None:
    churned, p, values = rows
    worse = noisy(p, 1.5)
    equal = champion_gates(churned, p, p, values, DECISION)
    better = champion_gates(churned, p, worse, values, DECISION)
    names = ["log_loss_against_champion", "roc_auc_against_champion", "profit_against_champion"]
    assert [gate.gate for gate in equal] == names
    assert [gate.verdict for gate in [*equal, *better]] == ["pass"] * 6
    lost = champion_gates(churned, worse, p, values, DECISION)
    assert [gate.verdict for gate in lost] == ["fail"] * 3
    assert lost[0].interval_low > 0 > lost[1].interval_high
    assert lost[2].interval_high < 0


def test_a_difference_from_the_champion_that_chance_explains_passes(rows: Rows) -> None:
    churned, p, values = (column[:400] for column in rows)
    unlucky: dict[str, list[GateResult]] = {}
    for seed in range(8):
        for gate in champion_gates(churned, noisy(p, 0.2, seed), p, values, DECISION, seed=seed):
            worse = gate.observed > 0 if gate.gate == "log_loss_against_champion" else gate.observed < 0
            if worse and gate.interval_low < 0 < gate.interval_high:
                unlucky.setdefault(gate.gate, []).append(gate)
    assert len(unlucky) == 3
    assert {gate.verdict for gates in unlucky.values() for gate in gates} == {"pass"}


def test_rows_of_one_customer_do_not_make_a_difference_significant() -> None:
    generator = np.random.default_rng(3)
    customers = np.repeat(np.arange(60), 40)
    churned = generator.random(2400) < np.repeat(generator.beta(0.5, 1, 60), 40)
    champion = np.full(2400, 0.3)
    # The challenger says of a customer the same on all their rows, right or wrong.
    model = expit(np.repeat(generator.normal(-0.8, 0.5, 60), 40))
    width = {}
    for name, groups in {"rows": None, "customers": customers}.items():
        loss, auc, _ = champion_gates(churned, model, champion, np.ones(2400), None, groups=groups)
        width[name] = loss.interval_high - loss.interval_low, auc.interval_high - auc.interval_low
    assert width["customers"][0] > 3 * width["rows"][0]
    assert width["customers"][1] > 3 * width["rows"][1]


def test_without_a_champion_or_money_there_is_nothing_to_compare(rows: Rows) -> None:
    churned, p, values = rows
    none = champion_gates(churned, p, None, values, DECISION)
    assert [gate.verdict for gate in none] == ["not_applicable"] * 3
    assert "no champion" in str(none[0].detail)
    assert champion_gates(churned, p, p, values, None)[2].verdict == "not_applicable"
    assert profit_gate(churned, p, values, None).verdict == "not_applicable"
    assert profit_gate(churned, p, np.full(COUNT, np.nan), DECISION).verdict == "not_applicable"


def test_profit_has_to_reach_that_of_treating_nobody_or_everybody(rows: Rows) -> None:
    churned, p, values = rows
    good = profit_gate(churned, p, values, DECISION)
    assert good.verdict == "pass"
    assert good.observed > 0
    # Overstated by half, the model treats customers of little value who do not pay for their offer.
    too_high = profit_gate(churned, np.clip(1.5 * p, 0, 1)[::-1].copy(), values / 3, DECISION)
    assert (too_high.observed < 0, too_high.verdict) == (True, "fail")
    nobody = profit_gate(churned, np.full(COUNT, 1e-6), values / 3, DECISION)
    assert (nobody.observed, nobody.verdict) == (0, "pass")
    # Where everybody is worth treating, a model that finds nobody loses.
    assert profit_gate(churned, np.full(COUNT, 1e-6), values, DECISION).verdict == "fail"
    assert "everybody" in str(good.detail)


def test_profit_is_given_two_standard_errors_where_asked(rows: Rows) -> None:
    churned, p, values = rows
    few = slice(0, 100)
    off = noisy(p[few], 2.0, seed=1)
    strict = profit_gate(churned[few], off, values[few], DECISION)
    loose = profit_gate(churned[few], off, values[few], DECISION, standard_errors=2)
    assert strict.threshold_low == 0
    assert strict.observed == loose.observed
    assert loose.threshold_low == pytest.approx(
        -2 * (loose.interval_high - loose.interval_low) / 3.2897, rel=1e-3
    )


def test_stability_fails_where_one_fold_is_worse(rows: Rows) -> None:
    churned, p, _ = rows
    folds = np.arange(COUNT) % 5
    assert verdicts(stability_gates(churned, p, folds)) == {
        "stability roc_auc": "pass",
        "stability log_loss": "pass",
    }
    broken = np.where(folds == 0, p[::-1], p)
    assert verdicts(stability_gates(churned, broken, folds)) == {
        "stability roc_auc": "fail",
        "stability log_loss": "fail",
    }
    assert [gate.verdict for gate in stability_gates(churned, p, np.zeros(COUNT))] == ["not_applicable"] * 2


def test_a_fold_of_one_churned_customer_does_not_fail_for_that() -> None:
    generator = np.random.default_rng(0)
    folds = np.repeat(np.arange(4), 100)
    churned = np.isin(np.arange(400), [0, 1, 2, 3, 4, 100, 101, 102, 200, 201, 202, 203, 300])
    p = 0.03 + 0.02 * generator.random(400) + 0.1 * churned
    assert verdicts(stability_gates(churned, p, folds)) == {
        "stability roc_auc": "pass",
        "stability log_loss": "pass",
    }


def test_beside_the_champion_one_churned_customer_tells_no_auc() -> None:
    churned = np.arange(100) == 3
    p = np.random.default_rng(0).random(100) / 10
    results = by_name(champion_gates(churned, p + 0.001, p, np.ones(100), None))
    assert results["roc_auc_against_champion"].verdict == "not_applicable"
    assert results["log_loss_against_champion"].verdict == "pass"


def test_stability_allows_seasons_of_the_churn_rate() -> None:
    generator = np.random.default_rng(4)
    folds = np.repeat(np.arange(4), 5000)
    p = expit(generator.normal(-3.5, 1, 20_000) + np.array([-0.4, 0, 0.4, 0.8])[folds])
    churned = generator.random(20_000) < p
    rates = [churned[folds == fold].mean() for fold in range(4)]
    assert max(rates) > 2 * min(rates)
    assert set(verdicts(stability_gates(churned, p, folds)).values()) == {"pass"}


def test_fairness_warns_and_never_blocks(rows: Rows) -> None:
    churned, p, values = rows
    is_senior = np.arange(COUNT) % 2 == 0
    fair = fairness_gates(churned, p, values, DECISION, {"is_senior": is_senior})
    assert set(verdicts(fair).values()) == {"pass"}
    assert {gate.severity for gate in fair} == {"warn"}
    unfair = fairness_gates(
        churned, expit(logit(p) + np.where(is_senior, 0.8, -0.8)), values, DECISION, {"is_senior": is_senior}
    )
    found = by_name(unfair)
    assert found["fairness_calibration is_senior=True"].verdict == "fail"
    assert found["fairness_selection is_senior=False"].verdict == "fail"
    assert found["fairness_selection is_senior=True"].observed == 1
    assert found["fairness_selection is_senior=False"].interval_high < 0.8
    assert not any(is_blocking(gate) for gate in unfair)


def test_fairness_of_selection_needs_a_decision_and_enough_rows(rows: Rows) -> None:
    churned, p, values = rows
    few = np.where(np.arange(COUNT) < 99, "few", "many")
    found = by_name(fairness_gates(churned, p, values, DECISION, {"gender": few}))
    assert found["fairness_selection gender=few"].verdict == "not_applicable"
    undecided = by_name(fairness_gates(churned, p, values, None, {"gender": few}))
    assert undecided["fairness_selection gender"].verdict == "not_applicable"
    nobody = by_name(fairness_gates(churned, np.full(COUNT, 1e-6), values, DECISION, {"gender": few}))
    assert nobody["fairness_selection gender"].verdict == "not_applicable"
    three = np.full(COUNT, 1e-6)
    three[np.argsort(values)[-3:]] = 0.9
    chance = by_name(fairness_gates(churned, three, values, DECISION, {"gender": np.arange(COUNT) % 2}))
    assert chance["fairness_selection gender"].verdict == "not_applicable"
    assert chance["fairness_selection gender"].detail.startswith("3 acted on")


def test_golden_rows_have_to_come_out_alike() -> None:
    expected = np.array([0.1, 0.2, 0.3])
    assert golden_rows_gate(expected, expected + 1e-12).verdict == "pass"
    assert golden_rows_gate(expected, expected + 1e-8).verdict == "fail"
    assert golden_rows_gate(expected, np.array([0.1, np.nan, 0.3])).verdict == "fail"
    with pytest.raises(TrainingError, match=r"found shapes \(2,\) and \(3,\)"):
        golden_rows_gate(expected, expected[:2])


def test_every_gate_is_described_and_has_its_severity(rows: Rows) -> None:
    churned, p, values = rows
    labels = {"segment": np.full(COUNT, "all")}
    results = [
        *too_little_data_gates(row_count=1, churned_count=1, least_rows=1, least_of_each_outcome=0),
        calibration_gate(churned, p),
        *segment_gates(churned, p, labels),
        log_loss_gate(churned, p, np.full(COUNT, 0.3)),
        *champion_gates(churned, p, p, values, DECISION),
        profit_gate(churned, p, values, DECISION),
        *stability_gates(churned, p, np.arange(COUNT) % 3),
        *fairness_gates(churned, p, values, DECISION, labels),
        golden_rows_gate(p, p),
        *leakage_column_gates(pd.DataFrame({"honest": p}), churned),
        leakage_shuffled_gate(lambda _: p, churned, np.arange(COUNT) % 3),
    ]
    assert {gate.gate for gate in results} == set(GATES)
    for gate in results:
        assert gate.severity == GATES[gate.gate].severity
        numbers = (gate.observed, gate.threshold_low, gate.threshold_high, gate.interval_low)
        assert all(number is None or type(number) is float for number in numbers), gate
    for description in GATES.values():
        assert all((description.what, description.threshold, description.source))


def test_true_probabilities_that_act_on_few_pass_although_none_of_them_left() -> None:
    probabilities = np.full(4000, 0.02)
    probabilities[:5] = 0.45
    churned = np.zeros(4000, bool)
    churned[100:180] = True
    values = np.full(4000, 40.0)
    acted_few = profit_gate(churned, probabilities, values, DECISION, standard_errors=2.0)
    assert acted_few.observed is not None
    assert acted_few.observed < 0
    assert acted_few.verdict == "pass"
    probabilities[:900] = 0.45
    assert profit_gate(churned, probabilities, values, DECISION, standard_errors=2.0).verdict == "fail"
