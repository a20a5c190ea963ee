"""Validation: every row is predicted by pipelines that learned without it, then calibrated on other rows.

Snapshot panels are split into stratified folds, several times over (``cross_sectional``); dated ones
forward in time (``out_of_time``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from scipy.special import logit  # type: ignore[import-untyped]
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.errors import TrainingError
from churn_ml.features.contract import FeatureContract
from churn_ml.models.calibration import Calibrator, fit_calibrator
from churn_ml.models.calibrators import Scores, clip_probabilities, method_of
from churn_ml.models.candidates import Candidate
from churn_ml.models.crossfit import CrossFittedModel
from churn_ml.models.registration import Validation
from churn_ml.training.dated_panel import DatedPanel
from churn_ml.training.folds import ForwardFold, ForwardFolds, IntArray
from churn_ml.training.panel import LabelledRows, Panel

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NOT_VALIDATED = -1
WORKERS = 2


@dataclass(frozen=True)
class Split:
    """One fold: the positions of the rows that are learned from and of those that are predicted."""

    fold: int
    training: IntArray = field(repr=False)
    validation: IntArray = field(repr=False)


Splits = Sequence[Split]


@dataclass(frozen=True)
class Probabilities:
    """What was said about each row by pipelines and calibrators that had not seen it.

    Each of shape (n_rows,), NaN where a row was not validated on.
    """

    raw: FloatArray
    calibrated: FloatArray


def validation_of(panel: LabelledRows) -> Validation:
    """Return how rows of this kind are validated, as models are stamped with it."""
    return "out_of_time" if isinstance(panel, DatedPanel) else "cross_sectional"


def plan_splits(
    panel: Panel | DatedPanel, *, repeats: int, fold_count: int | None, seed: int
) -> list[Splits]:
    """Return the folds of each repeat of a validation.

    A snapshot panel is split `repeats` times into `fold_count` stratified folds, drawn with `seed`; a
    dated one once, forward in time: repeating it would change nothing.

    Raises
    ------
    TrainingError
        If there is no date to validate on, or a fold has customers of one outcome only.
    """
    if isinstance(panel, DatedPanel):
        if fold_count is not None:
            raise TrainingError(
                f"Expected no folds of customers for dated rows, found {fold_count}: they are split forward "
                "in time by ForwardFolds and never at random. Leave fold_count out."
            )
        return [forward_splits(panel, forward_folds(panel))]
    return [
        [
            Split(fold, training, validation)
            for fold, (training, validation) in enumerate(
                StratifiedKFold(fold_count or 0, shuffle=True, random_state=seed + repeat).split(
                    np.zeros(panel.row_count), panel.churned
                )
            )
        ]
        for repeat in range(repeats)
    ]


def customer_splits(panel: Panel, fold_count: int) -> Splits:
    """Return the folds of the registered model: a hash of the customer, which scoring can look up."""
    return [
        Split(fold, np.flatnonzero(panel.folds != fold), np.flatnonzero(panel.folds == fold))
        for fold in range(fold_count)
    ]


def forward_folds(panel: DatedPanel) -> list[ForwardFold]:
    """Return the forward folds of a dated panel.

    Raises
    ------
    TrainingError
        If none can be made, or one lacks customers who churned or who stayed.
    """
    folds = ForwardFolds(panel.spans).folds(panel.as_of_dates)
    for fold in folds:
        training = panel.churned[fold.training_rows(panel.as_of_dates)]
        validation = panel.churned[fold.validation_rows(panel.as_of_dates)]
        if not all(rows.any() and not rows.all() for rows in (training, validation)):
            raise TrainingError(
                f"Expected customers who churned and who stayed on {fold.validation_date} and on the "
                f"{len(fold.training_dates)} dates trained on before it, found {validation.sum()} of "
                f"{len(validation)} churned and {training.sum()} of {len(training)}. Land more history, or "
                "check features.customer_labels."
            )
    known = panel.frame.notna().any()
    if not known.all():
        raise TrainingError(
            "Expected every feature to have a known value among the training rows, found none in: "
            f"{', '.join(known.index[~known])}. Take the column out of customer_features, or mend its source."
        )
    return folds


def forward_splits(panel: DatedPanel, folds: Sequence[ForwardFold]) -> Splits:
    """Return the rows of forward folds."""
    return [
        Split(fold.fold, fold.training_rows(panel.as_of_dates), fold.validation_rows(panel.as_of_dates))
        for fold in folds
    ]


def fold_of_rows(splits: Splits, row_count: int) -> npt.NDArray[np.int16]:
    """Return the fold that each row is validated in, `NOT_VALIDATED` for none."""
    fold_of: npt.NDArray[np.int16] = np.full(row_count, NOT_VALIDATED, np.int16)
    for split in splits:
        fold_of[split.validation] = split.fold
    return fold_of


def fit_rows(
    candidate: Candidate,
    contract: FeatureContract,
    rows: LabelledRows,
    positions: IntArray,
    seed: int,
    churned: BoolArray | None = None,
) -> Pipeline:
    """Fit `candidate` on the given rows, with one native thread: fits run side by side.

    A feature without any known value among them (its source began later) is left out of the fit.

    Parameters
    ----------
    churned : boolean array of shape (n_rows,), optional
        Outcomes to learn instead of those of `rows`: shuffled ones, to screen for leaks.
    """
    data = rows.frame.take(positions)
    outcomes = rows.churned if churned is None else churned
    known = data.notna().any()
    present = FeatureContract(tuple(column for column in contract.columns if known[column.name]))
    with threadpool_limits(limits=1, user_api="openmp"):
        return candidate.build(present, seed).fit(data, outcomes[positions])


def fit_all(
    candidate: Candidate,
    panel: LabelledRows,
    positions: Sequence[IntArray],
    seed: int,
    *,
    workers: int = 1,
    churned: BoolArray | None = None,
) -> list[Pipeline]:
    """Fit `candidate` on each of the sets of rows, `workers` at a time."""
    # One native thread per fit: sums in another order would give other last digits.
    with threadpool_limits(limits=1, user_api="blas"):
        fitted: list[Pipeline] = Parallel(n_jobs=workers, prefer="threads")(
            delayed(fit_rows)(candidate, panel.contract, panel, rows, seed, churned) for rows in positions
        )
    return fitted


def predict_splits(panel: LabelledRows, splits: Splits, pipelines: Sequence[Pipeline]) -> FloatArray:
    """Return the raw probability of each validated row by its fold's pipeline; NaN for the others."""
    raw = np.full(panel.row_count, np.nan)
    with threadpool_limits(limits=1):
        for split, pipeline in zip(splits, pipelines, strict=True):
            frame = panel.frame.take(split.validation)
            folds = np.zeros(len(frame), np.int16)
            raw[split.validation] = CrossFittedModel([pipeline]).predict(frame, folds).raw
    return raw


