"""AUC, average precision and lift of weighted rows: sorted once by score, counted under many weights."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from churn_ml.training.profit import BoolArray, FloatArray

TOP_SHARE = 0.1


@dataclass(frozen=True)
class Ranking:
    """Weights of churned and stayed rows at each distinct score, highest first; (n_scores,) each."""

    churned: FloatArray
    stayed: FloatArray

    def roc_auc(self) -> float:
        """Return the share of (churned, stayed) pairs in the right order, ties half (Hanley, McNeil 1982)."""
        pairs = self.churned.sum() * self.stayed.sum()
        below = self.stayed.sum() - np.cumsum(self.stayed) + self.stayed / 2
        return float((self.churned * below).sum() / pairs) if pairs else float("nan")

    def average_precision(self) -> float:
        """Return precision averaged over the steps of recall, not interpolated (Davis, Goadrich 2006)."""
        found = np.cumsum(self.churned)
        taken = found + np.cumsum(self.stayed)
        some = taken > 0
        if not some.any() or not found[-1]:
            return float("nan")
        return float((self.churned[some] * found[some] / taken[some]).sum() / found[-1])

    def top_lift(self, share: float = TOP_SHARE) -> float:
        """Return the churn rate among the highest `share` of rows over that of all (Neslin et al. 2006).

        Of rows tied across the limit the same share of each outcome counts.
        """
        found = np.concatenate([[0.0], np.cumsum(self.churned)])
        taken = np.concatenate([[0.0], np.cumsum(self.churned + self.stayed)])
        if not found[-1]:
            return float("nan")
        return float(np.interp(share * taken[-1], taken, found) / found[-1] / share)


class RankedRows:
    """Rows sorted once by score, to be counted under many weights."""

    def __init__(self, churned: BoolArray, scores: FloatArray) -> None:
        self._order = np.argsort(-scores, kind="stable")
        sorted_scores = scores[self._order]
        is_first = np.concatenate([[True], sorted_scores[1:] != sorted_scores[:-1]])
        self._starts: npt.NDArray[np.intp] = np.flatnonzero(is_first)
        self._churned = churned[self._order].astype(np.float64)

    def counted(self, weights: FloatArray | None = None) -> Ranking:
        """Return the ranking of the rows under `weights`, of shape (n,); each counts once where None."""
        own = np.ones(len(self._order)) if weights is None else weights[self._order]
        churned = np.add.reduceat(own * self._churned, self._starts)
        return Ranking(churned, np.add.reduceat(own, self._starts) - churned)
