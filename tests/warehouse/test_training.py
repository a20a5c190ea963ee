"""Training on the real server: what it learns from, what it refuses, what it registers."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feature_tables import (
    add_to_contract,
    create_feature_tables,
    execute,
    load_customers,
    real_telco_customers,
    synthetic_customers,
)

from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import FeatureContractError, TrainingError
from churn_ml.features.contract import read_contract
from churn_ml.models.registration import GateResult
from churn_ml.models.registry import list_versions, load_model
from churn_ml.settings import Settings
from churn_ml.training.evaluation import evaluate
from churn_ml.training.gates import calibration_gate
from churn_ml.training.panel import read_panel
from churn_ml.training.train import train_model
from churn_ml.training.trials import Trial, select
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
AS_OF_DATE = date(2026, 10, 31)
SEED = 5


@pytest.fixture
def features(settings: Settings) -> Settings:
    create_feature_tables(settings)
    return settings


def open_training(settings: Settings) -> Run:
    return open_run(settings, "training", CUT_OFF)


def training_customers(settings: Settings) -> pd.DataFrame:
    with connect(settings, Role.TRAINER) as trainer:
        rows = trainer.execute(
            "select model_version, customer_id, fold, churned, churn_probability from ml.training_customers"
            " order by model_version, customer_id"
        ).fetchall()
    return pd.DataFrame(
        rows, columns=["model_version", "customer_id", "fold", "churned", "churn_probability"]
    )


def test_the_same_rows_and_seed_give_the_same_model(features: Settings) -> None:
    load_customers(features, synthetic_customers(600), AS_OF_DATE, CUT_OFF)
    first = train_model(features, open_training(features).run_id, seed=SEED)
    second = train_model(features, open_training(features).run_id, seed=SEED)
    assert first.model_version != second.model_version
    assert first.metrics == second.metrics
    trained = training_customers(features)
    versions = {version: rows.drop(columns="model_version").reset_index(drop=True)
                for version, rows in trained.groupby("model_version")}  # fmt: skip
    pd.testing.assert_frame_equal(
        versions[first.model_version], versions[second.model_version], check_exact=True
    )


def test_the_registered_pipelines_are_those_of_the_out_of_fold_predictions(features: Settings) -> None:
    load_customers(features, synthetic_customers(400), AS_OF_DATE, CUT_OFF)
    run = open_training(features)
    summary = train_model(features, run.run_id, seed=SEED)
    panel = read_panel(features, load_dataset(features), run, SEED, 5)
    loaded = load_model(features, summary.model_version)
    np.testing.assert_allclose(
        loaded.model.predict(panel.frame, panel.folds),
        training_customers(features)["churn_probability"],
        rtol=0,
        atol=1e-12,
    )


def test_a_retry_returns_what_the_run_registered(features: Settings) -> None:
    load_customers(features, synthetic_customers(400), AS_OF_DATE, CUT_OFF)
    run = open_training(features)
    first = train_model(features, run.run_id, seed=SEED)
    assert train_model(features, run.run_id, seed=SEED) == first
    assert len(list_versions(features)) == 1


def test_a_customer_of_unknown_outcome_does_not_train(features: Settings) -> None:
    customers = synthetic_customers(500).astype({"churned": object})
    customers.loc[:99, "churned"] = None
    load_customers(features, customers, AS_OF_DATE, CUT_OFF)
    train_model(features, open_training(features).run_id, seed=SEED)
    trained = training_customers(features)
    assert sorted(trained["customer_id"]) == sorted(customers["customer_id"][100:])
    assert trained["churned"].sum() == customers["churned"][100:].sum()


def test_other_nights_and_other_labels_do_not_train(features: Settings) -> None:
    load_customers(features, synthetic_customers(400), AS_OF_DATE, CUT_OFF)
    load_customers(features, synthetic_customers(50, prefix="d"), date(2026, 10, 30), CUT_OFF)
    load_customers(features, synthetic_customers(50, prefix="e"), AS_OF_DATE, CUT_OFF, label_definition="x")
    train_model(features, open_training(features).run_id, seed=SEED)
    assert set(training_customers(features)["customer_id"].str[0]) == {"c"}


def test_too_little_to_learn_from_is_refused_with_the_counts(features: Settings) -> None:
    few = synthetic_customers(310)
    few["churned"] = np.arange(310) < 40
    load_customers(features, few, AS_OF_DATE, CUT_OFF)
    with pytest.raises(TrainingError, match="found 310 rows, 40 churned, 270 stayed, 5 folds for 2026-10-31"):
        train_model(features, open_training(features).run_id, seed=SEED)
    assert list_versions(features) == []


def test_no_rows_are_refused_with_the_counts(features: Settings) -> None:
    with pytest.raises(TrainingError, match="found 0 rows"):
        train_model(features, open_training(features).run_id, seed=SEED)


def test_a_feature_without_any_value_is_refused_by_name(features: Settings) -> None:
    load_customers(features, synthetic_customers(400), AS_OF_DATE, CUT_OFF)
    execute(features, "update features.customer_features set tech_support = null, has_partner = null")
    with pytest.raises(TrainingError, match="tech_support, has_partner"):
        train_model(features, open_training(features).run_id, seed=SEED)


def test_missing_values_and_empty_texts_train_and_differ(features: Settings) -> None:
    load_customers(features, synthetic_customers(400), AS_OF_DATE, CUT_OFF)
    execute(features, "update features.customer_features set tech_support = null, tenure_months = null,"
            " has_partner = null where customer_id < 'c0000050'")  # fmt: skip
    execute(
        features, "update features.customer_features set tech_support = '' where customer_id > 'c0000350'"
    )
    run = open_training(features)
    panel = read_panel(features, load_dataset(features), run, SEED, 5)
    assert panel.frame["tech_support"].isna().sum() == panel.frame["has_partner"].isna().sum() == 50
    assert (panel.frame["tech_support"] == "").sum() == 49
    train_model(features, run.run_id, seed=SEED)


def read(settings: Settings, **changes: object) -> list[str]:
    dataset: Dataset = load_dataset(settings).model_copy(update=changes)
    with connect(settings, Role.TRAINER) as trainer:
        return read_contract(trainer, dataset).names


def test_contract_leaves_out_sensitive_columns_and_proxies(features: Settings) -> None:
    add_to_contract(features, "total_charges_amount", "numeric", leakage_class="tenure_proxy")
    add_to_contract(features, "churn_reason", "text", leakage_class="outcome_coded")
    names = read(features)
    assert names[:2] == ["tenure_months", "monthly_charges_amount"]
    assert not {"gender", "is_senior", "total_charges_amount", "churn_reason"} & set(names)


def test_contract_lets_a_sensitive_column_in_by_declaration_only(features: Settings) -> None:
    declared = load_dataset(features).model_copy(update={"sensitive_features": []})
    feature = type("Feature", (), {"column": "gender", "reason": "a test of the declaration"})
    assert "gender" in read(features, sensitive_features=[feature])
    assert declared.sensitive_features == []
    unknown = type("Feature", (), {"column": "tenure_months", "reason": "not sensitive at all"})
    with pytest.raises(FeatureContractError, match="found: tenure_months"):
        read(features, sensitive_features=[unknown])


@pytest.mark.parametrize(
    "name", ["churn", "churn_score", "churn_reason", "complain", "exited", "has_churned"]
)
def test_contract_refuses_an_outcome_by_its_name(features: Settings, name: str) -> None:
    add_to_contract(features, name, "text")
    with pytest.raises(FeatureContractError, match=f"found {name}"):
        read(features)


@pytest.mark.parametrize(
    ("data_type", "leakage_class", "message"), [("uuid", "safe", "found uuid"), ("text", "fine", "'fine'")]
)
def test_contract_refuses_what_it_does_not_know(
    features: Settings, data_type: str, leakage_class: str, message: str
) -> None:
    add_to_contract(features, "plan_id", data_type, leakage_class=leakage_class)
    with pytest.raises(FeatureContractError, match=message):
        read(features)


def test_an_empty_contract_is_refused(features: Settings) -> None:
    execute(features, "delete from features.feature_contract")
    with pytest.raises(FeatureContractError, match="Build the features with dbt"):
        read(features)


def trial(family: str, log_loss: float, ratio: float) -> Trial:
    gate = GateResult("calibration_overall", ratio, 0.9, 1.1)
    return Trial(family, [], np.array([]), {"log_loss": log_loss}, (gate,))


def test_the_lowest_log_loss_wins_among_the_calibrated() -> None:
    trials = [trial("overstates", 0.30, 0.65), trial("good", 0.41, 0.9), trial("worse", 0.42, 1.0)]
    assert select(trials).family == "good"


def test_no_calibrated_candidate_is_an_error_with_the_ratios() -> None:
    with pytest.raises(TrainingError, match=r"overstates: calibration_overall 0\.650"):
        select([trial("overstates", 0.30, 0.65)])


def test_class_weights_would_not_pass_the_calibration_gate() -> None:
    churned = np.arange(1000) < 265
    assert calibration_gate(churned, np.full(1000, 0.265)).verdict == "pass"
    assert calibration_gate(churned, np.full(1000, 0.41)).verdict == "fail"


def test_metrics_by_hand() -> None:
    churned = np.array([True, False, True, False])
    metrics = evaluate(churned, np.array([0.8, 0.4, 0.5, 0.1]), np.array([10.0, 20.0, np.nan, 30.0]))
    assert metrics["roc_auc"] == 1.0
    assert metrics["brier"] == pytest.approx((0.04 + 0.16 + 0.25 + 0.01) / 4)
    assert metrics["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.5, 0.9]).mean())
    assert metrics["observed_expected_ratio"] == pytest.approx(2 / 1.8)
    assert metrics["expected_observed_revenue_ratio"] == pytest.approx((8 + 8 + 3) / 10)
    assert "expected_observed_revenue_ratio" not in evaluate(churned, np.full(4, 0.5), np.full(4, np.nan))


def test_the_real_telco_file_gives_an_honest_model(features: Settings, real_telco_file: Path) -> None:
    load_customers(features, real_telco_customers(real_telco_file), AS_OF_DATE, CUT_OFF)
    metrics = train_model(features, open_training(features).run_id, seed=SEED).metrics
    assert 0.84 <= metrics["roc_auc"] <= 0.86
    assert 0.405 <= metrics["log_loss"] <= 0.42
    assert 0.97 <= metrics["observed_expected_ratio"] <= 1.03
    assert 0.97 <= metrics["expected_observed_revenue_ratio"] <= 1.03
    assert set(metrics["candidates"]) == {"spline_logistic", "random_forest", "gradient_boosting"}
