"""Columns as integer codes: what an additive model needs to know of a value, and no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from churn_ml.features.contract import FeatureContract, Kind

FloatArray = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

MISSING = 0
_UNKNOWN = "\0unknown"  # no text of Postgres holds a zero byte


@dataclass(frozen=True)
class NamedColumn:
    """A column of a frame and how models treat it."""

    name: str
    kind: Kind


def columns_of(source: FeatureContract | pd.DataFrame) -> tuple[NamedColumn, ...]:
    """Return the columns of a contract, or of one of its frames (where booleans are numbers)."""
    if isinstance(source, FeatureContract):
        return tuple(NamedColumn(column.name, column.kind) for column in source.columns)
    return tuple(
        NamedColumn(
            str(name),
            Kind.CATEGORICAL if isinstance(column.dtype, pd.CategoricalDtype) else Kind.NUMERIC,
        )
        for name, column in source.items()
    )


class Coding(Protocol):
    """Codes of one column; 0 is missing."""

    def encode(self, column: "pd.Series[Any]") -> tuple[Codes, pd.Series]:
        """Return the codes of shape (n_rows,), and one value that stands for each code."""


@dataclass(frozen=True)
class CutCoding:
    """A number by the cuts at or below it: ascending `cuts`, code 1 + their number."""

    cuts: FloatArray

    @cached_property
    def values(self) -> "pd.Series[Any]":
        """Missing, a value below every cut, and each cut."""
        below = np.nextafter(self.cuts[:1], -np.inf) if len(self.cuts) else np.zeros(1)
        return pd.Series(np.concatenate([[np.nan], below, self.cuts]))

    def encode(self, column: "pd.Series[Any]") -> tuple[Codes, pd.Series]:
        """Return codes and values; see `Coding`."""
        numbers = column.to_numpy(dtype=np.float64)
        codes = np.searchsorted(self.cuts, numbers, side="right") + 1
        codes[np.isnan(numbers)] = MISSING
        return codes, self.values


@dataclass(frozen=True)
class BooleanCoding:
    """Missing, false, true."""

    @cached_property
    def values(self) -> "pd.Series[Any]":
        """Missing, 0 and 1."""
        return pd.Series([np.nan, 0.0, 1.0])

    def encode(self, column: "pd.Series[Any]") -> tuple[Codes, pd.Series]:
        """Return codes and values; see `Coding`."""
        numbers = column.to_numpy(dtype=np.float64) + 1
        return np.where(np.isnan(numbers), MISSING, numbers).astype(np.intp), self.values


@dataclass(frozen=True)
class DistinctCoding:
    """Each distinct number of the frame: for smooth functions, which no cuts describe."""

    def encode(self, column: "pd.Series[Any]") -> tuple[Codes, pd.Series]:
        """Return codes and values; see `Coding`."""
        codes, distinct = pd.factorize(column.to_numpy(dtype=np.float64))
        return codes + 1, pd.Series(np.concatenate([[np.nan], distinct]))


@dataclass(frozen=True)
class CategoryCoding:
    """Missing, each of `categories`, and one more for what is none of them."""

    categories: tuple[str, ...]

    @cached_property
    def values(self) -> "pd.Series[Any]":
        """Missing, the categories, and a text that is none of them."""
        known = [*self.categories, _UNKNOWN]
        return pd.Series(pd.Categorical([None, *known], categories=known))

    def encode(self, column: "pd.Series[Any]") -> tuple[Codes, pd.Series]:
        """Return codes and values; see `Coding`."""
        found = column.array if isinstance(column.dtype, pd.CategoricalDtype) else pd.Categorical(column)
        position = {category: code for code, category in enumerate(self.categories, start=1)}
        unknown = len(self.categories) + 1
        # Codes of a Categorical are -1 where missing, which reads the last entry of this table.
        table = np.array(
            [*(position.get(text, unknown) for text in found.categories), MISSING], dtype=np.intp
        )
        return table[found.codes], self.values


@dataclass(frozen=True)
class Encoded:
    """Rows by codes, of shape (n_columns, n_rows), and what the codes of each column stand for."""

    codes: Codes
    values: tuple["pd.Series[Any]", ...]

    def take(self, rows: npt.NDArray[np.intp]) -> "Encoded":
        """Return some of the rows."""
        return Encoded(self.codes.take(rows, axis=1), self.values)


@dataclass(frozen=True)
class Grid:
    """The coding of every column of a model."""

    columns: tuple[NamedColumn, ...]
    codings: tuple[Coding, ...]

    def encode(self, frame: pd.DataFrame) -> Encoded:
        """Return the rows of a frame of `FeatureContract.to_frame` as codes."""
        codes = np.empty((len(self.columns), len(frame)), dtype=np.intp)
        values = []
        for row, column, coding in zip(codes, self.columns, self.codings, strict=True):
            row[:], stands_for = coding.encode(frame[column.name])
            values.append(stands_for)
        return Encoded(codes, tuple(values))

    def shares(self, quantiles: Mapping[str, FloatArray]) -> list[FloatArray]:
        """Return for each column the share of training rows with each code, see `Reference.quantiles`."""
        return [
            _shares(coding, quantiles[column.name])
            for column, coding in zip(self.columns, self.codings, strict=True)
        ]


def padded(values: Mapping[str, "pd.Series[Any]"]) -> pd.DataFrame:
    """Return one frame that holds the values of every column from its top, missing ones below."""
    height = range(max(len(column) for column in values.values()))
    return pd.DataFrame({name: column.reindex(height) for name, column in values.items()}, copy=False)


def _shares(coding: Coding, reference: FloatArray) -> FloatArray:
    if isinstance(coding, CategoryCoding):
        known = np.zeros(len(coding.categories))
        known[: len(reference)] = reference[: len(known)]
        return np.concatenate([[max(0.0, 1.0 - known.sum())], known, [0.0]])
    codes, values = coding.encode(pd.Series(reference if len(reference) else [np.nan]))
    return np.bincount(codes, minlength=len(values)) / len(codes)
