"""The contributions of each row that weigh most, picked a block of rows at a time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

NO_COLUMN = -1


@dataclass(frozen=True)
class TopReasons:
    """What moves the score of each row most.

    Attributes
    ----------
    columns : int16 array of shape (n_rows, count)
        Positions of the features, most weight first; -1 where no further one adds anything.
    contributions : float array of shape (n_rows, count)
        What they add to the log-odds of the raw score; 0 where there is no feature.
    log_odds : float array of shape (n_rows,)
        Log-odds of the raw score: `base` plus the contributions of all features.
    base : float array of shape (n_rows,)
        Log-odds of the average training customer.
    """

    columns: npt.NDArray[np.int16]
    contributions: FloatArray
    log_odds: FloatArray
    base: FloatArray

    @classmethod
    def empty(cls, row_count: int, count: int) -> "TopReasons":
        """Return reasons to be filled in."""
        return cls(
            np.full((row_count, count), NO_COLUMN, dtype=np.int16),
            np.zeros((row_count, count)),
            np.empty(row_count),
            np.empty(row_count),
        )

    def fill(self, rows: npt.NDArray[np.intp] | slice, base: FloatArray | float, found: FloatArray) -> None:
        """Fill in `rows` from their base and contributions of shape (n_columns, n_rows)."""
        self.base[rows] = base
        self.log_odds[rows] = base + found.sum(axis=0)
        columns, contributions = pick(found, self.columns.shape[1])
        self.columns[rows, : len(columns)] = columns.T
        self.contributions[rows, : len(columns)] = contributions.T


def pick(contributions: FloatArray, count: int) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Return the columns of the largest contributions by size, and these, each of shape (count, n_rows).

    Sizes that agree in all but the last few of their 52 bits count as equal; of equal ones the first
    column is taken. With fewer than `count` columns there are fewer rows of results.

    Parameters
    ----------
    contributions : float array of shape (n_columns, n_rows)
    count : int
    """
    column_count, row_count = contributions.shape
    last = column_count - 1
    mask = np.int64((1 << max(last, 1).bit_length()) - 1)
    # A size with its column in the lowest bits is still a number, so that maxima carry the column along.
    sizes = np.abs(contributions)
    keys = sizes.view(np.int64)
    keys &= ~mask
    keys |= (last - np.arange(column_count))[:, None]
    best = np.full((min(count, column_count), row_count), -1.0)
    smaller = np.empty(row_count)
    for key in sizes:
        for place in best:
            np.minimum(place, key, out=smaller)
            np.maximum(place, key, out=place)
            key, smaller = smaller, key
    columns = last - (best.view(np.int64) & mask)
    found = np.take_along_axis(contributions, columns, axis=0)
    columns[found == 0] = NO_COLUMN
    return columns, found
