"""Log-odds as a base plus looked-up functions of one column and of pairs of columns.

Rows are taken in blocks that stay in a processor's cache. A pair's value goes half and half to its two
columns. Where each pair has mean zero along both of its columns (`without_main_effects`), those halves
are the exact Shapley values of the pair, a column's absence meaning its reference values (Lundberg and Lee
2017, section 2; the interventional form of Janzing et al. 2020): a function of two columns that has no
main effect left is shared equally by symmetry.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Pair:
    """A function of two columns: `scores` by the code of the first and the code of the second."""

    first: int
    second: int
    scores: FloatArray

    @cached_property
    def halves(self) -> FloatArray:
        """Half of each score, in the order of ``first code x number of second codes + second code``."""
        return np.ravel(self.scores) / 2

    def look_up(self, codes: Codes, index: Codes, out: FloatArray) -> FloatArray:
        """Fill `out` with the half that belongs to each row, using `index` as scratch."""
        np.multiply(codes[self.first], self.scores.shape[1], out=index)
        np.add(index, codes[self.second], out=index)
        return np.take(self.halves, index, out=out, mode="wrap")  # the fastest mode; no code wraps


@dataclass(frozen=True)
class Tables:
    """An additive model by the codes of its columns.

    Attributes
    ----------
    base : float
        Log-odds where every function is zero.
    singles : tuple of float arrays
        For each column what each of its codes adds to the log-odds.
    pairs : tuple of Pair
    """

    base: float
    singles: tuple[FloatArray, ...]
    pairs: tuple[Pair, ...] = ()

    def log_odds(self, codes: Codes) -> FloatArray:
        """Return log-odds of shape (n_rows,) for codes of shape (n_columns, n_rows)."""
        result = np.full(codes.shape[1], self.base)
        for rows in blocks(codes.shape[1]):
            total, part = result[rows], codes[:, rows]
            found, index = np.empty(len(total)), np.empty(len(total), dtype=np.intp)
            for scores, column in zip(self.singles, part, strict=True):
                total += np.take(scores, column, out=found, mode="wrap")
            for pair in self.pairs:
                pair.look_up(part, index, found)
                total += found
                total += found
        return result

    def contributions(self, codes: Codes) -> FloatArray:
        """Return what each column adds, of shape (n_columns, n_rows); with `base` it is the log-odds."""
        result = np.empty(codes.shape)
        found, index = np.empty(codes.shape[1]), np.empty(codes.shape[1], dtype=np.intp)
        for scores, column, own in zip(self.singles, codes, result, strict=True):
            np.take(scores, column, out=own, mode="wrap")
        for pair in self.pairs:
            pair.look_up(codes, index, found)
            result[pair.first] += found
            result[pair.second] += found
        return result

    def around(self, centres: FloatArray) -> "Tables":
        """Return the same model with `centres`, of shape (n_columns,), moved from the columns to the base."""
        singles = tuple(scores - centre for scores, centre in zip(self.singles, centres, strict=True))
        return replace(self, base=self.base + float(np.sum(centres)), singles=singles)


def blocks(row_count: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield slices of at most `size` rows."""
    for start in range(0, row_count, size):
        yield slice(start, min(start + size, row_count))


def without_main_effects(tables: Tables, shares: Sequence[FloatArray]) -> Tables:
    """Return the same model with what its pairs tell of one column alone moved to that column.

    Parameters
    ----------
    tables : Tables
    shares : sequence of float arrays
        For each column the share of the reference rows with each code.
    """
    base, singles, pairs = tables.base, [scores.copy() for scores in tables.singles], []
    for pair in tables.pairs:
        of_first = pair.scores @ shares[pair.second]
        of_second = shares[pair.first] @ pair.scores
        mean = float(shares[pair.first] @ of_first)
        singles[pair.first] += of_first - mean
        singles[pair.second] += of_second - mean
        base += mean
        pairs.append(replace(pair, scores=pair.scores - of_first[:, None] - of_second + mean))
    return Tables(base, tuple(singles), tuple(pairs))


def mean_of(models: Sequence[Tables]) -> Tables:
    """Return the mean in log-odds of models on the same codes."""
    if len(models) == 1:
        return models[0]
    pairs: dict[tuple[int, int], FloatArray] = {}
    for model in models:
        for pair in model.pairs:
            key = (pair.first, pair.second)
            pairs[key] = pairs.get(key, 0) + pair.scores / len(models)
    singles = tuple(
        np.mean(np.stack(scores), axis=0) for scores in zip(*(model.singles for model in models), strict=True)
    )
    base = sum(model.base for model in models) / len(models)
    return Tables(base, singles, tuple(Pair(*key, scores) for key, scores in pairs.items()))
