"""Artifacts: the bytes come back as they went, and nothing that was changed or unreviewed is ever loaded."""

import io
import json
import pickle
import zipfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from churn_ml.errors import ArtifactError
from churn_ml.features.contract import FeatureColumn, FeatureContract
from churn_ml.models.artifacts import (
    Artifact,
    dump_artifact,
    libraries_of,
    load_artifact,
    running_versions,
    sha256_of,
)
from churn_ml.models.calibration import calibrated, fit_calibrator
from churn_ml.models.candidates import FAMILIES, candidate_of
from churn_ml.models.contributions import Reference
from churn_ml.models.crossfit import NOT_TRAINED_ON
from churn_ml.models.golden_rows import (
    TOLERANCE,
    GoldenRows,
    answer,
    check_golden_rows,
    choose_golden_rows,
)
from churn_ml.models.value_models import RegressionBoosting, SplineRidge

CONTRACT = FeatureContract(
    (
        FeatureColumn("tenure_months", "integer", None, None),
        FeatureColumn("contract", "text", None, None),
        FeatureColumn("has_partner", "boolean", None, None),
    )
)
# One whose artifact holds text, one with compiled trees, one written by a library of its own.
SAMPLE = ("spline_logistic", "gradient_boosting", "lightgbm")


class Payload:
    """What an attacker would store: unpickling it writes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


class Foreign(BaseEstimator):
    """An estimator that nobody reviewed."""


def customers(count: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return CONTRACT.to_frame(
        pd.DataFrame(
            {
                "tenure_months": np.where(rng.random(count) < 0.1, np.nan, rng.integers(0, 73, count)),
                "contract": rng.choice(["one_year", "two_year", None], count),
                "has_partner": rng.choice([True, False, None], count),
            }
        )
    )


@cache
def fitted(family: str, fold_count: int = 2, *, with_values: bool = False) -> Artifact:
    frame = customers()
    churned = np.random.default_rng(4).random(len(frame)) < 0.4
    folds = np.arange(len(frame)) % fold_count
    pipelines = []
    for fold in range(fold_count):
        others = folds != fold
        pipeline = candidate_of(family).build(CONTRACT, 1).fit(frame[others], churned[others])
        raw = pipeline.predict_proba(frame[~others])[:, 1]
        pipelines.append(calibrated(pipeline, fit_calibrator("sigmoid", raw, churned[~others], seed=1)))
    reference = Reference(
        {"tenure_months": np.linspace(0, 72, 5)}, tuple(np.full(3, fold / 7) for fold in range(fold_count))
    )
    values = SplineRidge().build(CONTRACT, 12.0, 1).fit(frame, 12.0 * ~churned) if with_values else None
    return Artifact(tuple(pipelines), reference, values)


def load(content: bytes, family: str = "spline_logistic", **changed: str | None) -> Artifact:
    recorded = running_versions(libraries_of(family)) | changed
    return load_artifact(
        content,
        sha256_of(content),
        family,
        {name.replace("_", "-"): found for name, found in recorded.items() if found is not None},
    )


@cache
def dumped(family: str = "spline_logistic") -> bytes:
    return dump_artifact(fitted(family))


def with_entry(content: bytes, name: str, data: bytes) -> bytes:
    """Return the skops archive with one entry in another's place."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(changed, "w") as target:
        for entry in archive.namelist():
            target.writestr(entry, data if entry == name else archive.read(entry))
    return changed.getvalue()


