"""The candidates: each family builds an unfitted scikit-learn pipeline from a feature contract.

Adding one is a frozen dataclass that has what `Candidate` lists, its name in `_SHIPPED` below and a
line under `candidates` in ``datasets/<dataset>.yml``; tests/unit/test_candidates.py then runs over
it. `trusted_types` lists what its artifact may hold beyond what skops trusts itself; it grows only by
review of the type's own ``__reduce__``, ``__setstate__`` and constructor.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Protocol, get_args, get_type_hints

from sklearn.pipeline import Pipeline

from churn_ml.errors import ModelError
from churn_ml.features.contract import FeatureContract
from churn_ml.models.baselines import BaseRate, OneRule
from churn_ml.models.boosters import Explainable, GradientBoosting, Lightgbm, PairwiseBoosting, Xgboost
from churn_ml.models.linear import SplineLogistic
from churn_ml.models.parameters import ParameterSource
from churn_ml.models.stack import Stack
from churn_ml.models.trees import DecisionTree, RandomForest


class Candidate(Protocol):
    """One family of models; the fields of the frozen dataclass are its hyperparameters.

    Attributes
    ----------
    family : str
        Its name in declarations, in the registry and in the marts.
    trusted_types : tuple of str
        Types that its artifact may hold beyond those that skops trusts itself.
    libraries : tuple of str
        Distributions whose version must be the one that wrote the artifact, besides scikit-learn,
        NumPy, SciPy and skops.
    validation_repeats : int
        How often the folds of a snapshot dataset are drawn anew; 1 where a fit takes long.
    is_additive : bool
        Whether the log-odds are a sum of functions of at most two columns each, so that lookup
        tables give them and their reasons.
    """

    family: ClassVar[str]
    trusted_types: ClassVar[tuple[str, ...]]
    libraries: ClassVar[tuple[str, ...]]
    validation_repeats: ClassVar[int]
    is_additive: ClassVar[bool]

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline, `columns` then `model`, for the columns of `contract`.

        It gives probabilities of churn without class weights or resampling, fits with one native
        thread, and gives the same model for the same rows and `seed`.
        """

    def suggest(self, trial: ParameterSource) -> "Candidate":
        """Return a copy with the hyperparameters that `trial` suggests."""


_SHIPPED: tuple[type[Candidate], ...] = (
    BaseRate,
    OneRule,
    SplineLogistic,
    DecisionTree,
    RandomForest,
    GradientBoosting,
    Lightgbm,
    Xgboost,
    Explainable,
    PairwiseBoosting,
    Stack,
)
FAMILIES: tuple[str, ...] = tuple(candidate.family for candidate in _SHIPPED)
_REGISTRY: dict[str, type[Candidate]] = {candidate.family: candidate for candidate in _SHIPPED}


def candidate_of(family: str, parameters: Mapping[str, Any] = {}) -> Candidate:
    """Return the candidate of `family` with the given hyperparameters, its own where not given.

    Raises
    ------
    ModelError
        If no candidate has that name, it has no such hyperparameter, or a value is of another type.
    """
    if family not in _REGISTRY:
        raise ModelError(
            f"Expected a family of {', '.join(_REGISTRY)}, found {family!r}. Correct the name under "
            "candidates in the dataset's declaration, or train a new model."
        )
    kind = _REGISTRY[family]
    known = _parameters_of(kind)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ModelError(
            f"Expected parameters of {family} ({', '.join(known) or 'it has none'}), found: "
            f"{', '.join(unknown)}. Correct the line under candidates in the dataset's declaration."
        )
    return kind(**{name: _typed(family, name, value, known[name]) for name, value in parameters.items()})


def add_family(candidate: type[Candidate]) -> None:
    """Add a family from outside this package, for as long as the process runs.

    Raises
    ------
    ModelError
        If it is no frozen dataclass, lacks something that `Candidate` lists, or its name is taken.
    """
    needed = [*get_type_hints(Candidate), "build", "suggest"]
    missing = [name for name in needed if not hasattr(candidate, name)]
    if missing or not is_dataclass(candidate) or not candidate.__dataclass_params__.frozen:
        raise ModelError(
            f"Expected a frozen dataclass with {', '.join(needed)}, found {candidate.__name__} without "
            f"{', '.join(missing) or 'being one'}. Add what is missing."
        )
    if candidate.family in _REGISTRY:
        raise ModelError(
            f"Expected a new name of a family, found {candidate.family!r}, which "
            f"{_REGISTRY[candidate.family].__name__} has. Choose another."
        )
    _REGISTRY[candidate.family] = candidate


def _parameters_of(kind: type[Candidate]) -> dict[str, tuple[type, ...]]:
    hints = get_type_hints(kind)
    return {field.name: get_args(hints[field.name]) or (hints[field.name],) for field in fields(kind)}  # type: ignore[arg-type]


def _typed(family: str, name: str, value: Any, types: tuple[type, ...]) -> Any:
    if type(value) is int and int not in types and float in types:
        return float(value)
    if type(value) not in types:
        expected = " or ".join(item.__name__.replace("NoneType", "null") for item in types)
        raise ModelError(
            f"Expected {name} of {family} as {expected}, found {value!r} ({type(value).__name__}). Correct "
            "the line under candidates in the dataset's declaration."
        )
    return value
