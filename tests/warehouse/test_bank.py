"""The bank dataset, which is a declaration and dbt models and no Python: from its file to the marts."""

import csv
import os
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import psycopg
import pytest
from clones import clone_warehouse, drop_warehouse
from kaplan_meier import kaplan_meier
from nightly import cut_off_of, first_load, night, read, train_and_promote
from untested import build_layer

from churn_ml.declarations import load_dataset
from churn_ml.errors import TransformationError
from churn_ml.features.contract import read_contract
from churn_ml.landing.delivery import land_inbox
from churn_ml.landing.snapshots import settle_night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.provision import provision
from churn_ml.warehouse.runs import open_run

PROJECT = Path(__file__).resolve().parents[2]
FIRST_DAY, SECOND_DAY = date(2026, 9, 30), date(2026, 10, 31)
MODEL_FEATURES = ["credit_score", "region", "tenure_years", "balance_amount", "product_count",
                  "has_credit_card", "is_active_member", "estimated_salary_amount"]  # fmt: skip
COLUMNS = ["RowNumber", "CustomerId", "Surname", "CreditScore", "Geography", "Gender", "Age", "Tenure",
           "Balance", "NumOfProducts", "HasCrCard", "IsActiveMember", "EstimatedSalary",
           "Exited"]  # fmt: skip


def write_bank_file(path: Path, customers: int, *extra: list[object]) -> Path:
    """A file of the real one's shape, in which few products, no use and Germany lose customers."""
    draws = np.random.default_rng(20260101)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(1, customers + 1):
            region = str(draws.choice(["France", "Germany", "Spain"]))
            products, is_used = int(draws.integers(1, 5)), int(draws.integers(0, 2))
            log_odds = -2.5 + 0.8 * (region == "Germany") + 1.2 * (1 - is_used) + 1.1 * (products > 2)
            exited = int(draws.random() < 1 / (1 + np.exp(-log_odds)))
            balance = round(float(draws.uniform(0, 200_000)), 2) if draws.random() < 0.64 else 0
            writer.writerow([number, 15_000_000 + number, f"Family {number % 97}",
                             int(draws.integers(350, 851)), region, str(draws.choice(["Female", "Male"])),
                             int(draws.integers(18, 93)), int(draws.integers(0, 11)), balance, products,
                             int(draws.integers(0, 2)), is_used, round(float(draws.uniform(0, 2e5)), 2),
                             exited])  # fmt: skip
        writer.writerows(extra)
    return path


@pytest.fixture(scope="module")
def bank_server(server: Settings) -> Settings:
    """A migrated warehouse of the bank on the tests' server, used only as a template."""
    template = server.model_copy(
        update={
            "dataset": "bank",
            "database_prefix": "template_bank",
            "candidates": "base_rate,spline_logistic",
            "search_trials": 1,
        }
    )
    provision(template)
    return template


