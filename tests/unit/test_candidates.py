"""The contract of candidates, held by every family: what a new one has to pass."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from churn_ml.errors import ModelError
from churn_ml.features import preprocessing
from churn_ml.features.contract import FeatureColumn, FeatureContract
from churn_ml.models import candidates
from churn_ml.models.calibration import (
    CALIBRATION_TYPES,
    calibrated,
    choose_calibrator,
    fit_calibrator,
    refuse_reweighting,
)
from churn_ml.models.calibrators import METHODS, clip_probabilities
from churn_ml.models.candidates import FAMILIES, add_family, candidate_of
from churn_ml.models.crossfit import NOT_TRAINED_ON, CrossFittedModel

CONTRACT = FeatureContract(
    (
        FeatureColumn("tenure_months", "integer", None, None),
        FeatureColumn("monthly_amount", "numeric", None, None),
        FeatureColumn("contract", "text", None, None),
        FeatureColumn("has_partner", "boolean", None, None),
    )
)
# Fits long enough to show faults, short enough for a suite.
SMALL: dict[str, dict[str, int]] = {
    "random_forest": {"tree_count": 20},
    "gradient_boosting": {"tree_count": 30},
    "lightgbm": {"tree_count": 30},
    "xgboost": {"tree_count": 30},
    "pairwise_boosting": {"tree_count": 30},
    "explainable_boosting": {"interactions": 2, "outer_bags": 2, "max_rounds": 50},
    "stack": {"tree_count": 30},
}
BLIND = {"base_rate"}
EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@dataclass(frozen=True)
class Bayes:
    """A family that somebody adds: this class, and a line in the declaration of a dataset."""

    family: ClassVar[str] = "bayes"
    trusted_types: ClassVar[tuple[str, ...]] = (*CALIBRATION_TYPES, *preprocessing.SPLINE_TYPES)
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = True
    smoothing: float = 1e-3

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        del seed
        columns = preprocessing.spline_columns(contract, 4)
        return Pipeline([("columns", columns), ("model", GaussianNB(var_smoothing=self.smoothing))])

    def suggest(self, trial: Any) -> "Bayes":
        return replace(self, smoothing=trial.suggest_float("smoothing", 1e-6, 1e-1, log=True))


class EndOfRange:
    """A trial that suggests one end of every range."""

    def __init__(self, end: int) -> None:
        self.end = end

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        del name, log
        return (low, high)[self.end]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        del name, log
        return (low, high)[self.end]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        del name
        return (choices[0], choices[-1])[self.end]


@cache
def customers(count: int = 400, seed: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    tenure = rng.integers(0, 73, count)
    contract = rng.choice(["monthly", "one_year", "two_year"], count, p=[0.6, 0.2, 0.2])
    log_odds = 0.8 - 0.05 * tenure + 1.0 * (contract == "monthly")
    frame = pd.DataFrame(
        {
            "tenure_months": np.where(rng.random(count) < 0.1, np.nan, tenure),
            "monthly_amount": np.round(rng.gamma(4, 15, count), 2),
            "contract": np.where(rng.random(count) < 0.05, None, contract),
            "has_partner": rng.choice([True, False, None], count),
        }
    )
    return CONTRACT.to_frame(frame), rng.random(count) < 1 / (1 + np.exp(-log_odds))


def fit(family: str, seed: int = 1) -> Pipeline:
    frame, churned = customers()
    return candidate_of(family, SMALL.get(family, {})).build(CONTRACT, seed).fit(frame, churned)


fitted = cache(fit)


def churn(pipeline: Pipeline, frame: pd.DataFrame) -> np.ndarray:
    return pipeline.predict_proba(frame)[:, 1]


def rows(**columns: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return CONTRACT.to_frame(frame.astype({"has_partner": "boolean", "contract": "string"}))


def parameters_of(candidate: Any) -> list[str]:
    return [field.name for field in fields(candidate)]


def dump(content: Any) -> bytes:
    return skops.io.dumps(content, compression=zipfile.ZIP_DEFLATED)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(limits=1):
        yield


@pytest.fixture
def bayes() -> Iterator[str]:
    add_family(Bayes)
    yield Bayes.family
    del candidates._REGISTRY[Bayes.family]


@EVERY_FAMILY
def test_family_builds_two_steps_that_reweight_nothing(family: str) -> None:
    candidate = candidate_of(family)
    pipeline = candidate.build(CONTRACT, 1)
    assert [name for name, _ in pipeline.steps] == ["columns", "model"]
    assert candidate.family == family
    assert candidate.validation_repeats == (1 if family in {"explainable_boosting", "stack"} else 3)
    refuse_reweighting(pipeline)


@EVERY_FAMILY
def test_family_fits_with_one_thread(family: str) -> None:
    parameters = candidate_of(family).build(CONTRACT, 1).get_params()
    assert {value for name, value in parameters.items() if name.endswith("n_jobs")} <= {None, 1}


@EVERY_FAMILY
def test_family_gives_probabilities_that_follow_what_happened(family: str) -> None:
    frame, churned = customers()
    both = fitted(family).predict_proba(frame)
    assert both.shape == (len(frame), 2)
    assert np.all((both >= 0) & (both <= 1))
    np.testing.assert_allclose(both.sum(axis=1), 1, rtol=1e-12)
    assert both[:, 1].mean() == pytest.approx(churned.mean(), abs=0.03)
    if family not in BLIND:
        assert both[churned, 1].mean() - both[~churned, 1].mean() > 0.1


@EVERY_FAMILY
def test_family_gives_the_same_model_for_the_same_rows_and_seed(family: str) -> None:
    frame, _ = customers()
    assert churn(fit(family), frame).tobytes() == churn(fitted(family), frame).tobytes()


@pytest.mark.parametrize("family", ["random_forest", "gradient_boosting", "lightgbm", "xgboost", "stack"])
def test_a_family_that_draws_follows_its_seed(family: str) -> None:
    frame, _ = customers()
    assert churn(fit(family, seed=2), frame).tobytes() != churn(fitted(family), frame).tobytes()


@EVERY_FAMILY
def test_family_reads_a_category_that_it_never_saw(family: str) -> None:
    seen = {"tenure_months": [3], "monthly_amount": [60.0], "has_partner": [True]}
    frame = rows(**seen, contract=["for_life"])
    assert 0 < churn(fitted(family), frame)[0] < 1
    # What is unknown says nothing: the name of an unseen category makes no difference.
    other = churn(fitted(family), rows(**seen, contract=["by_the_hour"]))
    np.testing.assert_array_equal(churn(fitted(family), frame), other)


@EVERY_FAMILY
def test_family_reads_missing_and_extreme_values(family: str) -> None:
    frame = rows(
        tenure_months=[None, 5, 900, -900],
        monthly_amount=[50.0, None, 1e12, -1e12],
        contract=["monthly", None, "one_year", None],
        has_partner=[None, None, True, None],
    )
    found = churn(fitted(family), frame)
    assert np.all((found >= 0) & (found <= 1))


@EVERY_FAMILY
@pytest.mark.parametrize("column", CONTRACT.names)
def test_family_reads_a_column_that_is_empty_when_it_predicts(family: str, column: str) -> None:
    frame, _ = customers()
    nothing = pd.Series(np.nan, frame.index).astype(frame[column].dtype)
    found = churn(fitted(family), frame.assign(**{column: nothing}))
    assert np.all((found >= 0) & (found <= 1))


@EVERY_FAMILY
def test_family_says_the_same_of_a_customer_alone_and_among_others(family: str) -> None:
    frame, _ = customers()
    among = churn(fitted(family), frame)
    alone = [churn(fitted(family), frame.iloc[[i]])[0] for i in (0, 7, 399)]
    np.testing.assert_allclose(alone, among[[0, 7, 399]], rtol=1e-12)


@EVERY_FAMILY
def test_family_fits_where_a_column_is_constant_or_almost_empty(family: str) -> None:
    frame, churned = customers()
    narrow = frame.assign(monthly_amount=20.0, tenure_months=np.nan, has_partner=1.0)
    narrow.loc[:3, "tenure_months"] = [1.0, 2.0, 2.0, 3.0]
    pipeline = candidate_of(family, SMALL.get(family, {})).build(CONTRACT, 1)
    found = churn(pipeline.fit(narrow, churned), frame)
    assert np.all((found >= 0) & (found <= 1))


@EVERY_FAMILY
def test_family_comes_back_to_the_bit_from_exactly_its_trusted_types(family: str) -> None:
    frame, churned = customers()
    pipeline = fitted(family)
    raw = clip_probabilities(churn(pipeline, frame))
    kept = [pipeline, *(calibrated(pipeline, fit_calibrator(m, raw, churned, seed=1)) for m in METHODS)]
    content = dump(kept)
    trusted = candidate_of(family).trusted_types
    assert set(skops.io.get_untrusted_types(data=content)) == set(trusted)
    everyone = np.full(len(frame), NOT_TRAINED_ON)
    for before, after in zip(kept, skops.io.loads(content, trusted=list(trusted)), strict=True):
        assert churn(before, frame).tobytes() == churn(after, frame).tobytes()
        said = [CrossFittedModel([item]).predict(frame, everyone) for item in (before, after)]
        for name in ("raw", "calibrated", "low", "high"):
            assert getattr(said[0], name).tobytes() == getattr(said[1], name).tobytes()


@EVERY_FAMILY
@pytest.mark.parametrize("end", [0, 1])
def test_family_suggests_candidates_within_its_own_contract(family: str, end: int) -> None:
    suggested = candidate_of(family).suggest(EndOfRange(end))
    assert type(suggested) is type(candidate_of(family))
    parameters = {name: getattr(suggested, name) for name in parameters_of(suggested)}
    assert candidate_of(family, parameters) == suggested
    suggested.build(CONTRACT, 1)


@EVERY_FAMILY
def test_family_starts_within_the_range_that_it_suggests(family: str) -> None:
    candidate = candidate_of(family)
    low, high = (candidate.suggest(EndOfRange(end)) for end in (0, 1))
    for name in parameters_of(candidate):
        ends = getattr(low, name), getattr(high, name)
        assert ends == (None, None) or ends[0] <= getattr(candidate, name) <= ends[1], name


def test_a_family_is_added_by_a_class(bayes: str) -> None:
    frame, churned = customers()
    candidate = candidate_of(bayes, {"smoothing": 1})
    assert candidate == Bayes(smoothing=1.0)
    pipeline = candidate.build(CONTRACT, 1).fit(frame, churned)
    calibrator, _ = choose_calibrator(churn(pipeline, frame), churned, seed=1)
    content = dump(calibrated(pipeline, calibrator))
    back = skops.io.loads(content, trusted=list(candidate.trusted_types))
    assert churn(back, frame).tobytes() == churn(calibrated(pipeline, calibrator), frame).tobytes()


def test_a_class_that_is_no_candidate_is_refused(bayes: str) -> None:
    with pytest.raises(ModelError, match="'bayes', which Bayes has"):
        add_family(Bayes)
    with pytest.raises(ModelError, match="found Nothing without family, trusted_types"):
        add_family(type("Nothing", (), {}))
    loose = dataclass(type("Loose", (), {**dict.fromkeys(vars(Bayes)), "__annotations__": {}}))
    with pytest.raises(ModelError, match="found Loose without being one"):
        add_family(loose)


def test_an_unknown_family_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(ModelError, match=r"base_rate, one_rule, .*, stack, found 'oracle'"):
        candidate_of("oracle")


def test_an_unknown_parameter_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(ModelError, match=r"\(knot_count, inverse_penalty\), found: depth, knots"):
        candidate_of("spline_logistic", {"knots": 4, "depth": 2, "knot_count": 4})
    with pytest.raises(ModelError, match=r"base_rate \(it has none\), found: rate"):
        candidate_of("base_rate", {"rate": 0.2})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tree_count": 12.5}, r"tree_count of random_forest as int, found 12\.5 \(float\)"),
        ({"tree_count": True}, r"as int, found True \(bool\)"),
        ({"feature_share": "0.3"}, r"as float, found '0\.3' \(str\)"),
        ({"row_share": "all"}, r"as float or null, found 'all'"),
        ({"feature_share": None}, r"as float, found None"),
    ],
)
def test_a_parameter_of_another_type_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        candidate_of("random_forest", parameters)


def test_a_whole_number_is_a_number_and_null_is_kept_where_it_means_something() -> None:
    candidate = candidate_of("random_forest", {"feature_share": 1, "row_share": None})
    assert isinstance(candidate.feature_share, float)
    assert candidate.row_share is None


def test_the_log_odds_of_a_stack_are_those_of_its_classifiers_weighed() -> None:
    frame, _ = customers()
    stack = fitted("stack")[-1]
    log_odds = np.column_stack([base.predict_proba(frame)[:, 1] for base in stack.bases_])
    log_odds = np.log(log_odds) - np.log1p(-log_odds)
    expected = log_odds @ stack.meta_.coef_[0] + stack.meta_.intercept_[0]
    np.testing.assert_allclose(stack.decision_function(frame), expected, rtol=1e-9)


def test_a_booster_holds_its_librarys_text_and_nothing_else() -> None:
    for family in ("lightgbm", "xgboost"):
        model = fitted(family)[-1]
        assert set(model.__getstate__()) == {
            *model.get_params(), "classes_", "model_text_", "n_features_in_",
        }  # fmt: skip
        assert isinstance(model.model_text_, str)
