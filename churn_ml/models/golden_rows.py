"""A few training rows and what their model answered for them, asked again whenever it is loaded.

Bytes, versions and types may all be right and a probability still differ: another processor, a
library built otherwise, a changed line of ours. The rows hold feature values only, no keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from sklearn.pipeline import Pipeline

from churn_ml.errors import ArtifactError
from churn_ml.features.contract import FeatureContract, Kind
from churn_ml.models.crossfit import NOT_TRAINED_ON, CrossFittedModel

IntArray = npt.NDArray[np.integer]

TOLERANCE = 1e-9
"""Largest difference of a probability, or of a number of months relative to it if that is above 1."""

_ROW_COUNT = 50
_SHARE_OF_STRANGERS = 5  # one in five training customers is asked about as one who is not


@dataclass(frozen=True)
class GoldenRows:
    """Feature values of shape (n_rows, n_features), and the fold whose pipeline answers for each row."""

    frame: pd.DataFrame
    folds: IntArray


def choose_golden_rows(frame: pd.DataFrame, folds: IntArray | None, *, seed: int) -> GoldenRows:
    """Return at most 50 rows of `frame`, drawn with `seed`, of every fold if there are that many.

    Parameters
    ----------
    frame : DataFrame
        Training rows of `FeatureContract.to_frame`.
    folds : integer array of shape (n_rows,), optional
        The fold of each row in a model of fold pipelines; one row in five is then asked about as a
        customer who was not trained on, so that the mean of all pipelines is checked too. None for a
        model that is one pipeline.
    """
    rng = np.random.default_rng(seed)
    if folds is None:
        chosen = np.sort(rng.permutation(len(frame))[:_ROW_COUNT])
        return GoldenRows(frame.take(chosen), np.full(len(chosen), NOT_TRAINED_ON))
    shuffled = rng.permutation(len(frame))
    place = pd.Series(shuffled).groupby(folds[shuffled]).cumcount().to_numpy()
    chosen = shuffled[np.argsort(place, kind="stable")][:_ROW_COUNT]
    asked = np.where(np.arange(len(chosen)) % _SHARE_OF_STRANGERS == 0, NOT_TRAINED_ON, folds[chosen])
    return GoldenRows(frame.take(chosen), asked)


def answer(
    golden: GoldenRows, contract: FeatureContract, model: CrossFittedModel, value_pipeline: Pipeline | None
) -> dict[str, Any]:
    """Return the rows and the model's answers as the JSON that ``ml.model_versions`` keeps."""
    features = {column.name: _to_json(golden.frame[column.name], column.kind) for column in contract.columns}
    answers = _ask(golden, model, value_pipeline)
    return {"features": features, "folds": golden.folds.tolist()} | {
        name: values.tolist() for name, values in answers.items()
    }


def check_golden_rows(
    kept: Mapping[str, Any] | None,
    contract: FeatureContract,
    model: CrossFittedModel,
    value_pipeline: Pipeline | None,
) -> None:
    """Refuse a model that answers otherwise than when it was registered.

    Raises
    ------
    ArtifactError
        If an answer differs by more than `TOLERANCE`, or there are no rows to ask about; the message
        names the largest difference.
    """
    if not kept or not kept.get("folds"):
        raise ArtifactError(
            "Expected golden rows with the model, found none: nothing shows that it still predicts what it "
            "did. It was registered before they were kept, or they were removed. Train and promote a model."
        )
    golden = _from_json(kept, contract)
    answers = _ask(golden, model, value_pipeline)
    for name in sorted(answers.keys() | kept.keys() - {"features", "folds"}):
        expected, found = (np.array(given.get(name, []), np.float64) for given in (kept, answers))
        difference = _largest_difference(expected, found)
        if difference is not None:
            raise ArtifactError(
                f"Expected the model to answer for its {len(golden.folds)} golden rows as when it was "
                f"registered, within {TOLERANCE:g}, found {name} {difference}. Nothing was scored. Find out "
                "what changed (the artifact's sha256 and the library versions are as recorded), or train and "
                "promote a model."
            )


def _ask(
    golden: GoldenRows, model: CrossFittedModel, value_pipeline: Pipeline | None
) -> dict[str, npt.NDArray[np.float64]]:
    predictions = model.predict(golden.frame, golden.folds)
    answers = {"raw": predictions.raw, "calibrated": predictions.calibrated}
    if value_pipeline is not None:
        answers["expected_months_retained"] = np.asarray(value_pipeline.predict(golden.frame), np.float64)
    return answers


def _largest_difference(expected: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> str | None:
    """Describe the largest difference, where it is larger than may be."""
    if expected.shape != found.shape:
        return f"of {len(found)} rows against {len(expected)} that are kept"
    differences = np.abs(expected - found) / np.maximum(1.0, np.abs(expected))
    row = int(np.argmax(np.where(np.isnan(differences), np.inf, differences)))
    if differences[row] <= TOLERANCE:
        return None
    return f"{found[row]:.12g} for row {row}, which was {expected[row]:.12g} (off by {differences[row]:.3g})"


def _to_json(values: "pd.Series[Any]", kind: Kind) -> list[Any]:
    missing = values.isna().to_numpy()
    plain = values.astype(object).tolist() if kind is Kind.CATEGORICAL else values.tolist()
    if kind is Kind.BOOLEAN:
        plain = [value == 1 for value in plain]
    return [None if gone else value for value, gone in zip(plain, missing, strict=True)]


def _from_json(kept: Mapping[str, Any], contract: FeatureContract) -> GoldenRows:
    types = {Kind.NUMERIC: pa.float64(), Kind.BOOLEAN: pa.bool_(), Kind.CATEGORICAL: pa.string()}
    features = kept["features"]
    table = pa.table({column.name: pa.array(features[column.name], types[column.kind])
                      for column in contract.columns if column.name in features})  # fmt: skip
    return GoldenRows(contract.to_frame(table), np.array(kept["folds"], dtype=np.int64))