@pytest.fixture
def bank(bank_server: Settings, tmp_path: Path) -> Iterator[Settings]:
    cloned = clone_warehouse(bank_server).model_copy(update={"inbox_dir": tmp_path / "inbox"})
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture(scope="module")
def published_bank(bank_server: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A trained bank with one published night."""
    folder = tmp_path_factory.mktemp("bank")
    settings = clone_warehouse(bank_server).model_copy(update={"inbox_dir": folder / "inbox"})
    first_load(settings, write_bank_file(folder / "bank.csv", 2500), FIRST_DAY)
    train_and_promote(settings, cut_off_of(FIRST_DAY))
    deliver(settings, write_bank_file(folder / "bank again.csv", 2600))
    night(settings, cut_off_of(SECOND_DAY), tested=True)
    yield settings
    drop_warehouse(settings)


def deliver(settings: Settings, path: Path) -> None:
    folder = settings.inbox / SECOND_DAY.isoformat()
    folder.mkdir(parents=True)
    (folder / "Churn_Modelling.csv").write_bytes(path.read_bytes())


def declare(project: Path, value_definition: str) -> None:
    """Write the bank's declaration with this value definition."""
    text = (PROJECT / "datasets" / "bank.yml").read_text(encoding="utf-8")
    changed = text.replace('value_definition: "none"', f'value_definition: "{value_definition}"')
    (project / "datasets" / "bank.yml").write_text(changed, encoding="utf-8")


def test_a_night_of_the_bank_is_published(published_bank: Settings) -> None:
    [(customers, active, scored)] = read(
        published_bank, "select customer_count, active_count, scored_count from marts.dim_scoring_run"
    )
    assert customers == 2600
    assert active == scored
    assert 1500 < int(str(scored)) < 2600
    [(least, greatest)] = read(
        published_bank, "select min(churn_probability), max(churn_probability) from marts.fct_churn_score"
    )
    assert 0 < float(str(least)) < float(str(greatest)) < 1
    assert read(published_bank, "select distinct region from marts.customer_churn_current order by 1") == [
        ("france",), ("germany",), ("spain",)
    ]  # fmt: skip


def test_survival_of_the_bank_is_that_of_its_tenures(published_bank: Settings) -> None:
    lives = read(
        published_bank,
        "select 12 * tenure_years, not is_active from features.customer_features"
        " join features.customer_population using (customer_id, as_of_date, known_as_of)"
        " where as_of_date in (select as_of_date from marts.dim_scoring_run)",
        Role.AUDITOR,
    )
    expected = kaplan_meier(
        [0] * len(lives), [int(str(months)) for months, _ in lives], [bool(ended) for _, ended in lives]
    )
    found = read(
        published_bank,
        "select lifetime_months, at_risk_count, ended_count, survival_share,"
        " coalesce(survival_share_low, 'nan'), coalesce(survival_share_high, 'nan')"
        " from marts.customer_survival where contract = 'all' order by 1",
    )
    assert np.array(found, dtype=float) == pytest.approx(np.array(expected), abs=1e-6, nan_ok=True)
    assert len(found) == 121


def test_every_score_of_the_bank_has_a_reason_in_words_and_an_interval(published_bank: Settings) -> None:
    [(scored, explained, within)] = read(
        published_bank,
        "select count(*), count(reason_1_sentence),"
        " count(*) filter (where churn_probability between churn_probability_low and churn_probability_high)"
        " from marts.customer_churn_current where churn_probability is not null",
    )
    assert scored == explained == within


def test_money_of_the_bank_is_null_with_a_status(published_bank: Settings) -> None:
    found = read(
        published_bank,
        "select distinct monthly_value_amount, value_at_risk_amount, expected_revenue_loss_amount,"
        " value_status, currency from marts.customer_churn_current",
    )
    assert found == [(None, None, None, "no_value_definition", "EUR")]
    [(amounts, customers)] = read(
        published_bank,
        "select count(expected_revenue_loss_amount), sum(customer_count) from marts.revenue_at_risk_daily",
    )
    assert amounts == 0
    assert int(str(customers)) > 1500


@pytest.mark.parametrize("role", [Role.TRANSFORMER, Role.AUDITOR, Role.TRAINER, Role.SCORER, Role.READER])
def test_nobody_downstream_reads_the_surname(published_bank: Settings, role: Role) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        read(published_bank, "select surname from raw_restricted.customers", role)


def test_no_relation_but_the_restricted_one_has_a_surname(published_bank: Settings) -> None:
    found = read(
        published_bank,
        "select table_schema, table_name from information_schema.columns where column_name = 'surname'",
        Role.OWNER,
    )
    assert found == [("raw_restricted", "customers")]
    pairs = read(
        published_bank,
        "select count(*), count(distinct surname) from raw.customers inner join raw_restricted.customers"
        " using (_batch_id, _row_number)",
        Role.OWNER,
    )
    assert pairs == [(5100, 97)]


def test_models_of_the_bank_read_neither_gender_nor_age(published_bank: Settings) -> None:
    with connect(published_bank, Role.TRAINER) as trainer:
        contract = read_contract(trainer, load_dataset(published_bank))
    assert list(contract.names) == MODEL_FEATURES
    assert [column.unit for column in contract.columns if column.name == "tenure_years"] == ["years"]


ROWS = {
    "rich": [1, "rich", "Family", 600, "France", "Male", 40, 2, 12_000.30, 1, 1, 1, 50_000, 0],
    "overdrawn": [2, "overdrawn", "Family", 600, "Spain", "Male", 40, 2, -50, 1, 1, 1, 50_000, 0],
    "torn": [3, "torn", "Family", 600, "Spain", "Male", 40, 2, "much", 1, 1, 1, 50_000, 0],
    "gone": [4, "gone", "Family", 600, "Germany", "Male", 40, 2, 600, 1, 1, 1, 50_000, 1],
}
VALUES = {
    "none": dict.fromkeys(ROWS, (None, "no_value_definition")),
    "balance_margin": {
        "rich": (Decimal("20.00"), "known"), "overdrawn": (Decimal("0.00"), "known"),
        "torn": (None, "missing"), "gone": (Decimal("1.00"), "known"),
    },
    "fixed_amount": dict.fromkeys(ROWS, (Decimal("15.00"), "known")),
}  # fmt: skip
LOST = {"none": None, "balance_margin": Decimal("12.00"), "fixed_amount": Decimal("180.00")}


@pytest.fixture(scope="module")
def valued(bank_server: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, str]]:
    """A night of four customers, staged, in a copy of the project whose declaration may change."""
    folder = tmp_path_factory.mktemp("valued")
    (folder / "datasets").mkdir()
    (folder / "dbt_project").symlink_to(PROJECT / "dbt_project")
    declare(folder, "none")
    settings = clone_warehouse(bank_server).model_copy(
        update={"inbox_dir": folder / "inbox", "project_dir": folder}
    )
    deliver(settings, write_bank_file(folder / "bank.csv", 0, *ROWS.values()))
    run_id = open_run(settings, "night", cut_off_of(SECOND_DAY)).run_id
    land_inbox(settings, run_id)
    assert settle_night(settings, run_id)
    build_layer(settings, run_id, "staging")
    build_layer(settings, run_id, "intermediate")
    yield settings, run_id
    drop_warehouse(settings)


