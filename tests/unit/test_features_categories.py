"""The category encoders: scikit-learn's own checks, then what scoring relies on."""

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from churn_ml.features.categories import CategoryCodes, CategoryIndicators

LEARNED = pd.DataFrame({"contract": ["two_year", "one_year", None], "plan": ["a", "b", "a"]})


@parametrize_with_checks([CategoryCodes(), CategoryIndicators()])
def test_encoder_passes_the_checks_of_scikit_learn(estimator, check) -> None:
    check(estimator)


def test_codes_follow_the_sorted_categories() -> None:
    codes = CategoryCodes().fit_transform(LEARNED)
    np.testing.assert_array_equal(codes, [[1, 0], [0, 1], [np.nan, 0]])


def test_indicators_have_a_column_for_missing_only_where_it_was_seen() -> None:
    encoder = CategoryIndicators().fit(LEARNED)
    np.testing.assert_array_equal(
        encoder.transform(LEARNED), [[0, 1, 0, 1, 0], [1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]
    )
    assert list(encoder.get_feature_names_out()) == [
        "contract_one_year", "contract_two_year", "contract_missing", "plan_a", "plan_b",
    ]  # fmt: skip


def test_an_unseen_category_is_unknown_and_changes_nothing_learned() -> None:
    unseen = pd.DataFrame({"contract": ["for_life"], "plan": ["a"]})
    codes, indicators = CategoryCodes().fit(LEARNED), CategoryIndicators().fit(LEARNED)
    np.testing.assert_array_equal(codes.transform(unseen), [[np.nan, 0]])
    np.testing.assert_array_equal(indicators.transform(unseen), [[0, 0, 0, 1, 0]])
    assert [list(categories) for categories in codes.categories_] == [["one_year", "two_year"], ["a", "b"]]


@pytest.mark.parametrize("encoder", [CategoryCodes(), CategoryIndicators()])
def test_codes_do_not_depend_on_how_a_frame_numbers_its_categories(encoder) -> None:
    encoder.fit(LEARNED)
    other = LEARNED.assign(
        contract=pd.Categorical(LEARNED["contract"], categories=["zz", "two_year", "one_year"]),
        plan=pd.Categorical(LEARNED["plan"], categories=["b", "a"]),
    )
    np.testing.assert_array_equal(encoder.transform(other), encoder.transform(LEARNED))
    np.testing.assert_array_equal(encoder.fit(other).transform(LEARNED), encoder.transform(LEARNED))
