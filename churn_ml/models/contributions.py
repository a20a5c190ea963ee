"""What each column adds to a score, and which columns weigh most.

Contributions are in log-odds of the raw score, against the average training customer, and add up to it
with `base`. `Explainer.method` says how they are defined for the model at hand:

- additive families: the value of each column's own function and half of each of its pairs, from lookup
  tables; exact Shapley values around the training quantiles and shares of `Reference`;
- other trees: the change of the mean along each path (`churn_ml.models.path_contributions`);
- a stack: the weighted contributions of its members.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline

from churn_ml.errors import ModelError
from churn_ml.features.contract import FeatureContract
from churn_ml.models.additive_grid import columns_of
from churn_ml.models.calibrators import clip_probabilities
from churn_ml.models.contribution_sources import (
    Explained,
    Source,
    TableSource,
    contributions_of_all,
    source_of,
)
from churn_ml.models.crossfit import (
    NOT_TRAINED_ON,
    CrossFittedModel,
    Predictions,
    mean_in_log_odds,
    predictions_of,
)
from churn_ml.models.lookup_tables import blocks
from churn_ml.models.top_reasons import NO_COLUMN, TopReasons

__all__ = ["NO_COLUMN", "Explainer", "Reference", "TopReasons", "build_reference"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
Rows = npt.NDArray[np.intp]

_QUANTILE_COUNT = 101


@dataclass(frozen=True)
class Reference:
    """The training customers that reasons compare with.

    Attributes
    ----------
    quantiles : mapping of str to float array
        For each number the 0th to 100th percentile of its training values, of shape (101,), empty
        where there were none; for each category its share of the training rows, categories sorted.
    centres : tuple of float arrays of shape (n_features,)
        For each pipeline the mean contribution of each column over the rows it was fitted on.
    """

    quantiles: Mapping[str, FloatArray]
    centres: tuple[FloatArray, ...]

    def percentiles(self, name: str, values: FloatArray) -> FloatArray:
        """Return the percentile of each value, 0 to 100, NaN where it is missing.

        A value that several training percentiles share gets the middle one of them.
        """
        quantiles = self.quantiles[name]
        first = np.searchsorted(quantiles, values, side="left")
        after = np.searchsorted(quantiles, values, side="right")
        found: FloatArray = np.minimum((first + after) // 2, _QUANTILE_COUNT - 1).astype(np.float64)
        found[np.isnan(values) | (len(quantiles) == 0)] = np.nan
        return found


def build_reference(
    pipelines: Sequence[Pipeline], frame: pd.DataFrame, rows_per_pipeline: Sequence[npt.NDArray[np.intp]]
) -> Reference:
    """Return the reference of a trained model.

    Parameters
    ----------
    pipelines : sequence of Pipeline
        Fitted, calibrated or not.
    frame : DataFrame
        All training rows of `FeatureContract.to_frame`.
    rows_per_pipeline : sequence of int arrays
        The rows that each pipeline was fitted on.
    """
    columns = columns_of(frame)
    quantiles = {column.name: _quantiles(frame[column.name]) for column in columns}
    centres = []
    explained = contributions_of_all(pipelines, columns, quantiles)
    for explain, rows in zip(explained, rows_per_pipeline, strict=True):
        total = np.zeros(len(columns))
        if explain.is_centred_on_rows:
            for part in blocks(len(rows)):
                total += explain(frame.take(rows[part]))[1].sum(axis=1)
        centres.append(total / max(1, len(rows)))
    return Reference(quantiles, tuple(centres))


class Explainer:
    """Predictions of a model together with the reasons for them.

    Parameters
    ----------
    model : CrossFittedModel
    contract : FeatureContract
        The columns that it was trained on.
    reference : Reference
        As `build_reference` returned it when the model was trained.

    Attributes
    ----------
    method : str
        How contributions are defined, for model cards and documentation.
    is_additive : bool
        Whether predictions too come from lookup tables.
    is_precise : bool
        Whether contributions add up in double precision, so that predictions are their sums.
    """

    def __init__(self, model: CrossFittedModel, contract: FeatureContract, reference: Reference) -> None:
        if len(reference.centres) != len(model.pipelines) or set(reference.quantiles) != set(contract.names):
            raise ModelError(
                f"Expected a reference of {len(model.pipelines)} pipelines and the columns "
                f"{', '.join(contract.names)}, found {len(reference.centres)} and "
                f"{', '.join(reference.quantiles)}. Train a new model."
            )
        self._model = model
        self._source: Source = source_of(
            model.pipelines, columns_of(contract), reference.quantiles, reference.centres
        )
        self.is_additive = isinstance(self._source, TableSource)
        self.is_precise = self._source.is_precise
        self.method = self._source.method

    def contributions(self, frame: pd.DataFrame, folds: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the base of each row and what each column adds.

        Parameters
        ----------
        frame : DataFrame
            Rows of `FeatureContract.to_frame`.
        folds : integer array of shape (n_rows,)
            As for `CrossFittedModel.predict`: a training customer is explained by the pipeline that
            has not seen them, anyone else by the mean of all.

        Returns
        -------
        tuple of float arrays
            Shapes (n_rows,) and (n_rows, n_features); their sum over a row is the log-odds of its raw
            score.
        """
        base, matrix = np.empty(len(frame)), np.empty(frame.shape)
        for rows, found, _ in self._explained(frame, folds):
            base[rows], matrix[rows] = found.base, found.contributions.T
        return base, matrix

    def top_reasons(self, frame: pd.DataFrame, folds: IntArray, count: int = 3) -> TopReasons:
        """Return the `count` columns that move the score of each row most; see `contributions`."""
        reasons = TopReasons.empty(len(frame), count)
        for rows, found, _ in self._explained(frame, folds):
            reasons.fill(rows, found.base, found.contributions)
        return reasons

    def predict(self, frame: pd.DataFrame, folds: IntArray, count: int = 3) -> tuple[Predictions, TopReasons]:
        """Return what `CrossFittedModel.predict` returns, and the reasons for it.

        Where contributions add up in double precision the predictions are their sums: the same
        probabilities, without asking the libraries a second time.
        """
        if not self.is_precise:
            return self._model.predict(frame, folds), self.top_reasons(frame, folds, count)
        reasons = TopReasons.empty(len(frame), count)
        predictions = Predictions(*(np.empty(len(frame)) for _ in fields(Predictions)))
        for rows, found, members in self._explained(frame, folds):
            reasons.fill(rows, found.base, found.contributions)
            pipelines = [self._model.pipelines[member] for member in members]
            judged = mean_in_log_odds(
                [predictions_of(one, clip_probabilities(expit(log_odds)))
                 for one, log_odds in zip(pipelines, found.log_odds, strict=True)]
            )  # fmt: skip
            for field in fields(Predictions):
                getattr(predictions, field.name)[rows] = getattr(judged, field.name)
        return predictions, reasons

    def largest_difference(self, frame: pd.DataFrame, folds: IntArray) -> float:
        """Return by how much a probability of `predict` differs from the model's own, at most.

        Where the predictions are the model's own, by how much the raw ones that the contributions add up
        to do.
        """
        predictions, reasons = self.predict(frame, folds)
        said = self._model.predict(frame, folds)
        difference = np.abs(predictions.calibrated - said.calibrated)
        if not self.is_precise:
            added_up = clip_probabilities(expit(reasons.log_odds))
            difference = np.maximum(difference, np.abs(added_up - said.raw))
        return float(np.max(difference, initial=0.0))

    def _explained(
        self, frame: pd.DataFrame, folds: IntArray
    ) -> Iterator[tuple[Rows, Explained, Sequence[int]]]:
        """Yield the rows of each block, what is known of them, and the pipelines that speak for them."""
        prepared = self._source.prepare(frame)
        for rows, members in self._by_fold(folds):
            part = prepared if len(rows) == len(frame) else prepared.take(rows)
            for found in self._source.explain(part, members):
                yield rows[found.rows], found, members

    def _by_fold(self, folds: IntArray) -> Iterator[tuple[Rows, Sequence[int]]]:
        """Yield the rows of each fold with the pipelines that speak for them."""
        everyone = range(len(self._model.pipelines))
        for fold in self._model.check_folds(folds):
            yield np.flatnonzero(folds == fold), everyone if fold == NOT_TRAINED_ON else [fold]


def _quantiles(column: "pd.Series[Any]") -> FloatArray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        counts = column.value_counts()
        found = [counts[text] for text in sorted(counts.index[counts > 0], key=str)]
        return np.array(found, dtype=np.float64) / max(1, len(column))
    known = column.to_numpy(dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return np.zeros(0)
    # Values that some customer had, not means of two.
    quantiles: FloatArray = np.quantile(known, np.linspace(0, 1, _QUANTILE_COUNT), method="inverted_cdf")
    return quantiles
