"""Builders of the ``features`` tables as dbt leaves them, for tests that do not run dbt."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from psycopg import sql

from churn_ml.models.deployments import promote
from churn_ml.settings import Settings
from churn_ml.training.train import train_model
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.copying import copy_in
from churn_ml.warehouse.runs import open_run

SERVICES = ["online_security", "online_backup", "device_protection", "tech_support", "streaming_tv",
            "streaming_movies"]  # fmt: skip
FEATURES = {
    "tenure_months": "integer",
    "monthly_charges_amount": "double precision",
    **dict.fromkeys(["contract", "payment_method", "internet_service", "multiple_lines", *SERVICES], "text"),
    **dict.fromkeys(
        ["has_partner", "has_dependents", "has_phone_service", "is_paperless_billing"], "boolean"
    ),
    "gender": "text",
    "is_senior": "boolean",
}
SENSITIVE = {"gender", "is_senior"}
_KEY = "customer_id text, as_of_date date, known_as_of timestamptz"
_TABLES = {
    "customer_population": "is_active boolean, is_eligible boolean, exclusion_reason text",
    "customer_features": ", ".join(f"{name} {kind}" for name, kind in FEATURES.items()),
    "customer_labels": "label_definition text, churned boolean, label_status text, churn_date date,"
    " value_lost_amount numeric",
    "customer_values": "monthly_value_amount numeric(18,2), currency text, value_status text",
    "customer_attributes": "segment text, region text, plan text, contract text, tenure_group text,"
    " tenure_group_sort integer",
}
DECISION_PARAMETERS = (
    "dataset text, label_definition text, valid_from date, valid_to date, tier_medium_from numeric(6,4),"
    " tier_high_from numeric(6,4), value_horizon_months integer, margin_share numeric(6,4),"
    " contact_cost_amount numeric(18,2), offer_cost_amount numeric(18,2), acceptance_share numeric(6,4),"
    " currency text, max_age_days integer"
)
_REAL_BOOLEANS = {
    "has_partner": "Partner",
    "has_dependents": "Dependents",
    "has_phone_service": "PhoneService",
    "is_paperless_billing": "PaperlessBilling",
    "churned": "Churn",
}
_REAL_TEXTS = {
    "contract": "Contract",
    "payment_method": "PaymentMethod",
    "internet_service": "InternetService",
    "multiple_lines": "MultipleLines",
    "online_security": "OnlineSecurity",
    "online_backup": "OnlineBackup",
    "device_protection": "DeviceProtection",
    "tech_support": "TechSupport",
    "streaming_tv": "StreamingTV",
    "streaming_movies": "StreamingMovies",
    "gender": "gender",
}


def create_feature_tables(settings: Settings) -> None:
    """Create the empty tables and the contract, as dbt's role."""
    with connect(settings, Role.TRANSFORMER) as transformer:
        for name, columns in _TABLES.items():
            transformer.execute(f"create table features.{name} ({_KEY}, {columns})")
        transformer.execute(
            "create table features.feature_contract (feature_name text, data_type text, feature_window text,"
            " unit text, sensitivity text, leakage_class text, position integer,"
            " is_actionable boolean default false)"
        )
        transformer.execute(f"create table features.decision_parameters ({DECISION_PARAMETERS})")
        transformer.execute(
            "insert into features.decision_parameters values"
            " ('telco', 'telco_30d', '2015-01-01', null, 0.4, 0.7, 12, 0.6, 2, 40, 0.3, 'USD', 35)"
        )
    for position, (name, data_type) in enumerate(FEATURES.items(), start=1):
        add_to_contract(settings, name, data_type, position=position,
                        sensitivity="sensitive" if name in SENSITIVE else "none")  # fmt: skip


def add_to_contract(
    settings: Settings, name: str, data_type: str, *, position: int = 99, sensitivity: str = "none",
    leakage_class: str = "safe",
) -> None:  # fmt: skip
    """Add one row to ``features.feature_contract``."""
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "insert into features.feature_contract values (%s, %s, 'point', 'none', %s, %s, %s)",
            [name, data_type, sensitivity, leakage_class, position],
        )