@pytest.mark.parametrize("family", SAMPLE)
def test_artifact_predicts_to_the_bit_what_was_dumped(family: str) -> None:
    artifact, loaded = fitted(family), load(dumped(family), family)
    frame, folds = customers(60), np.arange(60) % 3 - 1
    before, after = artifact.model.predict(frame, folds), loaded.model.predict(frame, folds)
    for name in ("raw", "calibrated", "low", "high"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    np.testing.assert_array_equal(loaded.reference.quantiles["tenure_months"], [0, 18, 36, 54, 72])
    np.testing.assert_array_equal(loaded.reference.centres, artifact.reference.centres)
    assert loaded.value_pipeline is None


@pytest.mark.parametrize("candidate", [SplineRidge(), RegressionBoosting()])
def test_the_value_model_comes_back_with_its_family(candidate: SplineRidge | RegressionBoosting) -> None:
    frame = customers()
    values = candidate.build(CONTRACT, 12.0, 1).fit(frame, np.arange(len(frame)) % 13)
    churn = fitted("spline_logistic")
    content = dump_artifact(Artifact(churn.pipelines, churn.reference, values))
    versions = running_versions(libraries_of("spline_logistic"))
    loaded = load_artifact(content, sha256_of(content), "spline_logistic", versions, candidate.family)
    assert loaded.value_pipeline is not None
    np.testing.assert_array_equal(loaded.value_pipeline.predict(frame), values.predict(frame))
    with pytest.raises(ArtifactError, match=r"value_models\.RestrictedRegressor"):
        load(content)


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_a_flipped_byte_is_refused(place: int) -> None:
    content = bytearray(dumped())
    content[place] ^= 1
    with pytest.raises(ArtifactError, match="changed after it was registered"):
        load_artifact(bytes(content), sha256_of(dumped()), "spline_logistic", running_versions())


@pytest.mark.parametrize("library", ["scikit_learn", "numpy", "scipy", "skops"])
def test_another_version_of_a_library_is_refused_with_both_named(library: str) -> None:
    name = library.replace("_", "-")
    with pytest.raises(ArtifactError, match=rf"with: {name} 1\.0; found {name} {version(name)}\. .*Install"):
        load(dumped(), **{library: "1.0"})


def test_a_library_of_the_family_must_match_and_of_another_need_not() -> None:
    with pytest.raises(ArtifactError, match=rf"lightgbm 1\.0; found lightgbm {version('lightgbm')}"):
        load(dumped("lightgbm"), "lightgbm", lightgbm="1.0")
    with pytest.raises(ArtifactError, match="lightgbm not recorded"):
        load(dumped("lightgbm"), "lightgbm", lightgbm=None)
    load(dumped(), lightgbm="1.0")


def test_another_minor_version_of_python_is_refused_and_another_patch_is_not() -> None:
    minor = ".".join(running_versions()["python"].split(".")[:2])
    with pytest.raises(ArtifactError, match=rf"python 3\.8; found python {minor}"):
        load(dumped(), python="3.8.20")
    load(dumped(), python=f"{minor}.99")


def test_what_only_carries_the_rows_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    load(dumped(), pandas="1.0", pyarrow="2.0")
    assert "pandas 1.0" in caplog.text
    assert "pyarrow 2.0" in caplog.text


def test_a_foreign_type_is_refused_by_name() -> None:
    reference = fitted("spline_logistic").reference
    content = dump_artifact(Artifact([Pipeline([("model", Foreign())])], reference))
    with pytest.raises(ArtifactError, match=r"family spline_logistic, found: .*Foreign\. Nothing of it"):
        load(content)


def test_a_type_reviewed_for_one_family_is_refused_in_another() -> None:
    with pytest.raises(ArtifactError, match=r"hist_gradient_boosting\.predictor\.TreePredictor"):
        load(dumped("gradient_boosting"))


def test_a_function_smuggled_into_a_pipeline_is_refused() -> None:
    with zipfile.ZipFile(io.BytesIO(dumped())) as archive:
        schema = json.loads(archive.read("schema.json"))
    smuggled = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1}
    schema["content"]["value_pipeline"] = smuggled
    with pytest.raises(ArtifactError, match=r"os\.system|posix\.system"):
        load(with_entry(dumped(), "schema.json", json.dumps(schema).encode()))


def test_a_pickle_is_refused_and_never_executed(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    payload = pickle.dumps(Payload(canary))
    with pytest.raises(ArtifactError, match="BadZipFile"):
        load(payload)
    with zipfile.ZipFile(io.BytesIO(dumped())) as archive:
        array = next(name for name in archive.namelist() if name.endswith(".npy"))
    pickled_array = io.BytesIO()
    np.save(pickled_array, np.array([Payload(canary)], dtype=object), allow_pickle=True)
    for hidden in (payload, pickled_array.getvalue()):
        with pytest.raises(ArtifactError):
            load(with_entry(dumped(), array, hidden))
    assert not canary.exists()
    pickle.loads(payload)  # noqa: S301 - the canary does sing where something unpickles
    assert canary.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", skops.io.dumps([1, 2]), skops.io.dumps({"pipelines": [1], "value_pipeline": None}),
     skops.io.dumps({"pipelines": [], "value_pipeline": None, "reference": {}})],
)  # fmt: skip
def test_bytes_that_hold_no_model_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="Expected a skops file of pipelines and reference"):
        load(content)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_says_what_it_depends_on(family: str) -> None:
    assert set(libraries_of(family)) >= {"scikit-learn", "numpy", "scipy", "skops"}
    assert set(libraries_of(family)) <= set(running_versions(libraries_of(family)))


