"""Registered models, on the real server: what is kept, what is refused, what the commands print."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clones import clone_warehouse, drop_warehouse
from registered_models import CONTRACT, FOLD_COUNT, PASSED, new_model, register_model, training_customers
from typer.testing import CliRunner

from churn_ml.cli import app
from churn_ml.errors import ArtifactError, ModelError
from churn_ml.models.comparison import compare_versions
from churn_ml.models.deployments import champion_at, promote
from churn_ml.models.registration import GateResult
from churn_ml.models.registry import (
    find_trained,
    list_versions,
    load_model,
    read_card,
    show_version,
    version_of_run,
)
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
ONE_NIGHT = timedelta(days=1)
WARNED = GateResult("fairness", 0.7, 0.8, 1.25, "gender", "warn", detail="women are called less often")
UNTRIED = GateResult("profit_against_champion", None, 0.0, None)


@pytest.fixture(scope="module")
def template(server: Settings) -> Iterator[Settings]:
    cloned = clone_warehouse(server)
    register_model(cloned, CUT_OFF, gates=[PASSED, WARNED, UNTRIED])
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def registry(template: Settings) -> Iterator[Settings]:
    """A warehouse with one model of three fold pipelines and a value model."""
    cloned = clone_warehouse(template)
    yield cloned
    drop_warehouse(cloned)


def only_version(settings: Settings) -> str:
    (version,) = list_versions(settings)
    return version.model_version


def change(settings: Settings, assignment: str) -> None:
    """Do to the registered model what no role of a run may."""
    with connect(settings, Role.OWNER) as owner:
        owner.execute(f"update ml.model_versions set {assignment}")


def test_a_version_is_named_after_its_dataset_and_day(template: Settings) -> None:
    dataset, day, digits = only_version(template).split("-")
    assert (dataset, day, len(digits)) == ("telco", "20261031", 8)


def test_a_loaded_model_predicts_what_was_registered(template: Settings) -> None:
    fitted = new_model(template, CUT_OFF)
    loaded = load_model(template, only_version(template))
    frame = CONTRACT.to_frame(training_customers()[CONTRACT.names])
    folds = np.arange(len(frame)) % (FOLD_COUNT + 1) - 1
    expected = fitted_model(fitted).predict(frame, folds)
    found = loaded.model.predict(frame, folds)
    np.testing.assert_allclose(found.calibrated, expected.calibrated, atol=1e-12)
    assert loaded.value_pipeline is not None
    np.testing.assert_allclose(
        loaded.value_pipeline.predict(frame), fitted.value_pipeline.predict(frame), atol=1e-12
    )
    assert set(loaded.reference.quantiles) == set(CONTRACT.names)
    assert len(loaded.reference.centres) == loaded.fold_count == FOLD_COUNT
    assert loaded.contract == CONTRACT


def fitted_model(new: Any) -> Any:
    from churn_ml.models.crossfit import CrossFittedModel

    return CrossFittedModel(tuple(new.pipelines))


def test_show_holds_what_a_review_needs(template: Settings) -> None:
    shown = show_version(template, only_version(template))
    assert shown["status"] == "development"
    assert shown["validation"] == "cross_sectional"
    assert {gate["gate"]: gate["verdict"] for gate in shown["gates"]} == {
        "calibration_overall": "pass", "fairness": "fail", "profit_against_champion": "not_applicable",
    }  # fmt: skip
    fairness = next(gate for gate in shown["gates"] if gate["gate"] == "fairness")
    assert (fairness["subject"], fairness["severity"]) == ("gender", "warn")
    assert fairness["detail"] == "women are called less often"
    assert {"scikit-learn", "numpy", "scipy", "skops", "python"} <= set(shown["library_versions"])
    names = [column["name"] for column in shown["feature_contract"]]
    assert "tenure_months" in names
    assert not {"gender", "is_senior"} & set(names)
    assert (shown["calibration"], shown["value_family"]) == ("sigmoid", "spline_ridge")
    assert shown["parameters"] == {"inverse_penalty": 3.0}
    assert shown["golden_row_count"] == 50


def test_golden_rows_hold_feature_values_only(template: Settings) -> None:
    with connect(template, Role.TRAINER) as trainer:
        [(kept,)] = trainer.execute("select golden_rows from ml.model_versions").fetchall()
    assert set(kept) == {"features", "folds", "raw", "calibrated", "expected_months_retained"}
    assert set(kept["features"]) == set(CONTRACT.names)
    customers = set(training_customers()["customer_id"])
    assert not customers & {str(value) for values in kept["features"].values() for value in values}


def test_an_unknown_version_is_refused_with_the_known_ones(template: Settings) -> None:
    for call in (load_model, show_version, read_card):
        with pytest.raises(ModelError, match=only_version(template)):
            call(template, "telco-none")


def test_an_equal_training_is_found(template: Settings) -> None:
    assert find_trained(template, "a" * 64) == only_version(template)
    assert find_trained(template, "b" * 64) is None
    run_id = list_versions(template)[0].run_id
    assert version_of_run(template, run_id) == list_versions(template)[0]


def test_a_tampered_artifact_is_refused(registry: Settings) -> None:
    version = only_version(registry)
    load_model(registry, version)
    change(registry, "artifact = set_byte(artifact, 500, get_byte(artifact, 500) # 1)")
    with pytest.raises(ArtifactError, match=f"{version} is not used.*changed after it was registered"):
        load_model(registry, version)


@pytest.mark.parametrize("library", ["scikit-learn", "numpy", "scipy", "skops"])
def test_a_model_of_other_libraries_is_refused(registry: Settings, library: str) -> None:
    change(registry, f'library_versions = library_versions || \'{{"{library}": "0.1"}}\'')
    with pytest.raises(
        ArtifactError, match=rf"{library} 0\.1; found {library} .*Install the recorded versions"
    ):
        load_model(registry, only_version(registry))


def test_a_model_that_answers_otherwise_is_refused_with_the_largest_difference(registry: Settings) -> None:
    change(registry, "golden_rows = jsonb_set(golden_rows, '{calibrated, 7}', '0.99')")
    with pytest.raises(
        ArtifactError, match=r"found calibrated 0\.\d+ for row 7, which was 0\.99 \(off by 0\."
    ):
        load_model(registry, only_version(registry))
    change(registry, "golden_rows = null")
    with pytest.raises(ArtifactError, match="Expected golden rows with the model, found none"):
        load_model(registry, only_version(registry))


def test_a_model_of_another_family_than_its_bytes_is_refused(registry: Settings) -> None:
    change(registry, "family = 'base_rate', value_family = null")
    with pytest.raises(
        ArtifactError, match="Expected only reviewed types in an artifact of family base_rate"
    ):
        load_model(registry, only_version(registry))


def test_an_artifact_with_too_few_pipelines_is_refused(registry: Settings) -> None:
    change(registry, "fold_count = 7")
    with pytest.raises(ModelError, match="Expected 7 fold pipelines, found 3"):
        load_model(registry, only_version(registry))


def test_the_former_form_of_an_artifact_is_refused_with_what_to_do(registry: Settings) -> None:
    """A model that was registered before calibration: a list of pipelines, and no golden rows."""
    import skops.io

    content = skops.io.dumps(list(new_model(registry, CUT_OFF).pipelines))
    with connect(registry, Role.OWNER) as owner:
        owner.execute(
            "update ml.model_versions set artifact = %s, artifact_sha256 = encode(sha256(%s), 'hex')",
            [content, content],
        )
    with pytest.raises(
        ArtifactError, match=r"Expected a skops file of pipelines and reference.*train a new one"
    ):
        load_model(registry, only_version(registry))


def test_a_gate_with_nan_fails() -> None:
    assert GateResult("gate", float("nan"), None, None).verdict == "fail"
    assert GateResult("gate", None, 0.9, 1.1).verdict == "not_applicable"
    assert GateResult("gate", 0.9, 0.9, 1.1).verdict == GateResult("gate", 1.1, None, 1.1).verdict == "pass"
    assert GateResult("gate", 0.8, 0.9, None).verdict == GateResult("gate", 1.2, None, 1.1).verdict == "fail"


def test_two_models_are_compared_on_the_rows_that_they_were_measured_on(registry: Settings) -> None:
    first = only_version(registry)
    other_folds = register_model(registry, CUT_OFF + ONE_NIGHT, seed=2, training_sha256="b" * 64)
    other_family = register_model(
        registry, CUT_OFF + ONE_NIGHT, family="decision_tree", gates=[PASSED], training_sha256="c" * 64
    )
    comparison = compare_versions(registry, first, other_family)
    assert comparison.is_measured_on_same_rows
    assert not comparison.same_training
    assert not compare_versions(registry, first, other_folds).is_measured_on_same_rows
    assert compare_versions(registry, first, first).same_training
    [auc, loss] = compare_versions(registry, first, other_folds).metrics
    assert (auc.metric, auc.first_low, auc.difference) == ("roc_auc", 0.78, pytest.approx(0.01))
    assert (loss.metric, loss.difference) == ("log_loss", 0.0)
    verdicts = {gate.gate: (gate.first_verdict, gate.second_verdict) for gate in comparison.gates}
    assert verdicts["calibration_overall"] == ("pass", "pass")
    assert verdicts["fairness"] == ("fail", None)


@pytest.fixture
def command(registry: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The command line on the registry; gives the parsed JSON of a command, or its message."""
    variables = {"HOME": registry.home, "DATABASE_PREFIX": registry.database_prefix, "DATASET": "telco"}
    for name, value in variables.items():
        monkeypatch.setenv(f"CHURN_{name}", str(value))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["model", *arguments, "--json"])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return json.loads(result.stdout)

    return run


