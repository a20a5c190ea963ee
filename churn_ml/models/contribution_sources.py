"""Where a model's contributions come from: tables it shares between its pipelines, or each pipeline's own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline

from churn_ml.models.additive_forms import classifier_of
from churn_ml.models.additive_grid import Encoded, NamedColumn
from churn_ml.models.additive_tables import AdditiveTables, tables_of_all
from churn_ml.models.lookup_tables import Tables, blocks, mean_of
from churn_ml.models.path_contributions import PipelineContributions, path_contributions
from churn_ml.models.stack import LogOddsStack

FloatArray = npt.NDArray[np.float64]

EXACT = (
    "exact Shapley values in log-odds, from lookup tables: each column's own function and half of each of "
    "its pairs, against the average training customer"
)
NONE = "none: the score is the same for everyone"
# A columns step costs some milliseconds however few its rows are.
_ROWS_AT_ONCE = 16_384
_STACKED = "weighted sum in log-odds of its members' contributions, which are: {}"


@dataclass(frozen=True)
class Explained:
    """A block of rows.

    Attributes
    ----------
    rows : slice
    base : float array of shape (n_rows,)
    contributions : float array of shape (n_columns, n_rows)
        With `base` they add up to the mean of `log_odds`.
    log_odds : list of float arrays of shape (n_rows,)
        What each pipeline gives, before calibration.
    """

    rows: slice
    base: FloatArray
    contributions: FloatArray
    log_odds: list[FloatArray]


class Source(Protocol):
    """Contributions of all pipelines of a model.

    Attributes
    ----------
    method : str
        How they are defined.
    is_precise : bool
        Whether `Explained.log_odds` are the pipelines' own to the precision of their leaves.
    """

    method: str
    is_precise: bool

    def prepare(self, frame: pd.DataFrame) -> Any:
        """Return the rows as `explain` reads them; it has a method `take`."""

    def explain(self, prepared: Any, members: Sequence[int]) -> Iterator[Explained]:
        """Yield blocks of rows, explained by the mean over some pipelines."""


@dataclass(frozen=True)
class PreparedCodes:
    """Rows as codes, and the tables that were made for them so far."""

    encoded: Encoded
    tables: dict[tuple[int, ...], Tables]

    def take(self, rows: npt.NDArray[np.intp]) -> "PreparedCodes":
        """Return some of the rows."""
        return PreparedCodes(self.encoded.take(rows), self.tables)


class TableSource:
    """Pipelines that are additive, on shared codes.

    Parameters
    ----------
    pipelines : sequence of Pipeline
    tables : list of AdditiveTables
        Of the same pipelines.
    centres : sequence of float arrays of shape (n_columns,)
        Moved from each pipeline's columns to its base.
    """

    def __init__(
        self, pipelines: Sequence[Pipeline], tables: list[AdditiveTables], centres: Sequence[FloatArray]
    ) -> None:
        self.method = method_of_tables(pipelines[0])
        self.is_precise = True
        self._tables = tables
        self._centres = centres
        self._is_fixed = all(one.form.cuts is not None for one in tables)
        self._found: dict[tuple[int, ...], Tables] = {}

    def prepare(self, frame: pd.DataFrame) -> PreparedCodes:
        """Return the rows as codes."""
        return PreparedCodes(self._tables[0].encode(frame), self._found if self._is_fixed else {})

    def explain(self, prepared: PreparedCodes, members: Sequence[int]) -> Iterator[Explained]:
        """Look up base and contributions; see `Source`."""
        tables, codes = self._of(prepared, tuple(members)), prepared.encoded.codes
        for rows in blocks(codes.shape[1]):
            part = codes[:, rows]
            found = tables.contributions(part)
            base = np.full(part.shape[1], tables.base)
            if len(members) == 1:
                log_odds = [base + found.sum(axis=0)]
            else:
                log_odds = [self._of(prepared, (member,)).log_odds(part) for member in members]
            yield Explained(rows, base, found, log_odds)

    def _of(self, prepared: PreparedCodes, members: tuple[int, ...]) -> Tables:
        if members not in prepared.tables:
            prepared.tables[members] = (
                self._tables[members[0]].at(prepared.encoded).around(self._centres[members[0]])
                if len(members) == 1
                else mean_of([self._of(prepared, (member,)) for member in members])
            )
        return prepared.tables[members]


class PipelineSource:
    """Pipelines that are explained one by one."""

    def __init__(self, pipelines: Sequence[PipelineContributions], centres: Sequence[FloatArray]) -> None:
        self.method = pipelines[0].method
        self.is_precise = all(pipeline.is_precise for pipeline in pipelines)
        self._pipelines = pipelines
        self._centres = centres

    def prepare(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows as they are."""
        return frame

    def explain(self, prepared: pd.DataFrame, members: Sequence[int]) -> Iterator[Explained]:
        """Average over the pipelines; see `Source`."""
        for rows in blocks(len(prepared), _ROWS_AT_ONCE):
            part, log_odds = prepared.iloc[rows], []
            base, total = np.zeros(len(part)), np.zeros((prepared.shape[1], len(part)))
            for member in members:
                of_one, found = self._pipelines[member](part)
                log_odds.append(of_one + found.sum(axis=0))
                base += (of_one + self._centres[member].sum()) / len(members)
                total += (found - self._centres[member][:, None]) / len(members)
            yield Explained(rows, base, total, log_odds)


