"""Our own estimators: scikit-learn's checks, and what a stack is weighed on."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from churn_ml.models.explainable import ExplainableBoosting
from churn_ml.models.stack import LogOddsStack
from churn_ml.models.text_boosters import LightgbmClassifier, XgboostClassifier


# Excused: none of scikit-learn's checks. Sample weights are taken by none, on purpose.
@parametrize_with_checks(
    [
        LightgbmClassifier(tree_count=20, least_leaf=1),
        XgboostClassifier(tree_count=20, least_leaf_weight=0.0),
        LogOddsStack(
            [("line", LogisticRegression()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))], 2
        ),
        ExplainableBoosting(interactions=0, outer_bags=1, max_rounds=20),
    ]
)
def test_estimator_passes_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_stack_is_weighed_on_rows_that_its_classifiers_did_not_see() -> None:
    """A tree that remembers its rows is worth nothing on others: weighed on its own rows it would win."""
    rng = np.random.default_rng(0)
    frame, churned = rng.normal(size=(600, 3)), rng.random(600) < 0.4
    bases = [("memory", DecisionTreeClassifier(random_state=0)), ("line", LogisticRegression())]
    stack = LogOddsStack(bases).fit(frame, churned)
    assert abs(stack.meta_.coef_[0][0]) < 0.05
