"""The choice among candidates follows their gates, then the money, then the log loss."""

import numpy as np
import pytest
from scipy.special import expit, logit

from churn_ml.errors import TrainingError
from churn_ml.models.registration import GateResult
from churn_ml.training.metrics import row_losses, row_profits
from churn_ml.training.profit import DecisionParameters
from churn_ml.training.selection import CandidateScore, choose

DECISION = DecisionParameters(0.40, 0.70, 12, 0.60, 2.0, 40.0, 0.30, "USD")
COUNT = 4000
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Return outcomes, the probabilities they came from and monthly values."""
    generator = np.random.default_rng(11)
    probabilities = expit(generator.normal(-1.2, 1.2, COUNT))
    return generator.random(COUNT) < probabilities, probabilities, generator.gamma(4, 16, COUNT)


def noisy(probabilities: np.ndarray, deviation: float) -> np.ndarray:
    return expit(logit(probabilities) + np.random.default_rng(1).normal(0, deviation, len(probabilities)))


def candidate(name: str, rows: Rows, p: np.ndarray, *, ratio: float = 1.0) -> CandidateScore:
    churned, _, values = rows
    gates = (GateResult("calibration_overall", ratio, 0.9, 1.1),
             GateResult("fairness_selection", 0.1, 0.8, None, "gender=x", "warn"))  # fmt: skip
    profits = row_profits(churned, p, values, DECISION)
    return CandidateScore(name, gates, row_losses(churned, p), profits)


def test_the_most_profitable_candidate_beats_a_better_log_loss(rows: Rows) -> None:
    _, p, values = rows
    # Blunt where no money is, sharp where it is; and the other way round.
    rich = values > np.median(values)
    profitable = candidate("profitable", rows, np.where(rich, p, noisy(p, 2.0)))
    informed = candidate("informed", rows, np.where(rich, np.clip(p, 1e-6, 0.06), p))
    informed = CandidateScore("informed", informed.gates, profitable.row_losses - 0.01, informed.row_profits)
    assert choose([informed, profitable]) == 1
    without = [CandidateScore(one.family, one.gates, one.row_losses, None) for one in (informed, profitable)]
    assert choose(without) == 0


def test_among_equal_profits_the_lowest_log_loss_wins(rows: Rows) -> None:
    _, p, _ = rows
    candidates = [candidate("noisy", rows, noisy(p, 0.1)), candidate("true", rows, p)]
    assert choose(candidates) == 1
    assert choose(candidates[::-1]) == 0
    assert choose([candidates[1], candidates[1]]) == 0


def test_a_candidate_that_fails_a_blocking_gate_is_not_chosen(rows: Rows) -> None:
    _, p, _ = rows
    candidates = [candidate("overstates", rows, p, ratio=0.65), candidate("noisy", rows, noisy(p, 1.0))]
    assert choose(candidates) == 1


def test_no_candidate_that_passes_is_an_error_with_the_gate_and_its_numbers(rows: Rows) -> None:
    _, p, _ = rows
    with pytest.raises(
        TrainingError, match=r"overstates: calibration_overall 0\.650 \(limits 0\.9 to 1\.1\)"
    ):
        choose([candidate("overstates", rows, p, ratio=0.65)])
