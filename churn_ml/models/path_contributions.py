"""What each column adds along the paths of trees, for ensembles that no tables hold.

On the way to a leaf the mean of the training rows changes with every question; each change belongs to
the column asked about (Saabas 2014, "Interpreting random forests"). The changes add up to the leaf and
cost little more than finding it. They are no Shapley values: of columns that share an effect, those
asked about further from the root get more.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array  # type: ignore[import-untyped]
from scipy.special import logit  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from churn_ml.errors import ModelError
from churn_ml.models.additive_forms import Outputs, classifier_of, outputs_of
from churn_ml.models.additive_grid import NamedColumn
from churn_ml.models.calibrators import clip_probabilities
from churn_ml.models.text_boosters import LightgbmClassifier, XgboostClassifier
from churn_ml.models.tree_arrays import Tree, leaves_below, single_tree, trees_of

FloatArray = npt.NDArray[np.float64]
LeafFinder = Callable[[FloatArray], Sequence[npt.NDArray[Any]]]

PATHS = (
    "path attributions (Saabas) in log-odds, against the training mean; they add up to the score and are no "
    "Shapley values"
)
SCALED_PATHS = (
    "path attributions (Saabas) in probability, against the training mean, brought to log-odds by one factor "
    "per row so that they add up to the score; no Shapley values"
)
APPROXIMATE = (
    "XGBoost's approximate contributions in log-odds: path attributions (Saabas) with hessians as weights, "
    "in single precision; they add up to the score and are no Shapley values"
)


class PipelineContributions(Protocol):
    """Contributions of one fitted pipeline.

    Attributes
    ----------
    method : str
        How they are defined.
    is_centred_on_rows : bool
        Whether the mean over the training rows has yet to be moved to the base.
    is_precise : bool
        Whether they add up to the score in double precision.
    """

    method: str
    is_centred_on_rows: bool
    is_precise: bool

    def __call__(self, frame: pd.DataFrame) -> tuple[FloatArray | float, FloatArray]:
        """Return base, a number or of shape (n_rows,), and contributions of shape (n_columns, n_rows)."""


def path_contributions(pipeline: Pipeline, columns: Sequence[NamedColumn]) -> PipelineContributions:
    """Return the contributions of a pipeline of trees.

    Raises
    ------
    ModelError
        If the pipeline holds no trees that are known here.
    """
    model = classifier_of(pipeline)
    outputs = outputs_of(pipeline[0], columns)
    if outputs is not None:
        if isinstance(model, XgboostClassifier):
            return XgboostContributions(model, outputs, len(columns))
        if isinstance(model, RandomForestClassifier):
            return ForestContributions(model, outputs, len(columns))
        if isinstance(model, HistGradientBoostingClassifier | LightgbmClassifier | DecisionTreeClassifier):
            return LeafContributions(model, outputs, len(columns))
    raise ModelError(
        f"Expected a family whose scores can be explained, found {type(model).__name__} on "
        f"{type(pipeline[0]).__name__}. Give it contributions in churn_ml/models/path_contributions.py."
    )


class LeafContributions:
    """Trees whose leaves add up to log-odds: what each leaf owes to each column, looked up."""

    method = PATHS
    is_centred_on_rows = False
    is_precise = True

    def __init__(self, model: Any, outputs: Outputs, column_count: int) -> None:
        found = trees_of(model)
        if found is None:
            raise ModelError(
                f"Expected trees that ask whether a number is below a cut, found others in "
                f"{type(model).__name__}. Train it without native categories."
            )
        self._step = outputs.step
        self._leaves = _leaf_finder(model)
        self._sums = _LeafSums([_owed(tree, outputs.owners, column_count) for tree in found.trees])
        self._base = found.base + sum(tree.values[0] for tree in found.trees)

    def __call__(self, frame: pd.DataFrame) -> tuple[float, FloatArray]:
        """Return base and contributions; see `PipelineContributions`."""
        leaves = self._leaves(np.ascontiguousarray(self._step.transform(frame), dtype=np.float64))
        return float(self._base), self._sums(leaves)


class ForestContributions:
    """A forest, whose mean is taken in probability."""

    method = SCALED_PATHS
    is_centred_on_rows = False
    is_precise = True

    def __init__(self, model: RandomForestClassifier, outputs: Outputs, column_count: int) -> None:
        trees = [single_tree(member, in_log_odds=False) for member in model.estimators_]
        self._step = outputs.step
        self._members = [member.tree_ for member in model.estimators_]
        self._sums = _LeafSums([_owed(tree, outputs.owners, column_count) / len(trees) for tree in trees])
        self._base = float(np.mean([tree.values[0] for tree in trees]))

    def __call__(self, frame: pd.DataFrame) -> tuple[float, FloatArray]:
        """Return base and contributions; see `PipelineContributions`."""
        values = np.ascontiguousarray(self._step.transform(frame), dtype=np.float32)
        found = self._sums([tree.apply(values) for tree in self._members])
        base = float(logit(clip_probabilities(np.array([self._base])))[0])
        change = found.sum(axis=0)
        in_log_odds = logit(clip_probabilities(self._base + change)) - base
        slope = 1 / (self._base * (1 - self._base))
        is_still = np.abs(change) < 1e-12
        found *= np.where(is_still, slope, in_log_odds / np.where(is_still, 1, change))
        return base, found


class XgboostContributions:
    """XGBoost's own approximate contributions, which cost a fraction of its exact ones."""

    method = APPROXIMATE
    is_centred_on_rows = True  # hessians do not weigh as the training rows do
    is_precise = False

    def __init__(self, model: XgboostClassifier, outputs: Outputs, column_count: int) -> None:
        self._step = outputs.step
        self._booster = model.booster
        self._of_columns = np.eye(column_count)[outputs.owners]

    def __call__(self, frame: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
        """Return base and contributions; see `PipelineContributions`."""
        import xgboost

        data = xgboost.DMatrix(self._step.transform(frame), nthread=1)
        found = self._booster.predict(data, pred_contribs=True, approx_contribs=True, validate_features=False)
        contributions = self._of_columns.T @ found[:, :-1].T.astype(np.float64)
        return found[:, -1].astype(np.float64), contributions


def _owed(tree: Tree, owners: Sequence[int], column_count: int) -> FloatArray:
    """Return what each leaf owes to each column, of shape (n_nodes, n_columns); other nodes are zero."""
    owed = np.zeros((len(tree.values), column_count))
    for leaf, path in leaves_below(tree):
        for node, child in zip(path, (*path[1:], leaf), strict=True):
            owed[leaf, owners[tree.outputs[node]]] += tree.values[child] - tree.values[node]
    return owed


class _LeafSums:
    """The sum over trees of what the leaves that a row reaches owe: a product with one 1 per tree and row."""

    def __init__(self, owed: Sequence[FloatArray]) -> None:
        self._first = np.cumsum([0, *(len(of_tree) for of_tree in owed)])[:-1].astype(np.int32)
        self._owed = np.concatenate(owed)

    def __call__(self, leaves: Sequence[npt.NDArray[Any]]) -> FloatArray:
        """Return sums of shape (n_columns, n_rows) for the leaves of each tree, each of shape (n_rows,)."""
        tree_count, row_count = len(leaves), len(leaves[0])
        reached = np.empty((row_count, tree_count), dtype=np.int32)
        for tree, (found, first) in enumerate(zip(leaves, self._first, strict=True)):
            np.add(found, first, out=reached[:, tree], casting="unsafe")
        starts = np.arange(0, reached.size + 1, tree_count, dtype=np.int32)
        shape = (row_count, len(self._owed))
        chosen = csr_array((np.ones(reached.size), reached.ravel(), starts), shape=shape)
        return np.ascontiguousarray((chosen @ self._owed).T)


def _leaf_finder(model: Any) -> LeafFinder:
    """Return what tells the leaf of each tree that a row reaches, by the library's own code."""
    if isinstance(model, DecisionTreeClassifier):
        return lambda values: [model.tree_.apply(values.astype(np.float32))]
    if isinstance(model, LightgbmClassifier):
        return _lightgbm_leaf_finder(model)
    return _histogram_leaf_finder(model)


def _histogram_leaf_finder(model: HistGradientBoostingClassifier) -> LeafFinder:
    """Predict with trees that hold the number of each node where its value was."""
    numbered = []
    for [predictor] in model._predictors:
        nodes = predictor.nodes.copy()
        nodes["value"] = np.arange(len(nodes))
        numbered.append(
            type(predictor)(nodes, predictor.binned_left_cat_bitsets, predictor.raw_left_cat_bitsets)
        )
    known, index = model._bin_mapper.make_known_categories_bitsets()
    return lambda values: [
        tree.predict(values, known_cat_bitsets=known, f_idx_map=index, n_threads=1).astype(np.intp)
        for tree in numbered
    ]


def _lightgbm_leaf_finder(model: LightgbmClassifier) -> LeafFinder:
    booster = model.booster
    numbers = [_leaf_numbers(content["tree_structure"]) for content in booster.dump_model()["tree_info"]]

    def find(values: FloatArray) -> list[npt.NDArray[Any]]:
        reached = booster.predict(values, pred_leaf=True, num_threads=1).reshape(len(values), -1)
        return [nodes[leaves] for nodes, leaves in zip(numbers, reached.T, strict=True)]

    return find


def _leaf_numbers(root: dict[str, Any]) -> npt.NDArray[np.intp]:
    """Return the node, counted from the root in the order of `tree_arrays`, of each leaf of LightGBM."""
    waiting, node, found = [root], 0, {}
    while waiting:
        current = waiting.pop()
        if "split_feature" in current:
            waiting += [current["right_child"], current["left_child"]]
        else:
            found[current.get("leaf_index", 0)] = node
        node += 1
    return np.array([found[leaf] for leaf in range(len(found))], dtype=np.intp)