def test_golden_rows_are_few_seeded_of_every_fold_and_without_keys() -> None:
    frame, folds = customers(), np.arange(240) % 5
    golden = choose_golden_rows(frame, folds, seed=7)
    again = choose_golden_rows(frame, folds, seed=7)
    other = choose_golden_rows(frame, folds, seed=8)
    assert len(golden.frame) == 50
    assert set(golden.folds) == {NOT_TRAINED_ON, 0, 1, 2, 3, 4}
    pd.testing.assert_frame_equal(golden.frame, again.frame)
    assert list(golden.frame.index) != list(other.frame.index)
    kept = answer(golden, CONTRACT, fitted("spline_logistic", 5).model, None)
    assert set(kept) == {"features", "folds", "raw", "calibrated"}
    assert set(kept["features"]) == set(CONTRACT.names)


def test_golden_rows_of_one_pipeline_have_no_fold() -> None:
    golden = choose_golden_rows(customers(20), None, seed=7)
    assert (len(golden.frame), set(golden.folds)) == (20, {NOT_TRAINED_ON})


@pytest.mark.parametrize("family", SAMPLE)
def test_golden_rows_survive_json_and_are_answered_alike(family: str) -> None:
    artifact = fitted(family)
    golden = choose_golden_rows(customers(), np.arange(240) % 2, seed=7)
    kept = json.loads(json.dumps(answer(golden, CONTRACT, artifact.model, None), allow_nan=False))
    check_golden_rows(kept, CONTRACT, load(dumped(family), family).model, None)


@pytest.mark.parametrize("name", ["raw", "calibrated", "expected_months_retained"])
def test_a_changed_answer_is_refused_with_the_largest_difference(name: str) -> None:
    artifact = fitted("spline_logistic", with_values=True)
    golden = choose_golden_rows(customers(), np.arange(240) % 2, seed=7)
    kept = answer(golden, CONTRACT, artifact.model, artifact.value_pipeline)
    check_golden_rows(kept, CONTRACT, artifact.model, artifact.value_pipeline)
    kept[name][3] += TOLERANCE / 2
    check_golden_rows(kept, CONTRACT, artifact.model, artifact.value_pipeline)
    kept[name][3] += 5e-9
    kept[name][17] -= 0.25 * max(1.0, kept[name][17])
    with pytest.raises(ArtifactError, match=rf"found {name} .* for row 17, .*\(off by 0\.[23]"):
        check_golden_rows(kept, CONTRACT, artifact.model, artifact.value_pipeline)


def test_changed_feature_values_are_refused() -> None:
    artifact = fitted("spline_logistic")
    kept = answer(choose_golden_rows(customers(), None, seed=7), CONTRACT, artifact.model, None)
    kept["features"]["contract"] = kept["features"]["contract"][::-1]
    with pytest.raises(ArtifactError, match="50 golden rows as when it was registered"):
        check_golden_rows(kept, CONTRACT, artifact.model, None)


def test_answers_that_are_missing_are_refused() -> None:
    artifact = fitted("spline_logistic")
    kept = answer(GoldenRows(customers(5), np.full(5, -1)), CONTRACT, artifact.model, None)
    for broken, message in [
        (None, "found none"),
        ({}, "found none"),
        (kept | {"raw": []}, "of 5 rows against 0"),
        (kept | {"calibrated": kept["calibrated"][:4]}, "of 5 rows against 4"),
        (kept | {"raw": [None] * 5}, "off by nan"),
    ]:
        with pytest.raises(ArtifactError, match=message):
            check_golden_rows(broken, CONTRACT, artifact.model, None)
    with pytest.raises(ArtifactError, match="expected_months_retained of 0 rows against 5"):
        check_golden_rows(kept | {"expected_months_retained": [1.0] * 5}, CONTRACT, artifact.model, None)