def validate(
    candidate: Candidate,
    panel: LabelledRows,
    splits: Splits,
    seed: int,
    *,
    workers: int = 1,
    churned: BoolArray | None = None,
) -> FloatArray:
    """Fit `candidate` on each fold's training rows and return the raw probabilities of the others."""
    training = [split.training for split in splits]
    pipelines = fit_all(candidate, panel, training, seed, workers=workers, churned=churned)
    return predict_splits(panel, splits, pipelines)


def calibrate_splits(panel: LabelledRows, splits: Splits, raw: FloatArray, method: str) -> Probabilities:
    """Calibrate the rows of each fold by `method`, fitted on rows of `raw` that are in none of its own.

    Snapshot rows: on all other folds. Dated rows: on earlier validation dates, so that nothing of the
    future is used; the first date is left as it is.
    """
    calibrated = np.full(panel.row_count, np.nan)
    for split in splits:
        rows = _rows_elsewhere(panel, splits, split)
        known = method_of(method if len(rows) else "none")
        state = known.fit(Scores(raw[rows], panel.churned[rows]).tally()) if len(rows) else {}
        log_odds = logit(clip_probabilities(raw[split.validation]))
        calibrated[split.validation] = clip_probabilities(known.apply(state, log_odds))
    return Probabilities(raw, calibrated)


def split_calibrators(
    panel: LabelledRows, splits: Splits, raw: FloatArray, method: str, seed: int
) -> list[Calibrator]:
    """Return the calibrators of `calibrate_splits`, each with its interval."""
    calibrators = []
    for split in splits:
        rows = _rows_elsewhere(panel, splits, split)
        groups = customer_groups(panel, rows)
        calibrators.append(fit_calibrator(method, raw[rows], panel.churned[rows], groups=groups, seed=seed))
    return calibrators


def _rows_elsewhere(panel: LabelledRows, splits: Splits, split: Split) -> IntArray:
    is_dated = isinstance(panel, DatedPanel)
    others = [
        other.validation
        for other in splits
        if (other.fold < split.fold if is_dated else other.fold != split.fold)
    ]
    return np.concatenate([np.empty(0, np.intp), *others])


def customer_groups(panel: LabelledRows, rows: IntArray) -> npt.NDArray[np.int64] | None:
    """Return a number per customer for the given rows; None where each customer has one row."""
    if not isinstance(panel, DatedPanel):
        return None
    codes: npt.NDArray[np.int64] = panel.customer_codes[rows]
    return codes
