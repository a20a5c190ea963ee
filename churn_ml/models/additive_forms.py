"""What makes a fitted pipeline additive: the terms of each family, evaluated at the values of codes.

A form is evaluated on a frame that holds the values of every column from its top, put through the
fitted columns step itself; nothing of imputing, splines or indicators is written twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit  # type: ignore[import-untyped]
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer

from churn_ml.features.categories import CategoryCodes, CategoryIndicators
from churn_ml.features.contract import Kind
from churn_ml.models.additive_grid import NamedColumn, padded
from churn_ml.models.calibration import CalibratedClassifier
from churn_ml.models.calibrators import clip_probabilities
from churn_ml.models.explainable import ExplainableBoosting, bins
from churn_ml.models.lookup_tables import Pair, Tables
from churn_ml.models.tree_arrays import LEAF, Tree, Trees, leaves_below, trees_of

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outputs:
    """The columns step of a fitted pipeline.

    Attributes
    ----------
    step : ColumnTransformer
    owners : list of int
        For each output the position of the one column that it is made of.
    categories : dict of int to list of str
        The learned categories by position of their column.
    """

    step: ColumnTransformer
    owners: list[int]
    categories: dict[int, list[str]]

    def at(self, values: Sequence["pd.Series[Any]"], columns: Sequence[NamedColumn]) -> list[FloatArray]:
        """Return each output at the values of its owner."""
        by_name = {column.name: found for column, found in zip(columns, values, strict=True)}
        outputs: list[FloatArray] = [np.zeros(0)] * len(self.owners)
        for name, transformer, names in self.step.transformers_:
            indices = self.step.output_indices_[name]
            if indices.stop > indices.start:
                found = np.asarray(transformer.transform(padded({item: by_name[item] for item in names})))
                for index, output in zip(range(indices.start, indices.stop), found.T, strict=True):
                    outputs[index] = output[: len(values[self.owners[index]])]
        return outputs


class Form(Protocol):
    """The additive terms of one fitted pipeline."""

    @property
    def cuts(self) -> Mapping[int, FloatArray] | None:
        """Ascending cuts of each column with cuts; None where numbers are read smoothly."""

    @property
    def categories(self) -> Mapping[int, list[str]]:
        """The categories of each column that has some."""

    def tables(self, values: Sequence["pd.Series[Any]"], columns: Sequence[NamedColumn]) -> Tables:
        """Return the terms at the values of each column's codes."""


def classifier_of(pipeline: Pipeline) -> Any:
    """Return the last step of a fitted pipeline, without its calibrator."""
    model = pipeline[-1]
    return model.estimator if isinstance(model, CalibratedClassifier) else model


def form_of(pipeline: Pipeline, columns: Sequence[NamedColumn]) -> Form | None:
    """Return the additive form of a fitted pipeline, None where it has none."""
    model = classifier_of(pipeline)
    if isinstance(model, DummyClassifier) and model.strategy == "prior":
        return ConstantForm(float(logit(clip_probabilities(model.class_prior_[-1:]))[0]))
    outputs = outputs_of(pipeline[0], columns)
    if outputs is None:
        return None
    if isinstance(model, LogisticRegression):
        return LinearForm(outputs, model.coef_[0], float(model.intercept_[0]))
    if isinstance(model, ExplainableBoosting):
        return TermForm(outputs, model)
    trees = trees_of(model)
    if trees is None or not all(_is_pairwise(tree, outputs.owners) for tree in trees.trees):
        return None
    return TreeForm(outputs, trees)


@dataclass(frozen=True)
class ConstantForm:
    """One rate for everyone."""

    base: float

    @property
    def cuts(self) -> Mapping[int, FloatArray]:
        """See `Form`."""
        return {}

    @property
    def categories(self) -> Mapping[int, list[str]]:
        """See `Form`."""
        return {}

    def tables(self, values: Sequence["pd.Series[Any]"], columns: Sequence[NamedColumn]) -> Tables:
        """Return no terms."""
        del columns
        return Tables(self.base, tuple(np.zeros(len(column)) for column in values))


