"""Training on the real server: what it learns from, what it refuses, what it registers."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

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
from churn_ml.models.registry import list_versions, show_version
from churn_ml.settings import Settings
from churn_ml.training.panel import read_panel
from churn_ml.training.train import (
    TrainingSummary,
    train_model,
)
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
AS_OF_DATE = date(2026, 10, 31)
SEED = 5
QUICK = {"candidates": "base_rate,spline_logistic,gradient_boosting", "search_trials": 1}


@pytest.fixture
def features(settings: Settings) -> Settings:
    quick = settings.model_copy(update=QUICK)
    create_feature_tables(quick)
    return quick


@pytest.fixture
def filled(features: Settings) -> Settings:
    load_customers(features, synthetic_customers(400), AS_OF_DATE, CUT_OFF)
    return features


def open_training(settings: Settings) -> Run:
    return open_run(settings, "training", CUT_OFF)


def train(settings: Settings, **asked: Any) -> TrainingSummary:
    return train_model(settings, open_training(settings).run_id, seed=SEED, **asked)


def read_rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with connect(settings, Role.TRAINER) as trainer:
        return trainer.execute(statement).fetchall()


def training_customers(settings: Settings) -> pd.DataFrame:
    columns = ["model_version", "customer_id", "fold", "churned", "churn_probability"]
    rows = read_rows(
        settings,
        f"select {', '.join(columns)} from ml.training_customers order by model_version, customer_id",
    )
    return pd.DataFrame(rows, columns=columns)


def test_without_decisions_no_profit_is_told(filled: Settings) -> None:
    execute(filled, "update features.decision_parameters set valid_to = '2026-10-31'")
    summary = train(filled)
    assert summary.metrics["expected_profit_amount"] is None
    [profit] = [gate for gate in show_version(filled, summary.model_version)["gates"]
                if gate["gate"] == "profit"]  # fmt: skip
    assert profit["verdict"] == "not_applicable"


def test_groups_that_the_business_and_fairness_look_at_are_beside_the_rows(filled: Settings) -> None:
    add_to_contract(filled, "tenure_months", "integer", sensitivity="sensitive")
    execute(
        filled, "delete from features.feature_contract where feature_name = 'tenure_months' and position < 99"
    )
    panel = read_panel(filled, load_dataset(filled), open_training(filled), SEED, 5)
    assert list(panel.attributes) == ["segment", "region", "plan", "contract", "tenure_group"]
    assert list(panel.sensitive) == ["gender", "is_senior", "tenure_months"]
    assert set(panel.sensitive["is_senior"]) == {"true", "false"}
    assert panel.sensitive["tenure_months"].value_counts().min() > 60, "a number is in quarters"
    assert not {"gender", "is_senior", "tenure_months"} & set(panel.frame)


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


def test_the_real_telco_file_gives_an_honest_model(features: Settings, real_telco_file: Path) -> None:
    load_customers(features, real_telco_customers(real_telco_file), AS_OF_DATE, CUT_OFF)
    metrics = train(features).metrics
    assert 0.84 <= metrics["roc_auc"] <= 0.86
    assert 0.405 <= metrics["log_loss"] <= 0.42
    assert 0.97 <= metrics["observed_expected_ratio"] <= 1.03
    assert 0.97 <= metrics["observed_expected_money_ratio"] <= 1.03
