"""Which of several candidates is taken: the most profitable, then the best informed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from churn_ml.errors import TrainingError
from churn_ml.models.registration import GateResult
from churn_ml.training.gate_catalogue import is_blocking
from churn_ml.training.profit import FloatArray
from churn_ml.training.statistics import Groups, mean_interval


@dataclass(frozen=True)
class CandidateScore:
    """What a candidate is chosen by; rows are the same, in the same order, for all candidates.

    `row_losses` is minus the log-probability of what happened (`metrics.row_losses`), `row_profits`
    what the candidate's decision earned (`metrics.row_profits`), None where no profit can be told.
    """

    family: str
    gates: Sequence[GateResult]
    row_losses: FloatArray
    row_profits: FloatArray | None

    @property
    def passed(self) -> bool:
        """Whether no blocking gate failed."""
        return not any(is_blocking(gate) for gate in self.gates)


def choose(candidates: Sequence[CandidateScore], *, groups: Groups = None, seed: int = 0) -> int:
    """Return the position of the candidate that is taken among those that pass their blocking gates.

    The one with the highest profit, and those whose profit is not significantly lower (paired, customers
    resampled, 90 %), compete by the lowest log loss: profit depends on few customers near the limit, log
    loss on all. Without money the lowest log loss wins. Of equals the first one does.

    Parameters
    ----------
    groups : array of shape (n,), optional
        The customer of each row; None where each row is another one.

    Raises
    ------
    TrainingError
        If none passes; the message names what failed.
    """
    passed = [i for i, candidate in enumerate(candidates) if candidate.passed]
    if not passed:
        raise TrainingError(
            f"Expected a candidate that passes its gates, found none: {_failures(candidates)}. The "
            "champion stays. Check the labels of this as-of date."
        )
    return min(
        _most_profitable(candidates, passed, groups, seed),
        key=lambda i: (float(candidates[i].row_losses.mean()), i),
    )


def _most_profitable(
    candidates: Sequence[CandidateScore], passed: Sequence[int], groups: Groups, seed: int
) -> list[int]:
    profits = {i: candidates[i].row_profits for i in passed}
    known = {i: values for i, values in profits.items() if values is not None}
    if len(known) < len(passed):
        return list(passed)
    best = max(known, key=lambda i: float(np.nanmean(known[i])))
    return [i for i in passed if mean_interval(known[best] - known[i], groups=groups, seed=seed)[1] <= 0]


def _failures(candidates: Sequence[CandidateScore]) -> str:
    return "; ".join(
        f"{candidate.family}: {gate.gate}{f' ({gate.subject})' if gate.subject else ''} {gate.observed:.3f} "
        f"(limits {_limit(gate.threshold_low)} to {_limit(gate.threshold_high)})"
        for candidate in candidates
        for gate in candidate.gates
        if is_blocking(gate)
    )


def _limit(limit: float | None) -> str:
    return "none" if limit is None else f"{limit:g}"
