"""The gates that a candidate has to pass before it may be selected."""

import numpy as np
import numpy.typing as npt

from churn_ml.models.registration import GateResult
from churn_ml.training.evaluation import FloatArray, observed_expected_ratio

_CALIBRATION_LOW, _CALIBRATION_HIGH = 0.9, 1.1


def calibration_gate(
    churned: npt.NDArray[np.bool_], probabilities: FloatArray, *, standard_errors: float = 0.0
) -> GateResult:
    """Return whether churned customers are within a tenth of those expected, over everyone.

    Expected revenue loss is a sum of probabilities times money, so a model off by more than that
    is off by as much in money, however well it ranks.

    Parameters
    ----------
    standard_errors : float
        Widens the limits by so many standard errors of the ratio under the model itself,
        ``sqrt(sum p (1 - p)) / sum p``: where few leave, a true model misses a tenth by chance.
    """
    chance = float(np.sqrt((probabilities * (1 - probabilities)).sum()) / probabilities.sum())
    slack = standard_errors * chance
    return GateResult(
        "calibration_overall",
        observed_expected_ratio(churned, probabilities),
        round(_CALIBRATION_LOW - slack, 4),
        round(_CALIBRATION_HIGH + slack, 4),
    )