@dataclass(frozen=True)
class LinearForm:
    """A logistic regression on outputs of single columns."""

    outputs: Outputs
    coefficients: FloatArray
    intercept: float
    cuts: None = None

    @property
    def categories(self) -> Mapping[int, list[str]]:
        """See `Form`."""
        return self.outputs.categories

    def tables(self, values: Sequence["pd.Series[Any]"], columns: Sequence[NamedColumn]) -> Tables:
        """Return each column's function at its values."""
        found = self.outputs.at(values, columns)
        singles = [np.zeros(len(column)) for column in values]
        for owner, output, coefficient in zip(self.outputs.owners, found, self.coefficients, strict=True):
            singles[owner] += coefficient * output
        return Tables(self.intercept, tuple(singles))


@dataclass(frozen=True)
class TermForm:
    """An explainable boosting machine."""

    outputs: Outputs
    model: ExplainableBoosting

    @property
    def cuts(self) -> Mapping[int, FloatArray]:
        """See `Form`."""
        both = zip(self.outputs.owners, self.model.cuts_, self.model.pair_cuts_, strict=True)
        return _merged((owner, np.concatenate([own, paired])) for owner, own, paired in both)

    @property
    def categories(self) -> Mapping[int, list[str]]:
        """See `Form`."""
        return self.outputs.categories

    def tables(self, values: Sequence["pd.Series[Any]"], columns: Sequence[NamedColumn]) -> Tables:
        """Return the learned terms at the values."""
        found = self.outputs.at(values, columns)
        terms = _Terms(values)
        for positions, scores in zip(self.model.term_columns_, self.model.term_scores_, strict=True):
            cuts = self.model.cuts_ if len(positions) == 1 else self.model.pair_cuts_
            owners = [self.outputs.owners[position] for position in positions]
            codes = [bins(found[position], cuts[position]) for position in positions]
            terms.add(owners, scores[np.ix_(*codes)])
        return terms.tables(self.model.intercept_)


@dataclass(frozen=True)
class TreeForm:
    """Trees no path of which asks about more than two columns."""

    outputs: Outputs
    trees: Trees

    @property
    def cuts(self) -> Mapping[int, FloatArray]:
        """See `Form`."""
        return _merged(
            (self.outputs.owners[output], np.array([cut]))
            for tree in self.trees.trees
            for output, cut in zip(tree.outputs, tree.cuts, strict=True)
            if output != LEAF
        )

    @property
    def categories(self) -> Mapping[int, list[str]]:
        """See `Form`."""
        return self.outputs.categories

    def tables(self, values: Sequence["pd.Series[Any]"], columns: Sequence[NamedColumn]) -> Tables:
        """Return the sum of the leaves of all trees at the values."""
        found = self.outputs.at(values, columns)
        terms = _Terms(values)
        base = self.trees.base
        for tree in self.trees.trees:
            goes_left = {
                node: _goes_left(tree, node, found[tree.outputs[node]])
                for node in np.flatnonzero(tree.outputs != LEAF).tolist()
            }
            for leaf, path in leaves_below(tree):
                reached = self._reached(tree, leaf, path, goes_left)
                if not reached:
                    base += tree.values[leaf]
                terms.add_where(reached, tree.values[leaf])
        return terms.tables(base)

    def _reached(
        self, tree: Tree, leaf: int, path: tuple[int, ...], goes_left: Mapping[int, npt.NDArray[np.bool_]]
    ) -> dict[int, npt.NDArray[np.bool_]]:
        """Return for each column on the way which of its codes lead to the leaf."""
        reached: dict[int, npt.NDArray[np.bool_]] = {}
        for node, child in zip(path, (*path, leaf)[1:], strict=True):
            owner = self.outputs.owners[tree.outputs[node]]
            passes = goes_left[node] if tree.left[node] == child else ~goes_left[node]
            reached[owner] = reached[owner] & passes if owner in reached else passes
        return reached


