"""Training the model of months retained: its rows, what it refuses, and what it tells of itself."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from clones import clone_warehouse, drop_warehouse
from dated_panels import (
    LABEL,
    MONTH_ENDS,
    SPANS,
    TRAINING_CUT_OFF,
    create_dated_tables,
    load_panel,
    observations,
)
from psycopg import sql
from sklearn.pipeline import Pipeline

from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import DeclarationError, TrainingError
from churn_ml.models.value_models import Constant
from churn_ml.settings import Settings
from churn_ml.training import retention, retention_data
from churn_ml.training.retention import train_value_model
from churn_ml.training.retention_data import DAYS_PER_MONTH, RetentionPanel, read_retention_panel
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.copying import copy_in
from churn_ml.warehouse.runs import Run, open_run

pytestmark = pytest.mark.long

SEED = 5
HORIZON = 12
GAP, _, GRACE, ALLOWANCE = SPANS


def retained(rows: pd.DataFrame, seed: int = 8) -> pd.DataFrame:
    """Follow the rows that stayed: those by the month leave six times as fast as the others."""
    rows = rows[~rows["churned"].astype(bool)]
    rng = np.random.default_rng(seed)
    opened = pd.to_datetime(rows["as_of_date"]) + pd.Timedelta(days=1 + GAP)
    known = pd.Timestamp(TRAINING_CUT_OFF.date()) - pd.Timedelta(days=GRACE + ALLOWANCE)
    followed = (known - opened).dt.days.to_numpy().astype(float)
    monthly_hazard = np.where(rows["contract"] == "month_to_month", 0.12, 0.02)
    left = 30 + rng.exponential(1 / monthly_hazard) * DAYS_PER_MONTH
    return rows[["customer_id", "as_of_date"]].assign(
        days=np.minimum(left, followed), is_censored=left > followed
    )


def follow(settings: Settings, rows: pd.DataFrame) -> None:
    """Fill customer_retention, as known at the training's cut-off."""
    keys = rows[["customer_id", "as_of_date"]].assign(known_as_of=TRAINING_CUT_OFF.isoformat(), label=LABEL)
    frame = keys.join(rows[["days", "is_censored"]]).assign(churn_date=None)
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("truncate features.customer_retention")
        statement = sql.SQL("copy features.customer_retention from stdin (format csv)")
        copy_in(transformer, statement, [frame.to_csv(index=False, header=False).encode()])


@pytest.fixture(scope="module")
def template(server: Settings) -> Iterator[tuple[Settings, Run]]:
    """A year's month ends of 500 customers, followed until the middle of December 2026."""
    telco = clone_warehouse(server)
    settings = telco.model_copy(update={"dataset": "subscriptions"})
    with connect_admin(server) as admin:
        names = (sql.Identifier(telco.warehouse_database), sql.Identifier(settings.warehouse_database))
        admin.execute(sql.SQL("alter database {} rename to {}").format(*names))
    create_dated_tables(settings)
    run = open_run(settings, "training", TRAINING_CUT_OFF)
    rows = observations(500, MONTH_ENDS, log_odds=-6.0)
    load_panel(settings, run.run_id, rows)
    follow(settings, retained(rows))
    with connect_admin(server, database=settings.warehouse_database) as admin:
        admin.execute("analyze")
    yield settings, run
    drop_warehouse(settings)


@pytest.fixture(scope="module")
def dataset(template: tuple[Settings, Run]) -> Dataset:
    return load_dataset(template[0]).model_copy(update={"value_definition": "truncated_clv"})


@pytest.fixture(scope="module")
def panel(template: tuple[Settings, Run], dataset: Dataset) -> RetentionPanel:
    return read_retention_panel(*_asked(template, dataset))


@pytest.fixture
def changeable(template: tuple[Settings, Run]) -> Iterator[tuple[Settings, Run]]:
    settings = clone_warehouse(template[0])
    yield settings, template[1]
    drop_warehouse(settings)