class TableContributions:
    """Contributions of one additive pipeline, not centred."""

    is_centred_on_rows = True
    is_precise = True

    def __init__(self, pipeline: Pipeline, tables: AdditiveTables) -> None:
        self.method = method_of_tables(pipeline)
        self._tables = tables

    def __call__(self, frame: pd.DataFrame) -> tuple[float, FloatArray]:
        """Return base and contributions; see `PipelineContributions`."""
        encoded = self._tables.encode(frame)
        tables = self._tables.at(encoded)
        return tables.base, tables.contributions(encoded.codes)


class StackContributions:
    """Contributions of a stack: those of its members by their weights in the log-odds."""

    is_centred_on_rows = True

    def __init__(
        self, model: LogOddsStack, columns: tuple[NamedColumn, ...], quantiles: Mapping[str, FloatArray]
    ) -> None:
        self._members = [contributions_of(base, columns, quantiles) for base in model.bases_]
        self._weights = [float(weight) for weight in model.meta_.coef_[0]]
        self._intercept = float(model.meta_.intercept_[0])
        self.is_precise = all(member.is_precise for member in self._members)
        self.method = _STACKED.format("; ".join(dict.fromkeys(member.method for member in self._members)))

    def __call__(self, frame: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
        """Return base and contributions; see `PipelineContributions`."""
        base, total = np.full(len(frame), self._intercept), np.zeros((frame.shape[1], len(frame)))
        for member, weight in zip(self._members, self._weights, strict=True):
            of_one, found = member(frame)
            base += weight * of_one
            total += weight * found
        return base, total


def contributions_of(
    pipeline: Pipeline, columns: tuple[NamedColumn, ...], quantiles: Mapping[str, FloatArray]
) -> PipelineContributions:
    """Return the contributions of one pipeline, the exact ones where its family has them.

    Raises
    ------
    ModelError
        If nothing is known of its family.
    """
    model = classifier_of(pipeline)
    if isinstance(model, LogOddsStack):
        return StackContributions(model, columns, quantiles)
    tables = tables_of_all([pipeline], columns, quantiles)
    if tables is not None:
        return TableContributions(pipeline, tables[0])
    return path_contributions(pipeline, columns)


def contributions_of_all(
    pipelines: Sequence[Pipeline], columns: tuple[NamedColumn, ...], quantiles: Mapping[str, FloatArray]
) -> list[PipelineContributions]:
    """Return the contributions of each pipeline of a model, as `source_of` will tell them when it scores."""
    tables = tables_of_all(pipelines, columns, quantiles)
    if tables is None:
        return [contributions_of(one, columns, quantiles) for one in pipelines]
    # One grid for all: the shares of categories are those of all training rows.
    return [TableContributions(*pair) for pair in zip(pipelines, tables, strict=True)]


def source_of(
    pipelines: Sequence[Pipeline],
    columns: tuple[NamedColumn, ...],
    quantiles: Mapping[str, FloatArray],
    centres: Sequence[FloatArray],
) -> Source:
    """Return the contributions of a model, from tables where all its pipelines are additive."""
    tables = tables_of_all(pipelines, columns, quantiles)
    if tables is not None:
        return TableSource(pipelines, tables, centres)
    return PipelineSource([contributions_of(one, columns, quantiles) for one in pipelines], centres)


def method_of_tables(pipeline: Pipeline) -> str:
    """Return how the contributions of an additive pipeline are defined."""
    return NONE if isinstance(classifier_of(pipeline), DummyClassifier) else EXACT
