"""What out-of-fold probabilities are worth: discrimination, calibration and money."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

FloatArray = npt.NDArray[np.float64]


def evaluate(
    churned: npt.NDArray[np.bool_], probabilities: FloatArray, monthly_values: FloatArray
) -> dict[str, float]:
    """Return the metrics of `probabilities` against what happened.

    Parameters
    ----------
    churned : boolean array of shape (n_customers,)
    probabilities : float array of shape (n_customers,)
        Out of fold.
    monthly_values : float array of shape (n_customers,)
        NaN where the value is not known; such customers count in no money figure.

    Returns
    -------
    dict
        - ``log_loss``: mean of ``-log p(outcome)`` in nats (Good 1952); what models are selected by.
        - ``roc_auc``: share of (churned, stayed) pairs in the right order (Hanley and McNeil 1982).
        - ``average_precision``: precision averaged over the recall steps.
        - ``brier``: mean of ``(p - outcome)^2`` (Brier 1950).
        - ``observed_expected_ratio``: churned customers over the sum of p.
        - ``expected_observed_revenue_ratio``: sum of p x value over the value of those who churned;
          left out where no customer who churned has a known value.
    """
    metrics = {
        "log_loss": float(log_loss(churned, probabilities)),
        "roc_auc": float(roc_auc_score(churned, probabilities)),
        "average_precision": float(average_precision_score(churned, probabilities)),
        "brier": float(brier_score_loss(churned, probabilities)),
        "observed_expected_ratio": observed_expected_ratio(churned, probabilities),
    }
    known = ~np.isnan(monthly_values)
    observed = float(monthly_values[known & churned].sum())
    if observed > 0:
        expected = float((probabilities[known] * monthly_values[known]).sum())
        metrics["expected_observed_revenue_ratio"] = expected / observed
    return metrics


def observed_expected_ratio(churned: npt.NDArray[np.bool_], probabilities: FloatArray) -> float:
    """Return churned customers over expected ones; 1 is calibrated in the large, below it overstates."""
    return float(churned.sum() / probabilities.sum())