def _asked(warehouse: tuple[Settings, Run], dataset: Dataset) -> tuple[Settings, Dataset, Run, int]:
    return warehouse[0], dataset, warehouse[1], SEED


def change(warehouse: tuple[Settings, Run], statement: str) -> None:
    with connect_admin(warehouse[0], database=warehouse[0].warehouse_database) as admin:
        admin.execute(statement)


def test_rows_are_the_retained_who_were_not_treated(
    template: tuple[Settings, Run], panel: RetentionPanel
) -> None:
    with connect(template[0], Role.AUDITOR) as auditor:
        [(expected,)] = auditor.execute(
            "select count(*) from features.customer_labels"
            " where label_status = 'retained' and treatment_status <> 'treated'"
        ).fetchall()
    assert panel.row_count == panel.total_row_count == expected
    assert panel.dates == MONTH_ENDS
    assert panel.horizon_months == HORIZON
    assert panel.customer_groups.max() == retention_data.CUSTOMER_GROUPS - 1


def test_value_model_learns_what_keeps_customers(
    template: tuple[Settings, Run], dataset: Dataset, panel: RetentionPanel
) -> None:
    model = train_value_model(*_asked(template, dataset))
    assert model is not None
    metrics = model.metrics
    assert model.family != "constant"
    assert metrics["rmse_low"] < metrics["rmse"] < metrics["rmse_high"] < metrics["rmse_constant"]
    assert metrics["squared_error_gain_low"] > 0
    assert metrics["residual_months_low"] < 0 < metrics["residual_months_high"]
    assert metrics["mean_predicted_months"] == pytest.approx(metrics["mean_pseudo_months"], rel=0.03)
    by_month = (panel.frame["contract"] == "month_to_month").to_numpy()
    expected = model.pipeline.predict(panel.frame)
    hazard, least = np.array([0.12, 0.02]), 30 / DAYS_PER_MONTH
    truth = least + (1 - np.exp(-hazard * (HORIZON - least))) / hazard
    assert [expected[by_month].mean(), expected[~by_month].mean()] == pytest.approx(truth, rel=0.06)
    assert set(metrics["families"]) == {
        "constant", "spline_ridge", "decision_tree", "random_forest", "gradient_boosting",
    }  # fmt: skip
    assert sum(decile["row_count"] for decile in metrics["deciles"]) == panel.row_count
    json.dumps(metrics, allow_nan=False)


def test_same_rows_and_seed_give_the_same_model(panel: RetentionPanel) -> None:
    few = _some(panel, panel.customers < 250)
    first, second = (retention.fit_value_model(few, SEED) for _ in range(2))
    np.testing.assert_array_equal(first.pipeline.predict(few.frame), second.pipeline.predict(few.frame))
    for metrics in (first.metrics, second.metrics):
        for family in metrics["families"].values():
            del family["seconds"]
    assert first.metrics == second.metrics


def test_nobody_is_predicted_by_a_fit_that_has_seen_them(panel: RetentionPanel) -> None:
    seen: list[set[int]] = []
    number = panel.frame.assign(number=panel.customers)["number"]

    class Recording(Constant):
        def build(self, contract: object, horizon_months: float, seed: int) -> Pipeline:
            pipeline = super().build(contract, horizon_months, seed)  # type: ignore[arg-type]
            fit, predict = pipeline.fit, pipeline.predict

            def recorded(X: pd.DataFrame, y: object) -> Pipeline:  # noqa: N803
                seen.append(set(number[X.index]))
                return fit(X, y)

            def checked(X: pd.DataFrame) -> object:  # noqa: N803
                assert not seen[-1] & set(number[X.index])
                return predict(X)

            pipeline.fit, pipeline.predict = recorded, checked
            return pipeline

    retention._validate(Recording(), panel, panel.retained_months, SEED)
    assert len(seen) == retention_data.CUSTOMER_GROUPS
    dealt_out = replace(panel, customer_groups=np.arange(panel.row_count, dtype=np.int16) % 5)
    with pytest.raises(AssertionError):
        retention._validate(Recording(), dealt_out, panel.retained_months, SEED)


