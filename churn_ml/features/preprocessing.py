"""The preprocessing of each model family: what stands between the contract's columns and a model.

Each function returns an unfitted transformer that reads the frame of `FeatureContract.to_frame`
and learns everything it needs (medians, knots, categories) when the pipeline is fitted.
"""

from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import SplineTransformer

from churn_ml.features.categories import CategoryCodes, CategoryIndicators
from churn_ml.features.contract import FeatureContract, Kind

# What an artifact with these columns holds beyond what skops trusts itself.
CODE_TYPES = ("churn_ml.features.categories.CategoryCodes",)
INDICATOR_TYPES = ("churn_ml.features.categories.CategoryIndicators",)
SPLINE_TYPES = (
    *INDICATOR_TYPES,
    "numpy.dtype",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
)


def spline_columns(contract: FeatureContract, knot_count: int) -> ColumnTransformer:
    """Cubic splines on numbers, indicators for categories, booleans as they are.

    Missing numbers take the median of the training rows and an indicator that they were missing,
    missing booleans the most frequent value and an indicator.
    """
    spline = Pipeline(
        [
            ("median", SimpleImputer(strategy="median")),
            ("spline", SplineTransformer(n_knots=knot_count, knots="quantile", include_bias=False)),
        ]
    )
    booleans = SimpleImputer(strategy="most_frequent", add_indicator=True)
    return _columns(
        contract,
        [
            ("splines", spline, Kind.NUMERIC),
            ("missing", MissingIndicator(error_on_new=False), Kind.NUMERIC),
            ("booleans", booleans, Kind.BOOLEAN),
            ("categories", CategoryIndicators(), Kind.CATEGORICAL),
        ],
    )


def indicator_columns(contract: FeatureContract) -> ColumnTransformer:
    """Indicators for categories; numbers and booleans as they are, missing ones left to the trees."""
    return _columns(
        contract,
        [
            ("numbers", "passthrough", Kind.NUMERIC),
            ("booleans", "passthrough", Kind.BOOLEAN),
            ("categories", CategoryIndicators(), Kind.CATEGORICAL),
        ],
    )


def code_columns(contract: FeatureContract) -> ColumnTransformer:
    """Ordinal codes for categories; numbers and booleans as they are, missing ones left to the trees."""
    return _columns(
        contract,
        [
            ("numbers", "passthrough", Kind.NUMERIC),
            ("booleans", "passthrough", Kind.BOOLEAN),
            ("categories", CategoryCodes(), Kind.CATEGORICAL),
        ],
    )


def _columns(contract: FeatureContract, steps: list[tuple[str, object, Kind]]) -> ColumnTransformer:
    present = [(name, step, contract.names_of(kind)) for name, step, kind in steps if contract.names_of(kind)]
    return ColumnTransformer(present, sparse_threshold=0.0, verbose_feature_names_out=True)