@pytest.mark.parametrize("value_definition", VALUES)
def test_the_declared_value_definition_gives_the_money(
    valued: tuple[Settings, str], value_definition: str
) -> None:
    settings, run_id = valued
    declare(settings.project_dir, value_definition)
    build_layer(settings, run_id, "features", tested=value_definition != "none")
    found = read(
        settings,
        "select customer_id, monthly_value_amount, value_status from features.customer_values",
        Role.AUDITOR,
    )
    assert {name: (amount, status) for name, amount, status in found} == VALUES[value_definition]
    lost = dict(
        read(settings, "select customer_id, value_lost_amount from features.customer_labels", Role.AUDITOR)
    )
    assert lost["gone"] == LOST[value_definition]
    assert lost["rich"] == (None if value_definition == "none" else 0)


def test_a_value_definition_that_the_file_cannot_serve_is_refused(valued: tuple[Settings, str]) -> None:
    settings, run_id = valued
    declare(settings.project_dir, "mrr_horizon")
    with pytest.raises(
        TransformationError, match="one of none, balance_margin, fixed_amount, found mrr_horizon"
    ):
        build_layer(settings, run_id, "features")


def test_a_value_definition_without_its_number_for_the_day_is_refused(valued: tuple[Settings, str]) -> None:
    settings, run_id = valued
    declare(settings.project_dir, "fixed_amount")
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("update staging.value_parameters set valid_to = %s", [SECOND_DAY])
    with pytest.raises(
        TransformationError,
        match=f"value definition fixed_amount valid on {SECOND_DAY}, found 0",
    ):
        build_layer(settings, run_id, "features")


def test_a_refused_value_keeps_a_customer_from_being_scored(valued: tuple[Settings, str]) -> None:
    settings, _ = valued
    found = read(
        settings, "select customer_id, exclusion_reason from features.customer_population", Role.AUDITOR
    )
    assert dict(found) == {
        "rich": None, "overdrawn": None, "torn": "rejected_value", "gone": "not_active"
    }  # fmt: skip
    rejects = read(
        settings, "select column_name, rejected_value from staging.stg_bank__rejects", Role.AUDITOR
    )
    assert rejects == [("balance", "much")]


@pytest.mark.long
def test_the_real_bank_file_runs_through_a_night(bank: Settings) -> None:
    folder = os.environ.get("CHURN_REAL_DATA_DIR")
    if folder is None:
        pytest.skip("CHURN_REAL_DATA_DIR is not set: the real bank file is not at hand")
    path = Path(folder) / "bank_churn_modelling.csv"
    assert path.is_file(), f"CHURN_REAL_DATA_DIR is set but {path} is not there"
    first_load(bank, path, FIRST_DAY)
    train_and_promote(bank, cut_off_of(FIRST_DAY))
    learnt = read(bank, "select row_count, churned_count from ml.model_versions", Role.AUDITOR)
    assert learnt == [(10_000, 2037)]
    deliver(bank, path)
    night(bank, cut_off_of(SECOND_DAY), tested=True)
    [(customers, active, scored, exited)] = read(
        bank,
        "select count(*), count(*) filter (where is_active), count(churn_probability),"
        " count(*) filter (where exclusion_reason = 'not_active') from marts.fct_churn_score",
    )
    assert (customers, active, scored, exited) == (10_000, 7963, 7963, 2037)
