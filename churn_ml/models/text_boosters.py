"""LightGBM and XGBoost as estimators whose whole learned state is the library's own text.

A booster object would have to be loaded by its own unpickling code; text goes through the library's
model parser only. After fitting, the booster that predicts is the one read back from the text, so
that a stored model predicts to the bit what the fitted one did.

Both fit with one thread, take no sample weights, and leave missing values to the trees.
"""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

FloatArray = npt.NDArray[np.float64]


class _TextBooster(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Binary classification by a booster that is kept as text.

    Attributes
    ----------
    classes_ : array of shape (2,)
    model_text_ : str
        The booster in its library's own format.
    """

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Train on `X` of shape (n_samples, n_features), numbers or NaN, and labels of two classes."""
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")  # noqa: N806
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            found = f"{len(self.classes_)} class" + ("" if len(self.classes_) == 1 else "es")
            raise ValueError(f"Only binary classification is supported. Expected 2 classes, found {found}.")
        self.model_text_ = self._train(X, codes.astype(np.float64))
        self._booster = self._read(self.model_text_)
        return self

    def decision_function(self, X: Any) -> FloatArray:  # noqa: N803
        """Return log-odds of the second class, shape (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)  # noqa: N806
        return self._log_odds(X)

    def predict_proba(self, X: Any) -> FloatArray:  # noqa: N803
        """Return probabilities of both classes, shape (n_samples, 2)."""
        second = expit(self.decision_function(X))
        return np.column_stack([1 - second, second])

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the more probable class of each row."""
        is_second = self.decision_function(X) > 0
        labels: npt.NDArray[Any] = self.classes_[is_second.astype(int)]
        return labels

    @property
    def booster(self) -> Any:
        """The library's booster."""
        check_is_fitted(self)
        return self._booster

    @abstractmethod
    def _train(self, X: FloatArray, y: FloatArray) -> str: ...  # noqa: N803

    @abstractmethod
    def _read(self, text: str) -> Any: ...

    @abstractmethod
    def _log_odds(self, X: FloatArray) -> FloatArray: ...  # noqa: N803

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_booster"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_text_" in state:
            self._booster = self._read(self.model_text_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags


class LightgbmClassifier(_TextBooster):
    """LightGBM, `penalty` being its L2 penalty of leaf values.

    `booster` is a ``lightgbm.Booster``.
    """

    def __init__(
        self,
        tree_count: int = 100,
        most_leaves: int = 31,
        learning_rate: float = 0.1,
        least_leaf: int = 20,
        penalty: float = 0.0,
        feature_share: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.tree_count = tree_count
        self.most_leaves = most_leaves
        self.learning_rate = learning_rate
        self.least_leaf = least_leaf
        self.penalty = penalty
        self.feature_share = feature_share
        self.seed = seed

    def _train(self, X: FloatArray, y: FloatArray) -> str:  # noqa: N803
        import lightgbm

        parameters = {
            "objective": "binary",
            "num_leaves": self.most_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.least_leaf,
            "lambda_l2": self.penalty,
            "feature_fraction": self.feature_share,
            "seed": self.seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(X, label=y, params={"verbosity": -1}, free_raw_data=True)
        text: str = lightgbm.train(parameters, data, num_boost_round=self.tree_count).model_to_string()
        return text

    def _read(self, text: str) -> Any:
        import lightgbm

        return lightgbm.Booster(model_str=text)

    def _log_odds(self, X: FloatArray) -> FloatArray:  # noqa: N803
        return np.asarray(self._booster.predict(X, raw_score=True, num_threads=1), dtype=np.float64)


class XgboostClassifier(_TextBooster):
    """XGBoost by histograms, `penalty` being its L2 penalty of leaf values.

    `booster` is an ``xgboost.Booster``; its leaves and log-odds are single precision.
    """

    def __init__(
        self,
        tree_count: int = 100,
        depth: int = 6,
        learning_rate: float = 0.3,
        least_leaf_weight: float = 1.0,
        penalty: float = 1.0,
        feature_share: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.tree_count = tree_count
        self.depth = depth
        self.learning_rate = learning_rate
        self.least_leaf_weight = least_leaf_weight
        self.penalty = penalty
        self.feature_share = feature_share
        self.seed = seed

    def _train(self, X: FloatArray, y: FloatArray) -> str:  # noqa: N803
        import xgboost

        parameters = {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "min_child_weight": self.least_leaf_weight,
            "reg_lambda": self.penalty,
            "colsample_bynode": self.feature_share,
            "seed": self.seed,
            "nthread": 1,
            "verbosity": 0,
        }
        data = xgboost.DMatrix(X, label=y, nthread=1)
        booster = xgboost.train(parameters, data, num_boost_round=self.tree_count)
        return booster.save_raw(raw_format="json").decode()

    def _read(self, text: str) -> Any:
        import xgboost

        booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
        booster.load_model(bytearray(text.encode()))
        return booster

    def _log_odds(self, X: FloatArray) -> FloatArray:  # noqa: N803
        margins = self._booster.inplace_predict(X, predict_type="margin", validate_features=False)
        return np.asarray(margins, dtype=np.float64)
