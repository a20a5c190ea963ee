"""Encoders of text columns that read categories as codes, never string by string.

Both learn the categories of each column when fitted. A category that was not there then is
unknown: it gets no code (NaN) or no indicator (a row of zeros).
"""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

FloatMatrix = npt.NDArray[np.float64]


class _CategoryEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Learn the sorted categories of every column; a missing value is none of them."""

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: ARG002, N803
        """Learn the categories.

        Parameters
        ----------
        X : frame or array of shape (n_samples, n_features)
            Text or categorical columns.
        y : ignored
        """
        frame = self._to_frame(X, reset=True)
        self.categories_ = [
            np.asarray(sorted(frame.iloc[:, i].dropna().unique(), key=str), dtype=object)
            for i in range(frame.shape[1])
        ]
        self.has_missing_ = [bool(frame.iloc[:, i].isna().any()) for i in range(frame.shape[1])]
        return self

    def _to_frame(self, data: Any, *, reset: bool) -> pd.DataFrame:
        if not isinstance(data, pd.DataFrame):
            data = check_array(data, dtype=None, ensure_all_finite="allow-nan")
        validate_data(self, data, reset=reset, skip_check_array=True)
        if data.shape[0] == 0:
            raise ValueError("Expected at least one row, found 0 sample(s) (a minimum of 1 is required).")
        return data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)

    def _codes(self, data: Any) -> list[npt.NDArray[np.intp]]:
        """Return the code of each value; missing is one past the last category, unknown two past."""
        check_is_fitted(self)
        frame = self._to_frame(data, reset=False)
        return [_learned_codes(frame.iloc[:, i], categories) for i, categories in enumerate(self.categories_)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


class CategoryCodes(OneToOneFeatureMixin, _CategoryEncoder):  # type: ignore[misc]
    """Turn each column into the position of its category; missing and unknown are NaN.

    For trees that split on missing values themselves.

    Attributes
    ----------
    categories_ : list of arrays
        The sorted categories of each column.
    has_missing_ : list of bool
        Whether the column had missing values when fitted.
    """

    def transform(self, X: Any) -> FloatMatrix:  # noqa: N803
        """Return codes of shape (n_samples, n_features)."""
        columns = []
        for codes, categories in zip(self._codes(X), self.categories_, strict=True):
            values = np.arange(len(categories) + 2, dtype=np.float64)
            values[len(categories) :] = np.nan
            columns.append(values[codes])
        return np.column_stack(columns)


class CategoryIndicators(_CategoryEncoder):
    """Turn each column into one indicator per category, plus one for missing where it was seen.

    Attributes
    ----------
    categories_ : list of arrays
        The sorted categories of each column.
    has_missing_ : list of bool
        Whether the column had missing values when fitted.
    """

    def transform(self, X: Any) -> FloatMatrix:  # noqa: N803
        """Return indicators of shape (n_samples, n_indicators)."""
        all_codes = self._codes(X)
        widths = [len(c) + missing for c, missing in zip(self.categories_, self.has_missing_, strict=True)]
        result = np.zeros((len(all_codes[0]), sum(widths)))
        first = 0
        for codes, width in zip(all_codes, widths, strict=True):
            indicators = np.eye(max(width, codes.max() + 1), width)
            result[:, first : first + width] = indicators[codes]
            first += width
        return result

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<column>_<category>`` for each indicator."""
        check_is_fitted(self)
        names = input_features if input_features is not None else getattr(self, "feature_names_in_", None)
        if names is None:
            names = [f"x{i}" for i in range(self.n_features_in_)]
        return np.asarray(
            [
                f"{name}_{category}"
                for name, categories, missing in zip(names, self.categories_, self.has_missing_, strict=True)
                for category in [*categories, *(["missing"] if missing else [])]
            ],
            dtype=object,
        )


def _learned_codes(column: "pd.Series[Any]", categories: npt.NDArray[np.object_]) -> npt.NDArray[np.intp]:
    values = column.array if isinstance(column.dtype, pd.CategoricalDtype) else pd.Categorical(column)
    position = {category: code for code, category in enumerate(categories)}
    unknown, missing = len(categories) + 1, len(categories)
    # Codes of a Categorical are -1 where missing, which reads the last entry of this table.
    table = np.asarray([*(position.get(c, unknown) for c in values.categories), missing], dtype=np.intp)
    codes: npt.NDArray[np.intp] = table[values.codes]
    return codes
