"""Artifacts: the bytes come back as they went, and nothing unreviewed is ever loaded."""

import io
import json
import os
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.pipeline import Pipeline

from churn_ml.errors import ArtifactError, ModelError
from churn_ml.features.contract import FeatureColumn, FeatureContract
from churn_ml.models.artifacts import dump_pipelines, load_pipelines, running_versions, sha256_of
from churn_ml.models.candidates import CANDIDATES, Candidate, candidate_of
from churn_ml.models.crossfit import NOT_TRAINED_ON, CrossFittedModel

CONTRACT = FeatureContract(
    (
        FeatureColumn("tenure_months", "integer", None, None),
        FeatureColumn("contract", "text", None, None),
        FeatureColumn("has_partner", "boolean", None, None),
    )
)
FAMILIES = [candidate.family for candidate in CANDIDATES]


class Payload:
    """What an attacker would store: loading it by pickle would run a command."""

    def __reduce__(self):
        return os.system, ("false",)


def customers(count: int = 300) -> pd.DataFrame:
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


def fitted(candidate: Candidate, fold_count: int = 2) -> list[Pipeline]:
    frame = customers()
    churned = np.random.default_rng(4).random(len(frame)) < 0.4
    folds = np.arange(len(frame)) % fold_count
    return [
        candidate.build(CONTRACT, 1).fit(frame[folds != fold], churned[folds != fold])
        for fold in range(fold_count)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_artifact_predicts_to_the_bit_what_was_dumped(family: str) -> None:
    pipelines = fitted(candidate_of(family))
    content = dump_pipelines(pipelines)
    loaded = load_pipelines(content, sha256_of(content), family, running_versions())
    frame, everyone = customers(50), np.full(50, NOT_TRAINED_ON)
    np.testing.assert_array_equal(
        loaded.predict(frame, everyone), CrossFittedModel(pipelines).predict(frame, everyone)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_missing_and_unseen_values_and_a_single_row_are_scored(family: str) -> None:
    strange = pd.DataFrame({"tenure_months": [None, 900.0], "contract": ["for_life", None],
                            "has_partner": pd.array([None, True], dtype="boolean")})  # fmt: skip
    model = CrossFittedModel(fitted(candidate_of(family)))
    both = model.predict(CONTRACT.to_frame(strange), np.array([NOT_TRAINED_ON, NOT_TRAINED_ON]))
    assert np.all((both > 0) & (both < 1))
    alone = model.predict(CONTRACT.to_frame(strange.head(1)), np.array([NOT_TRAINED_ON]))
    np.testing.assert_allclose(alone, both[:1], rtol=1e-12)


def test_changed_bytes_are_refused() -> None:
    content = dump_pipelines(fitted(candidate_of("spline_logistic")))
    changed = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(ArtifactError, match="changed after it was registered"):
        load_pipelines(changed, sha256_of(content), "spline_logistic", running_versions())


def test_an_unreviewed_type_is_refused_by_name_and_never_loaded() -> None:
    content = skops.io.dumps([Payload()])
    with pytest.raises(ArtifactError, match=r"system|Payload"):
        load_pipelines(content, sha256_of(content), "spline_logistic", running_versions())


def test_a_type_reviewed_for_one_family_is_refused_in_another() -> None:
    content = dump_pipelines(fitted(candidate_of("random_forest")))
    with pytest.raises(ArtifactError, match=r"sklearn\.tree\._tree\.Tree"):
        load_pipelines(content, sha256_of(content), "spline_logistic", running_versions())


def test_a_function_smuggled_into_a_pipeline_is_refused() -> None:
    content = dump_pipelines(fitted(candidate_of("spline_logistic")))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(entries["schema.json"])
    schema["content"].append(
        {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1}
    )
    entries["schema.json"] = json.dumps(schema).encode()
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(ArtifactError, match=r"os\.system|posix\.system"):
        load_pipelines(
            changed.getvalue(), sha256_of(changed.getvalue()), "spline_logistic", running_versions()
        )


@pytest.mark.parametrize("content", [b"", b"no archive", skops.io.dumps({"a": 1}), skops.io.dumps([1, 2])])
def test_bytes_that_hold_no_pipelines_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError):
        load_pipelines(content, sha256_of(content), "spline_logistic", running_versions())


def test_another_scikit_learn_is_refused_and_another_numpy_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = dump_pipelines(fitted(candidate_of("spline_logistic")))
    load_pipelines(content, sha256_of(content), "spline_logistic", running_versions() | {"numpy": "1.0"})
    assert "numpy 1.0" in caplog.text
    with pytest.raises(ArtifactError, match=r"Expected scikit-learn 1\.0"):
        load_pipelines(
            content, sha256_of(content), "spline_logistic", running_versions() | {"scikit-learn": "1.0"}
        )


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ModelError, match="spline_logistic, random_forest, gradient_boosting"):
        candidate_of("oracle")