def test_commands_list_show_and_write_the_card(registry: Settings, command: Any, tmp_path: Path) -> None:
    version = only_version(registry)
    [listed] = command("list")
    assert (listed["model_version"], listed["status"]) == (version, "development")
    assert listed["metrics"]["roc_auc"] == 0.81
    shown = command("show", version)
    assert (shown["metrics"]["roc_auc_low"], shown["metrics"]["roc_auc_high"]) == (0.78, 0.86)
    assert command("card", version, "--output", "card.html")["output"] == "card.html"
    assert (tmp_path / "card.html").read_text() == f"<!doctype html><title>{version}</title>"
    assert command("compare", version, version)["is_measured_on_same_rows"] is True


def test_commands_promote_roll_back_and_name_the_champion(registry: Settings, command: Any) -> None:
    first = only_version(registry)
    second = register_model(registry, CUT_OFF + ONE_NIGHT, seed=2)
    failed = register_model(registry, CUT_OFF, seed=3, gates=[GateResult("calibration_overall", 2, 0.9, 1.1)])
    promoted = command("promote", first, "--reason", "the first", "--recorded-by", "tests")
    assert (promoted["alias"], promoted["valid_from"]) == ("champion", CUT_OFF.isoformat())
    command("promote", second, "--reason", "better", "--valid-from", "2026-11-03T02:00:00")
    assert command("champion", "--on", "2026-11-01")["model_version"] == first
    assert command("champion", "--on", "2026-11-02")["model_version"] == second
    assert command("champion", "--on", "2026-11-02")["on"] == "2026-11-03T02:00:00+00:00"
    assert command("champion", "--on", "2026-11-03T01:59:59")["model_version"] == first
    assert {item["model_version"]: item["status"] for item in command("list")} == {
        first: "archived", second: "production", failed: "rejected",
    }  # fmt: skip
    assert command("rollback", "--reason", "worse")["model_version"] == first
    assert champion_at(registry, CUT_OFF + 9 * ONE_NIGHT) == first
    with pytest.raises(ModelError, match="--override"):
        command("promote", failed, "--reason", "curious", "--alias", "shadow")
    shadow = command(
        "promote", failed, "--reason", "curious", "--alias", "shadow", "--override", "never published"
    )
    assert shadow["override_reason"] == "never published"
    assert command("retire", "shadow", "--reason", "seen enough")["model_version"] == failed


def test_commands_print_tables_for_people(registry: Settings, command: Any) -> None:
    version = only_version(registry)
    promote(registry, version, None, "a reason", "tests")
    for arguments in (
        ["list"],
        ["show", version],
        ["compare", version, version],
        ["champion", "--on", "2026-11-01"],
    ):
        result = CliRunner().invoke(app, ["model", *arguments])
        assert result.exit_code == 0, result.output
        assert version in result.output
        assert "{" not in result.output.replace("{}", "") or arguments[0] == "show"


def test_a_date_that_is_none_is_refused(command: Any) -> None:
    result = CliRunner().invoke(app, ["model", "champion", "--on", "31.10.2026"])
    assert result.exit_code == 2
    assert "YYYY-MM-DD" in result.output
