"""Fitted trees of any library as plain arrays that ask one kind of question: below the cut or not."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logit  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.tree import DecisionTreeClassifier

from churn_ml.models.calibrators import clip_probabilities
from churn_ml.models.text_boosters import LightgbmClassifier, XgboostClassifier

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

LEAF = -1


@dataclass(frozen=True)
class Tree:
    """One tree; node 0 is its root.

    Attributes
    ----------
    outputs : int array of shape (n_nodes,)
        Which output of the columns step a node asks about, `LEAF` where it asks nothing.
    cuts : float array of shape (n_nodes,)
        A value below its node's cut goes left, any other right.
    is_missing_left : bool array of shape (n_nodes,)
        Whether a missing value goes left.
    left, right : int arrays of shape (n_nodes,)
    values : float array of shape (n_nodes,)
        What a leaf adds; at other nodes the mean of the leaves below, weighted by training rows.
    """

    outputs: IntArray
    cuts: FloatArray
    is_missing_left: npt.NDArray[np.bool_]
    left: IntArray
    right: IntArray
    values: FloatArray


@dataclass(frozen=True)
class Trees:
    """An ensemble whose log-odds are `base` plus what one leaf of each tree adds."""

    base: float
    trees: tuple[Tree, ...]


def trees_of(model: Any) -> Trees | None:
    """Return the trees of a fitted classifier whose leaves add up to log-odds, None for any other."""
    if isinstance(model, HistGradientBoostingClassifier):
        return _histogram_trees(model)
    if isinstance(model, DecisionTreeClassifier):
        return Trees(0.0, (single_tree(model, in_log_odds=True),))
    if isinstance(model, LightgbmClassifier):
        return _lightgbm_trees(model)
    if isinstance(model, XgboostClassifier):
        return _xgboost_trees(model)
    return None


def leaves_below(tree: Tree) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield each leaf with the nodes on its path, root first, the leaf itself left out."""
    waiting: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while waiting:
        node, path = waiting.pop()
        if tree.outputs[node] == LEAF:
            yield node, path
        else:
            waiting += [(int(child[node]), (*path, node)) for child in (tree.right, tree.left)]


def single_tree(model: DecisionTreeClassifier, *, in_log_odds: bool) -> Tree:
    """Return a decision tree whose leaves are log-odds, or probabilities, of the second class.

    scikit-learn's trees compare values that were rounded to single precision.
    """
    fitted = model.tree_
    second = fitted.value[:, 0, -1].astype(np.float64) if len(model.classes_) > 1 else np.zeros(0)
    above = np.nextafter(fitted.threshold.astype(np.float32), np.float32(np.inf))
    rounded = fitted.threshold.astype(np.float32)
    first_right = np.where(rounded > fitted.threshold, rounded, above)
    return _tree(
        outputs=np.where(fitted.children_left < 0, LEAF, fitted.feature),
        cuts=_single_precision_cuts(first_right),
        is_missing_left=fitted.missing_go_to_left.astype(bool),
        left=fitted.children_left,
        right=fitted.children_right,
        values=logit(clip_probabilities(second)) if in_log_odds else second,
        weights=fitted.weighted_n_node_samples,
    )


def _histogram_trees(model: HistGradientBoostingClassifier) -> Trees:
    found = []
    for [predictor] in model._predictors:
        nodes = predictor.nodes
        is_leaf = nodes["is_leaf"].astype(bool)
        found.append(
            _tree(
                outputs=np.where(is_leaf, LEAF, nodes["feature_idx"]),
                cuts=np.nextafter(nodes["num_threshold"], np.inf),
                is_missing_left=nodes["missing_go_to_left"].astype(bool),
                left=nodes["left"],
                right=nodes["right"],
                values=nodes["value"],
                weights=nodes["count"],
            )
        )
    return Trees(float(model._baseline_prediction[0, 0]), tuple(found))


def _lightgbm_trees(model: LightgbmClassifier) -> Trees | None:
    """Read the dump; its first tree carries the base."""
    found = []
    for content in model.booster.dump_model()["tree_info"]:
        nodes = list(_walk_lightgbm(content["tree_structure"]))
        splits = [node for node in nodes if "split_feature" in node]
        if any(node["missing_type"] == "Zero" or node["decision_type"] != "<=" for node in splits):
            return None
        position = {id(node): index for index, node in enumerate(nodes)}
        found.append(
            _tree(
                outputs=[node.get("split_feature", LEAF) for node in nodes],
                cuts=np.nextafter([node.get("threshold", 0.0) for node in nodes], np.inf),
                is_missing_left=[_is_missing_left(node) for node in nodes],
                left=[position.get(id(node.get("left_child")), LEAF) for node in nodes],
                right=[position.get(id(node.get("right_child")), LEAF) for node in nodes],
                values=[node.get("leaf_value", 0.0) for node in nodes],
                weights=[node.get("leaf_count", node.get("internal_count", 1)) for node in nodes],
            )
        )
    return Trees(0.0, tuple(found))


def _walk_lightgbm(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    if "split_feature" in node:
        yield from _walk_lightgbm(node["left_child"])
        yield from _walk_lightgbm(node["right_child"])


def _is_missing_left(node: dict[str, Any]) -> bool:
    """Tell where a missing value goes; where none was seen in training LightGBM reads it as zero."""
    if node.get("missing_type") == "None":
        return bool(node["threshold"] >= 0)
    return bool(node.get("default_left", False))


def _xgboost_trees(model: XgboostClassifier) -> Trees:
    """Read the JSON; XGBoost compares values rounded to single precision."""
    learner = json.loads(model.model_text_)["learner"]
    base = float(learner["learner_model_param"]["base_score"].strip("[]"))
    found = []
    for content in learner["gradient_booster"]["model"]["trees"]:
        left = np.array(content["left_children"])
        conditions = np.array(content["split_conditions"], dtype=np.float32)
        found.append(
            _tree(
                outputs=np.where(left < 0, LEAF, content["split_indices"]),
                cuts=_single_precision_cuts(conditions),
                is_missing_left=np.array(content["default_left"], dtype=bool),
                left=left,
                right=np.array(content["right_children"]),
                values=conditions,
                weights=np.array(content["sum_hessian"]),
            )
        )
    return Trees(float(logit(base)), tuple(found))


def _tree(
    outputs: Any, cuts: Any, is_missing_left: Any, left: Any, right: Any, values: Any, weights: Any
) -> Tree:
    left, right = np.asarray(left, dtype=np.intp), np.asarray(right, dtype=np.intp)
    outputs = np.asarray(outputs, dtype=np.intp)
    means = np.array(values, dtype=np.float64)
    weights = np.asarray(weights, dtype=np.float64)
    for node in range(len(means) - 1, -1, -1):  # children have higher numbers than their parents
        if outputs[node] != LEAF:
            children = [left[node], right[node]]
            means[node] = np.average(means[children], weights=weights[children])
    missing = np.asarray(is_missing_left, dtype=bool)
    return Tree(outputs, np.asarray(cuts, dtype=np.float64), missing, left, right, means)


def _single_precision_cuts(first_right: npt.NDArray[np.float32]) -> FloatArray:
    """Return the least doubles that round to `first_right`, the least single that goes right, or above."""
    below = np.nextafter(first_right, np.float32(-np.inf)).astype(np.float64)
    middle = (below + first_right.astype(np.float64)) / 2
    cuts: FloatArray = np.where(
        middle.astype(np.float32) >= first_right, middle, np.nextafter(middle, np.inf)
    )
    return cuts