def test_sample_keeps_customers_with_all_their_dates(
    template: tuple[Settings, Run], dataset: Dataset, panel: RetentionPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_data, "MOST_ROWS", 2_000)
    sampled = read_retention_panel(*_asked(template, dataset))
    assert 1_800 < sampled.row_count <= 2_000
    assert sampled.total_row_count == panel.row_count
    per_customer = sampled.row_count / len(np.unique(sampled.customers))
    assert per_customer == pytest.approx(panel.row_count / len(np.unique(panel.customers)), rel=0.1)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("delete from features.customer_retention where as_of_date < '2026-06-01'",
         "and 50 of whom were followed for 11; found"),
        ("update features.customer_retention set is_censored = true", r"found \d+, 0 and \d+ in \d+ rows"),
        ("delete from features.customer_retention where customer_id > 'C00000150'",
         r"at least 200 retained customers.*found 1\d\d, "),
        ("truncate features.customer_retention", "found 0, 0 and 0 in 0 rows of 0 dates"),
    ],
)  # fmt: skip
def test_too_little_to_learn_from_is_refused_with_the_numbers(
    changeable: tuple[Settings, Run],
    dataset: Dataset,
    fault: str,
    found: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    change(changeable, fault)
    with pytest.raises(TrainingError, match=found):
        train_value_model(*_asked(changeable, dataset))
    other = dataset.model_copy(update={"value_definition": "mrr_horizon"})
    with caplog.at_level(logging.INFO):
        assert train_value_model(*_asked(changeable, other)) is None
    assert "no model of months retained: Expected at least 200" in caplog.text


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "delete from features.customer_features where as_of_date = '2026-03-31'",
            "Expected features of all",
        ),
        ("delete from features.decision_parameters", "value_horizon_months of .* found 0 rows"),
        ("update features.decision_parameters set value_horizon_months = null", "found no months"),
        ("update features.customer_retention set retained_days = 0", "positive times of following"),
    ],
)
def test_broken_input_is_refused_whatever_the_value_definition(
    changeable: tuple[Settings, Run], dataset: Dataset, fault: str, message: str
) -> None:
    change(changeable, "delete from features.customer_retention where customer_id > 'C00000250'")
    change(changeable, fault)
    if "retained_days = 0" in fault:
        change(changeable, "update features.customer_retention set retained_days = 400, is_censored = false"
               " where customer_id <> 'C00000001'")  # fmt: skip
        change(changeable, "update features.customer_retention set retained_days = 100"
               " where customer_id < 'C00000100' and customer_id <> 'C00000001'")  # fmt: skip
    for value_definition in ("truncated_clv", "mrr_horizon"):
        declared = dataset.model_copy(update={"value_definition": value_definition})
        with pytest.raises(TrainingError, match=message):
            train_value_model(*_asked(changeable, declared))


def test_snapshot_has_no_months_to_learn_from(template: tuple[Settings, Run], dataset: Dataset) -> None:
    snapshot = dataset.model_copy(update={"kind": "snapshot", "panel": None})
    with pytest.raises(DeclarationError, match="Declare mrr_horizon, balance_margin, fixed_amount or none"):
        train_value_model(*_asked(template, snapshot))
    other = snapshot.model_copy(update={"value_definition": "mrr_horizon"})
    assert train_value_model(*_asked(template, other)) is None


def _some(panel: RetentionPanel, rows: np.ndarray) -> RetentionPanel:
    return replace(
        panel,
        frame=panel.frame[rows].reset_index(drop=True),
        **{
            name: getattr(panel, name)[rows]
            for name in ("customers", "customer_groups", "as_of_dates", "retained_months", "is_censored")
        },
    )