def synthetic_customers(count: int, *, seed: int = 7, prefix: str = "c") -> pd.DataFrame:
    """Return `count` customers in the Telco shape whose churn follows contract, tenure and price."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"customer_id": [f"{prefix}{number:07d}" for number in range(count)]})
    frame["tenure_months"] = rng.integers(0, 73, count)
    frame["monthly_charges_amount"] = np.round(rng.uniform(18, 120, count), 2)
    frame["contract"] = rng.choice(["month_to_month", "one_year", "two_year"], count, p=[0.55, 0.2, 0.25])
    frame["payment_method"] = rng.choice(["electronic_check", "mailed_check", "bank_transfer"], count)
    frame["internet_service"] = rng.choice(["fiber_optic", "dsl", "none"], count, p=[0.45, 0.35, 0.2])
    for name in ["multiple_lines", *SERVICES]:
        frame[name] = rng.choice(["yes", "no"], count)
    for name in ["has_partner", "has_dependents", "has_phone_service", "is_paperless_billing", "is_senior"]:
        frame[name] = rng.random(count) < 0.5
    frame["gender"] = rng.choice(["female", "male"], count)
    log_odds = (
        1.2
        - 0.06 * frame["tenure_months"]
        + 0.02 * (frame["monthly_charges_amount"] - 65)
        - 2.5 * (frame["contract"] != "month_to_month")
    )
    frame["churned"] = rng.random(count) < 1 / (1 + np.exp(-log_odds))
    return frame


def real_telco_customers(path: Path) -> pd.DataFrame:
    """Return the IBM file as dbt's feature table spells it."""
    raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame = pd.DataFrame({"customer_id": raw["customerID"], "tenure_months": raw["tenure"].astype(int)})
    frame["monthly_charges_amount"] = raw["MonthlyCharges"].astype(float)
    for name, source in _REAL_TEXTS.items():
        words = raw[source].str.lower().str.replace(r"[^a-z]+", "_", regex=True)
        frame[name] = words.str.strip("_")
    for name, source in _REAL_BOOLEANS.items():
        frame[name] = raw[source] == "Yes"
    frame["is_senior"] = raw["SeniorCitizen"] == "1"
    return frame


def load_customers(
    settings: Settings, customers: pd.DataFrame, as_of_date: date, known_as_of: datetime,
    *, label_definition: str = "telco_30d",
) -> None:  # fmt: skip
    """Fill the feature tables for one night; who has churned is known but not scored."""
    key = customers[["customer_id"]].assign(as_of_date=as_of_date, known_as_of=known_as_of.isoformat())
    gone = customers["churned"].eq(True)
    population = key.assign(is_active=~gone, is_eligible=~gone,
                            exclusion_reason=np.where(gone, "not_active", None))  # fmt: skip
    labels = key.assign(label_definition=label_definition, churned=customers["churned"],
                        label_status="observed", churn_date=None, value_lost_amount=None)  # fmt: skip
    values = key.assign(monthly_value_amount=customers["monthly_charges_amount"], currency="USD",
                        value_status="known")  # fmt: skip
    _load(settings, "customer_population", population)
    _load(settings, "customer_features", key.join(customers[list(FEATURES)]))
    _load(settings, "customer_labels", labels)
    _load(settings, "customer_values", values)
    _load(settings, "customer_attributes", key.join(_attributes(customers)))


def _attributes(customers: pd.DataFrame) -> pd.DataFrame:
    tenure = customers["tenure_months"].fillna(0).to_numpy()
    sort = np.searchsorted([12, 24, 48], tenure) + 1
    names = np.array(["", "up_to_12_months", "13_to_24_months", "25_to_48_months", "over_48_months"])
    return pd.DataFrame({
        "segment": customers["internet_service"], "region": "not_stated",
        "plan": customers["internet_service"], "contract": customers["contract"],
        "tenure_group": names[sort], "tenure_group_sort": sort,
    })  # fmt: skip


def execute(settings: Settings, statement: str, parameters: Sequence[object] = ()) -> None:
    """Run one statement as dbt's role."""
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute(statement, parameters)


def _load(settings: Settings, table: str, frame: pd.DataFrame) -> None:
    statement = sql.SQL("copy {} from stdin (format csv)").format(sql.Identifier("features", table))
    with connect(settings, Role.TRANSFORMER) as transformer:
        copy_in(transformer, statement, [frame.to_csv(index=False, header=False).encode()])


def train_champion(
    settings: Settings, customers: pd.DataFrame, as_of_date: date, known_as_of: datetime
) -> str:
    """Create and fill the feature tables, train on them, and promote what was selected."""
    create_feature_tables(settings)
    load_customers(settings, customers, as_of_date, known_as_of)
    trained = train_model(settings, open_run(settings, "training", known_as_of).run_id, seed=20260101)
    promote(settings, trained.model_version, known_as_of, "test", "test")
    return trained.model_version
