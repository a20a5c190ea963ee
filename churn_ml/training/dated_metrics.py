"""What the metrics of a model of dated rows tell beside those of everyone: dates, panel, memorising."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from churn_ml.models.candidates import Candidate
from churn_ml.models.crossfit import CrossFittedModel
from churn_ml.training.dated_panel import CUSTOMER_GROUPS, DatedPanel
from churn_ml.training.folds import ForwardFold
from churn_ml.training.metrics import point_metrics
from churn_ml.training.profit import DecisionParameters
from churn_ml.training.validation import FloatArray, fit_all


def compare_disjoint(
    panel: DatedPanel,
    fold: ForwardFold,
    candidate: Candidate,
    forward: FloatArray,
    seed: int,
    *,
    workers: int = 1,
) -> dict[str, Any]:
    """Return how much of the fold's score comes from having seen the same customers earlier.

    Each group of customers is predicted by a pipeline that was trained on the fold's dates without
    them (``disjoint``). The ordinary fold had seen them, and had more rows (``forward``); the
    pipeline trained without the next group had seen them too and is of the same size
    (``same_size``). What memorising gains is ``same_size`` less ``disjoint``.

    Parameters
    ----------
    forward : float array of shape (n_rows,)
        Raw probabilities of the ordinary folds.
    """
    rows = fold.validation_rows(panel.as_of_dates)
    training = fold.training_rows(panel.as_of_dates)
    groups = panel.customer_groups
    parts = [training[groups[training] != group] for group in range(CUSTOMER_GROUPS)]
    model = CrossFittedModel(fit_all(candidate, panel, parts, seed, workers=workers))
    frame, own = panel.frame.take(rows), groups[rows]
    scores = {
        "forward": forward[rows],
        "same_size": model.predict(frame, (own + 1) % CUSTOMER_GROUPS).raw,
        "disjoint": model.predict(frame, own).raw,
    }
    churned = panel.churned[rows]
    auc = {name: float(roc_auc_score(churned, score)) for name, score in scores.items()}
    loss = {name: float(log_loss(churned, score)) for name, score in scores.items()}
    return {
        "as_of_date": fold.validation_date.isoformat(),
        "group_count": CUSTOMER_GROUPS,
        "roc_auc": auc,
        "log_loss": loss,
        "roc_auc_difference": auc["forward"] - auc["disjoint"],
        "log_loss_difference": loss["disjoint"] - loss["forward"],
        "roc_auc_memorised": auc["same_size"] - auc["disjoint"],
        "log_loss_memorised": loss["disjoint"] - loss["same_size"],
    }


def describe_folds(
    panel: DatedPanel,
    folds: Sequence[ForwardFold],
    probabilities: FloatArray,
    decision: DecisionParameters | None,
) -> list[dict[str, Any]]:
    """Return one entry per validation date: what it was trained on, its base rate and its metrics."""
    described = []
    for fold in folds:
        rows = fold.validation_rows(panel.as_of_dates)
        churned, values = panel.churned[rows], panel.monthly_values[rows]
        described.append(
            {
                "fold": fold.fold,
                "as_of_date": fold.validation_date.isoformat(),
                "training_dates": [day.isoformat() for day in fold.training_dates],
                "training_row_count": len(fold.training_rows(panel.as_of_dates)),
                "row_count": len(rows),
                "churned_count": int(churned.sum()),
                "base_rate": float(churned.mean()),
            }
            | point_metrics(churned, probabilities[rows], values, decision=decision)
        )
    return described


def describe_panel(panel: DatedPanel) -> dict[str, Any]:
    """Return what the panel was made of: label spans, sample, and the counts and base rate per date."""
    rows_of = {day: panel.churned[panel.as_of_dates == np.datetime64(day, "D")] for day in panel.dates}
    nights = []
    for night in panel.nights:
        churned = rows_of.get(night.as_of_date, np.array([], bool))
        rate = {"base_rate": float(churned.mean())} if len(churned) else {}
        counts = {"row_count": len(churned), "churned_count": int(churned.sum())}
        nights.append(night.describe() | counts | rate)
    return {
        "gap_days": panel.spans.gap_days,
        "horizon_days": panel.spans.horizon_days,
        "grace_days": panel.spans.grace_days,
        "late_allowance_days": panel.spans.late_allowance_days,
        "date_count": len(rows_of),
        "row_count": panel.row_count,
        "customer_count": panel.customer_count,
        "sampled_customer_count": len(panel.customer_ids.unique()),
        "dates": nights,
    }