class _Terms:
    """Functions of one and of two columns that are summed up."""

    def __init__(self, values: Sequence["pd.Series[Any]"]) -> None:
        self._sizes = [len(column) for column in values]
        self._singles = [np.zeros(size) for size in self._sizes]
        self._pairs: dict[tuple[int, int], FloatArray] = {}

    def add(self, owners: Sequence[int], scores: FloatArray) -> None:
        """Add a function of one or of two columns; two outputs may come from one column."""
        if len(owners) == 1:
            self._singles[owners[0]] += scores
        elif owners[0] == owners[1]:
            self._singles[owners[0]] += scores.diagonal()
        elif owners[0] > owners[1]:
            self._pair(owners[1], owners[0])[...] += scores.T
        else:
            self._pair(owners[0], owners[1])[...] += scores

    def add_where(self, reached: Mapping[int, npt.NDArray[np.bool_]], value: float) -> None:
        """Add a value at the codes that are reached in one or two columns."""
        if len(reached) == 1:
            [(owner, codes)] = reached.items()
            self._singles[owner][codes] += value
        elif len(reached) == 2:
            [(first, of_first), (second, of_second)] = sorted(reached.items())
            self._pair(first, second)[np.ix_(of_first, of_second)] += value

    def tables(self, base: float) -> Tables:
        """Return what was summed up."""
        pairs = (Pair(*key, scores) for key, scores in self._pairs.items())
        return Tables(float(base), tuple(self._singles), tuple(pairs))

    def _pair(self, first: int, second: int) -> FloatArray:
        shape = (self._sizes[first], self._sizes[second])
        return self._pairs.setdefault((first, second), np.zeros(shape))


def outputs_of(step: Any, columns: Sequence[NamedColumn]) -> Outputs | None:
    """Return the outputs of a fitted columns step, None where one is made of several columns or unknown."""
    if not isinstance(step, ColumnTransformer):
        return None
    position = {column.name: index for index, column in enumerate(columns)}
    kinds = [column.kind for column in columns]
    owners: dict[int, int] = {}
    categories: dict[int, list[str]] = {}
    for name, transformer, names in step.transformers_:
        found = None if isinstance(names, slice) else _owners(transformer, [position[item] for item in names])
        if found is None:
            return None
        indices = step.output_indices_[name]
        owners |= dict(zip(range(indices.start, indices.stop), found, strict=True))
        if isinstance(transformer, CategoryCodes | CategoryIndicators):
            learned = zip(names, transformer.categories_, strict=True)
            categories |= {position[item]: list(texts) for item, texts in learned}
    if any(kinds[owner] is Kind.CATEGORICAL and owner not in categories for owner in owners.values()):
        return None
    return Outputs(step, [owners[index] for index in range(len(owners))], categories)


def _owners(transformer: Any, columns: list[int]) -> list[int] | None:
    """Return for each output of a transformer the column that it is made of."""
    if isinstance(transformer, Pipeline):
        found: list[int] | None = columns
        for step in transformer:
            found = None if found is None else _owners(step, found)
        return found
    if isinstance(transformer, CategoryCodes):
        return columns
    if isinstance(transformer, FunctionTransformer):
        return columns if transformer.func is None else None
    repeats = _repeats(transformer)
    return None if repeats is None else [columns[position] for position in repeats]


def _repeats(transformer: Any) -> list[int] | None:
    if isinstance(transformer, SplineTransformer):
        each = transformer.n_features_out_ // transformer.n_features_in_
        return [position for position in range(transformer.n_features_in_) for _ in range(each)]
    if isinstance(transformer, MissingIndicator):
        return [int(position) for position in transformer.features_]
    if isinstance(transformer, SimpleImputer):
        kept = np.flatnonzero(~pd.isna(transformer.statistics_)).tolist()
        return kept + (_repeats(transformer.indicator_) or [] if transformer.add_indicator else [])
    if isinstance(transformer, CategoryIndicators):
        widths = zip(transformer.categories_, transformer.has_missing_, strict=True)
        return [position for position, (texts, gone) in enumerate(widths) for _ in range(len(texts) + gone)]
    return None


def _is_pairwise(tree: Tree, owners: Sequence[int]) -> bool:
    return all(len({owners[tree.outputs[node]] for node in path}) <= 2 for _, path in leaves_below(tree))


def _goes_left(tree: Tree, node: int, values: FloatArray) -> npt.NDArray[np.bool_]:
    below: npt.NDArray[np.bool_] = values < tree.cuts[node]
    return np.where(np.isnan(values), tree.is_missing_left[node], below)


def _merged(cuts: Iterator[tuple[int, FloatArray]]) -> Mapping[int, FloatArray]:
    """Return the finite cuts of each column, sorted and each once."""
    gathered: dict[int, list[FloatArray]] = {}
    for owner, found in cuts:
        gathered.setdefault(owner, []).append(found[np.isfinite(found)])
    return {owner: np.unique(np.concatenate(found)) for owner, found in gathered.items()}
