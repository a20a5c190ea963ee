"""The gates that a candidate has to pass before it may be selected."""

import numpy as np
import numpy.typing as npt

from churn_ml.models.registry import GateResult
from churn_ml.training.evaluation import FloatArray, observed_expected_ratio

_CALIBRATION_LOW, _CALIBRATION_HIGH = 0.9, 1.1


def calibration_gate(churned: npt.NDArray[np.bool_], probabilities: FloatArray) -> GateResult:
    """Return whether churned customers are within a tenth of those expected, over everyone.

    Expected revenue loss is a sum of probabilities times money, so a model off by more than that
    is off by as much in money, however well it ranks.
    """
    return GateResult(
        "calibration_overall",
        observed_expected_ratio(churned, probabilities),
        _CALIBRATION_LOW,
        _CALIBRATION_HIGH,
    )
