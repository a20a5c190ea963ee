"""Kaplan and Meier's estimate with NumPy, against which the marts are held."""

from collections.abc import Sequence

import numpy as np

Z_90 = 1.6448536269514722
Point = tuple[int, int, int, float, float, float]


def kaplan_meier(
    entries: Sequence[int], exits: Sequence[int], ended: Sequence[bool], z: float = Z_90
) -> list[Point]:
    """Return (month, at risk, ended, share, low, high) of every month in which anyone is at risk.

    `entries` and `exits` are months of a lifetime: who enters in month 3 is at risk from month 4 to the
    month of exit, who enters in month 0 from the begin. Greenwood's variance on the scale of log(-log).
    """
    entry, exit_, has_ended = np.asarray(entries), np.asarray(exits), np.asarray(ended)
    share, variance, points = 1.0, 0.0, []
    for month in range(int(exit_.max()) + 1):
        is_at_risk = (exit_ >= month) & ((entry < month) | (entry == 0))
        at_risk, left = int(is_at_risk.sum()), int((is_at_risk & has_ended & (exit_ == month)).sum())
        if not at_risk:
            continue
        share *= 1 - left / at_risk
        variance += left / (at_risk * (at_risk - left)) if at_risk > left else 0
        low = high = float("nan")
        if 0 < share < 1:
            half = z * np.sqrt(variance)
            scale = np.log(-np.log(share)) + np.array([1, -1]) * half / -np.log(share)
            low, high = np.exp(-np.exp(scale))
        points.append((month, at_risk, left, share, float(low), float(high)))
    return points
