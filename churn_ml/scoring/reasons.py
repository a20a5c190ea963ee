"""The reasons of each score as columns of ``scores.customer_scores``.

A reason is a code (``<feature>__raises`` or ``__lowers``), the customer's value as text, its percentile
among the training customers (numbers only), what it adds in log-odds and in percentage points, and
whether the business can change it. Sentences and actions are joined where people read them.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
from scipy.special import expit, logit  # type: ignore[import-untyped]

from churn_ml.features.contract import FeatureColumn, Kind
from churn_ml.models.contributions import NO_COLUMN, Reference, TopReasons

FloatArray = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]

REASON_COUNT = 3
_PARTS = ("code", "value", "percentile", "log_odds", "points", "is_actionable")
REASON_COLUMNS = [f"reason_{rank}_{part}" for rank in range(1, REASON_COUNT + 1) for part in _PARTS]


def reason_columns(
    features: pa.Table,
    reasons: TopReasons,
    calibrated: FloatArray,
    columns: Sequence[FeatureColumn],
    reference: Reference,
) -> dict[str, pa.Array]:
    """Return the columns `REASON_COLUMNS`; all parts of a reason that is not there are null.

    Parameters
    ----------
    features : pyarrow Table
        The columns of the contract as they were read.
    reasons : TopReasons
        Of the same rows, `REASON_COUNT` each.
    calibrated : float array of shape (n_rows,)
    columns : sequence of FeatureColumn
        The contract's columns in order.
    reference : Reference
    """
    # All first reasons, then all second ones: each rank is a slice.
    chosen = reasons.columns.T.ravel().astype(np.intp)
    contributions = reasons.contributions.T.ravel()
    is_none = chosen == NO_COLUMN
    names = [column.name for column in columns]
    codes = pa.array([f"{name}__{way}" for name in names for way in ("raises", "lowers")])
    actionable = pa.array([column.is_actionable for column in columns])
    parts = {
        "code": codes.take(pa.array(2 * chosen + (contributions < 0), mask=is_none)),
        "value": _values(features, chosen, columns),
        "percentile": _percentiles(features, chosen, columns, reference),
        "log_odds": pa.array(contributions, mask=is_none),
        "points": pa.array(_points(np.tile(calibrated, REASON_COUNT), contributions), mask=is_none),
        "is_actionable": actionable.take(pa.array(chosen, mask=is_none)),
    }
    row_count = features.num_rows
    return {
        f"reason_{rank + 1}_{part}": found.slice(rank * row_count, row_count)
        for rank in range(REASON_COUNT)
        for part, found in parts.items()
    }


def _points(calibrated: FloatArray, contributions: FloatArray) -> FloatArray:
    """Return by how many percentage points the probability would differ without the contribution."""
    points: FloatArray = 100 * (calibrated - expit(logit(calibrated) - contributions))
    return points


def _values(features: pa.Table, chosen: Positions, columns: Sequence[FeatureColumn]) -> pa.Array:
    """Return the value behind each reason as text."""
    pieces, order = [pa.nulls(1, pa.string())], np.zeros(len(chosen), dtype=np.intp)
    length = 1
    for position, column in enumerate(columns):
        wanted = np.flatnonzero(chosen == position)
        found = features.column(column.name).take(pa.array(wanted % features.num_rows))
        pieces.append(_as_text(found, column.kind))
        order[wanted] = np.arange(length, length + len(wanted))
        length += len(wanted)
    return pa.concat_arrays(pieces).take(pa.array(order))


def _as_text(found: pa.ChunkedArray, kind: Kind) -> pa.Array:
    if kind is Kind.BOOLEAN:
        found = pa.compute.if_else(found, "yes", "no")
    return found.cast(pa.string()).combine_chunks()


def _percentiles(
    features: pa.Table, chosen: Positions, columns: Sequence[FeatureColumn], reference: Reference
) -> pa.Array:
    found = np.full(len(chosen), np.nan)
    for position, column in enumerate(columns):
        wanted = np.flatnonzero(chosen == position)
        if column.kind is Kind.NUMERIC and len(wanted):
            values = features.column(column.name).take(pa.array(wanted % features.num_rows))
            numbers = values.cast(pa.float64()).to_numpy()
            found[wanted] = reference.percentiles(column.name, numbers)
    is_unknown = np.isnan(found)
    return pa.array(np.where(is_unknown, 0, found).astype(np.int16), mask=is_unknown)
