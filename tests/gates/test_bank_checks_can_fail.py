"""The bank's own raw checks: each broken by one value of a sound delivery."""

import csv
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from clones import clone_warehouse, drop_warehouse

from churn_ml.declarations import load_dataset
from churn_ml.errors import GateBlocked
from churn_ml.landing.delivery import land_inbox
from churn_ml.quality.gates import run_gate
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.provision import provision
from churn_ml.warehouse.runs import open_run

SUITE = Path(__file__).parents[2] / "great_expectations" / "expectations" / "bank__raw_values.json"
CHECKS = {item["meta"]["check"]: item for item in json.loads(SUITE.read_text())["expectations"]}
DAY = date(2026, 10, 31)
SOUND = {
    "RowNumber": "1", "CustomerId": "1", "Surname": "Family", "CreditScore": "619", "Geography": "France",
    "Gender": "Female", "Age": "42", "Tenure": "2", "Balance": "-10.5", "NumOfProducts": "1",
    "HasCrCard": "1", "IsActiveMember": "0", "EstimatedSalary": "101348.88", "Exited": "0",
}  # fmt: skip
WARNED = {
    "gender_of_bank_is_known": ("Gender", "female"),
    "geography_is_known": ("Geography", "FRA"),
    "has_cr_card_is_known": ("HasCrCard", "Yes"),
    "is_active_member_is_known": ("IsActiveMember", ""),
    "credit_score_of_bank_is_a_number": ("CreditScore", "619.5"),
    "age_of_bank_is_a_number": ("Age", "42y"),
    "tenure_of_bank_is_a_number": ("Tenure", "1.5"),
    "num_of_products_of_bank_is_a_number": ("NumOfProducts", "two"),
    "balance_of_bank_is_a_number": ("Balance", "1,000.00"),
    "estimated_salary_of_bank_is_a_number": ("EstimatedSalary", "-1"),
}


@pytest.fixture
def bank(server: Settings, tmp_path: Path) -> Iterator[Settings]:
    template = server.model_copy(update={"dataset": "bank", "database_prefix": "template_bank_gates"})
    provision(template)
    cloned = clone_warehouse(template).model_copy(update={"inbox_dir": tmp_path / "inbox"})
    yield cloned
    drop_warehouse(cloned)


def judge(settings: Settings, **changes: str) -> dict[str, str]:
    """Land one customer with `changes` and return the severity of every failed check."""
    path = settings.inbox / DAY.isoformat() / "customers.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(SOUND))
        writer.writeheader()
        writer.writerow(SOUND | changes)
    run_id = open_run(settings, "night", datetime(2026, 11, 1, 2, tzinfo=UTC)).run_id
    land_inbox(settings, run_id)
    with suppress(GateBlocked):
        run_gate(settings, run_id, "raw")
    with connect(settings, Role.AUDITOR) as auditor:
        rows = auditor.execute(
            "select check_name, severity from ops.validation_results where verdict <> 'pass' and run_id = %s",
            [run_id],
        ).fetchall()
    return {str(name): str(severity) for name, severity in rows}


def test_each_check_fails_when_its_rule_is_broken(bank: Settings) -> None:
    assert judge(bank) == {}
    assert judge(bank, **dict(WARNED.values())) == dict.fromkeys(WARNED, "warn")
    assert judge(bank, Exited="yes") == {"exited_is_one_or_zero": "block"}


def test_every_bank_check_has_a_fault_here_and_every_column_a_check(bank: Settings) -> None:
    assert {*WARNED, "exited_is_one_or_zero", "bank_texts_are_present"} == set(CHECKS)
    not_staged = {"file_row_number", "customer_id"}
    declared = set(load_dataset(bank).entities["customers"].open_columns) - not_staged
    checked = {item["kwargs"].get("column", "").removesuffix("_shape") for item in CHECKS.values()} - {""}
    assert checked == declared
