"""Synthetic customers of one night, a model trained on them, and what a run said of them."""

from datetime import UTC, date, datetime

import pandas as pd
from clones import clone_warehouse
from feature_tables import create_feature_tables, load_customers, synthetic_customers
from registered_models import register_model

from churn_ml.models.deployments import promote
from churn_ml.scoring.reasons import REASON_COLUMNS
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_run

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
AS_OF_DATE = date(2026, 10, 31)
TRAINED = 300


def make_champion(server: Settings) -> Settings:
    """Return a warehouse with features of one night, a model trained on them, and its deployment."""
    cloned = clone_warehouse(server)
    create_feature_tables(cloned)
    load_customers(cloned, synthetic_customers(TRAINED), AS_OF_DATE, CUT_OFF)
    promote(cloned, register_model(cloned, CUT_OFF), CUT_OFF, "test", "test")
    return cloned


def open_night(settings: Settings) -> str:
    return open_run(settings, "night", CUT_OFF).run_id


def query(settings: Settings, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with connect(settings, Role.AUDITOR) as auditor:
        return auditor.execute(statement, parameters).fetchall()


def read_scores(settings: Settings, run_id: str) -> pd.DataFrame:
    columns = ["customer_id", "churn_probability_raw", "churn_probability", "churn_probability_low",
               "churn_probability_high", "expected_months_retained", *REASON_COLUMNS, "is_out_of_fold",
               "feature_row_sha256", "model_version"]  # fmt: skip
    rows = query(
        settings,
        f"select {', '.join(columns)} from scores.customer_scores where run_id = %s order by customer_id",
        run_id,
    )
    return pd.DataFrame(rows, columns=columns)


def add_customers(settings: Settings, count: int) -> pd.DataFrame:
    newcomers = synthetic_customers(count, seed=99, prefix="new").assign(churned=False)
    load_customers(settings, newcomers, AS_OF_DATE, CUT_OFF)
    return newcomers
