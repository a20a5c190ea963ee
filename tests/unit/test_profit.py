"""What treating customers earns: by hand, and EMPC against an independent implementation."""

from dataclasses import replace

import numpy as np
import pytest
from empulse.metrics import empc_score

from churn_ml.training.profit import (
    DecisionParameters,
    acted_on,
    expected_maximum_profit,
    treatment_profits,
)
from churn_ml.training.ranking import RankedRows

TELCO = DecisionParameters(
    tier_medium_from=0.40,
    tier_high_from=0.70,
    value_horizon_months=12,
    margin_share=0.60,
    contact_cost_amount=2.0,
    offer_cost_amount=40.0,
    acceptance_share=0.30,
    currency="USD",
)
WITHOUT_MONEY = DecisionParameters(tier_medium_from=0.40, tier_high_from=0.70)


def empc(churned: np.ndarray, scores: np.ndarray) -> float:
    ranking = RankedRows(churned, scores).counted()
    return expected_maximum_profit(ranking.churned, ranking.stayed)


def test_a_contact_earns_by_hand_what_neslin_says() -> None:
    profits = treatment_profits(np.array([100.0]), TELCO)
    assert profits is not None
    # 100 a month over 12 months at a margin of 0.6 is 720; 0.3 of the leavers stay for an offer of 40.
    assert profits.if_churning[0] == pytest.approx(0.3 * (720 - 40) - 2)
    assert profits.if_staying[0] == pytest.approx(-42)
    assert profits.expected(np.array([0.5]))[0] == pytest.approx(0.5 * 202 - 0.5 * 42)


def test_whoever_is_expected_to_earn_is_acted_on_and_nobody_else() -> None:
    even = 42 / (202 + 42)
    acted = acted_on(np.array([even - 0.01, even + 0.01, 0.99]), np.array([100.0, 100.0, np.nan]), TELCO)
    assert acted is not None
    assert acted.tolist() == [False, True, False]


def test_a_customer_worth_less_than_the_offer_is_never_acted_on() -> None:
    acted = acted_on(np.array([1.0]), np.array([1.0]), TELCO)
    assert acted is not None
    assert not acted[0]


@pytest.mark.parametrize(
    ("decision", "values"), [(WITHOUT_MONEY, [100.0] * 3), (TELCO, [np.nan] * 3),
                             (replace(TELCO, offer_cost_amount=None), [100.0] * 3)]
)  # fmt: skip
def test_without_money_the_high_tier_is_acted_on(decision: DecisionParameters, values: list[float]) -> None:
    acted = acted_on(np.array([0.69, 0.70, 0.9]), np.array(values), decision)
    assert acted is not None
    assert acted.tolist() == [False, True, True]
    assert treatment_profits(np.array(values), decision) is None


def test_without_parameters_nothing_is_decided() -> None:
    assert acted_on(np.array([0.9]), np.array([100.0]), None) is None
    assert treatment_profits(np.array([100.0]), None) is None


def test_realised_profit_counts_the_treated_and_leaves_out_the_unvalued() -> None:
    profits = treatment_profits(np.array([100.0, 100.0, 100.0, np.nan]), TELCO)
    assert profits is not None
    realised = profits.realised(np.array([True, False, True, True]), np.array([True, True, False, True]))
    np.testing.assert_allclose(realised, [202.0, -42.0, 0.0, np.nan])


@pytest.mark.parametrize("seed", range(12))
def test_empc_is_that_of_an_independent_implementation(seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(20, 3000))
    probabilities = generator.beta(1, generator.uniform(1, 20), count)
    if seed % 2:
        probabilities = probabilities.round(2)
    churned = generator.random(count) < probabilities
    churned[:2] = True, False
    assert empc(churned, probabilities) == pytest.approx(
        empc_score(churned.astype(int), probabilities), abs=1e-12
    )


def test_empc_of_a_perfect_ranking_in_closed_form() -> None:
    # All who leave are treated and nobody else: CLV x pi0 x E[(g (1 - D) - F)+].
    churned = np.arange(100) < 30
    least = 0.005 / 0.95
    shares = np.random.default_rng(1).beta(6, 14, 2_000_000)
    gain = np.clip(shares - least, 0, None).mean() * 0.95
    assert empc(churned, churned.astype(float)) == pytest.approx(200 * 0.3 * gain, rel=1e-3)


def test_empc_does_not_change_with_the_scale_of_scores_or_weights() -> None:
    generator = np.random.default_rng(3)
    scores = generator.random(500)
    churned = generator.random(500) < scores
    assert empc(churned, scores) == pytest.approx(empc(churned, scores**3), abs=1e-12)
    doubled = RankedRows(churned, scores).counted(np.full(500, 2.0))
    assert expected_maximum_profit(doubled.churned, doubled.stayed) == pytest.approx(
        empc(churned, scores), abs=1e-12
    )
