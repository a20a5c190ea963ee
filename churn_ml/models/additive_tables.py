"""Additive pipelines as lookup tables: the same probabilities, reasons at the cost of prediction.

Spline logistic regressions, explainable boosting machines, one rule, and every ensemble no path of which
asks about more than two columns are sums of functions of at most two columns. On integer codes of the
columns such a sum is a few lookups per row.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline

from churn_ml.features.contract import FeatureContract, Kind
from churn_ml.models.additive_forms import Form, form_of
from churn_ml.models.additive_grid import (
    BooleanCoding,
    CategoryCoding,
    Coding,
    CutCoding,
    DistinctCoding,
    Encoded,
    Grid,
    NamedColumn,
    columns_of,
)
from churn_ml.models.lookup_tables import Tables, without_main_effects

FloatArray = npt.NDArray[np.float64]


class AdditiveTables:
    """One fitted pipeline as tables on a grid, which other pipelines of its model may share.

    Parameters
    ----------
    form : Form
        The pipeline's terms.
    grid : Grid
        How columns become codes.
    quantiles : mapping of str to float array, optional
        Where given, pairs are freed of main effects around these training values; see
        `churn_ml.models.contributions.Reference`.
    """

    def __init__(self, form: Form, grid: Grid, quantiles: Mapping[str, FloatArray] | None = None) -> None:
        self.form = form
        self.grid = grid
        self._quantiles = quantiles

    def encode(self, frame: pd.DataFrame) -> Encoded:
        """Return the rows of a frame of `FeatureContract.to_frame` as codes."""
        return self.grid.encode(frame)

    def at(self, encoded: Encoded) -> Tables:
        """Return the tables for what was encoded."""
        if self.form.cuts is None:
            return self.form.tables(encoded.values, self.grid.columns)
        return self._fixed

    def log_odds(self, encoded: Encoded) -> FloatArray:
        """Return the log-odds of churn before calibration, of shape (n_rows,)."""
        return self.at(encoded).log_odds(encoded.codes)

    def probabilities(self, encoded: Encoded) -> FloatArray:
        """Return the probabilities of churn before calibration, of shape (n_rows,)."""
        found: FloatArray = expit(self.log_odds(encoded))
        return found

    @cached_property
    def has_pairs(self) -> bool:
        """Whether a term reads two columns."""
        return self.form.cuts is not None and bool(self._fixed.pairs)

    @cached_property
    def _fixed(self) -> Tables:
        values = self.grid.encode(_empty(self.grid.columns)).values
        tables = self.form.tables(values, self.grid.columns)
        if self._quantiles is None:
            return tables
        return without_main_effects(tables, self.grid.shares(self._quantiles))


def tables_of(pipeline: Pipeline, contract: FeatureContract) -> AdditiveTables | None:
    """Return a fitted pipeline as lookup tables, None where it is not additive in pairs of columns.

    Parameters
    ----------
    pipeline : Pipeline
        As `Candidate.build` gives it, fitted, calibrated or not.
    contract : FeatureContract
        The columns that it was fitted on.
    """
    found = tables_of_all([pipeline], columns_of(contract))
    return found[0] if found else None


def tables_of_all(
    pipelines: Sequence[Pipeline],
    columns: tuple[NamedColumn, ...],
    quantiles: Mapping[str, FloatArray] | None = None,
) -> list[AdditiveTables] | None:
    """Return the pipelines of one model as tables that share one grid, None where one is not additive."""
    forms = [form_of(pipeline, columns) for pipeline in pipelines]
    additive = [form for form in forms if form is not None]
    if len(additive) < len(forms):
        return None
    codings = tuple(_coding(position, column, additive) for position, column in enumerate(columns))
    grid = Grid(columns, codings)
    return [AdditiveTables(form, grid, quantiles) for form in additive]


def _coding(position: int, column: NamedColumn, forms: Sequence[Form]) -> Coding:
    if column.kind is Kind.CATEGORICAL:
        learned = {text for form in forms for text in form.categories.get(position, [])}
        return CategoryCoding(tuple(sorted(learned, key=str)))
    if column.kind is Kind.BOOLEAN:
        return BooleanCoding()
    if any(form.cuts is None for form in forms):
        return DistinctCoding()
    cuts = [np.zeros(0), *((form.cuts or {}).get(position, np.zeros(0)) for form in forms)]
    return CutCoding(np.unique(np.concatenate(cuts)))


def _empty(columns: Sequence[NamedColumn]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            column.name: pd.Categorical([]) if column.kind is Kind.CATEGORICAL else np.zeros(0)
            for column in columns
        }
    )
