"""The synthetic Telco business: its file looks like the real one, its customers live on between files."""

import csv
import re
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from churn_ml.declarations import load_dataset
from churn_ml.errors import SettingsError
from churn_ml.settings import Settings
from churn_ml.simulation import telco_shape
from churn_ml.simulation.telco_shape import SnapshotSummary, write_snapshot

SEPTEMBER, OCTOBER = date(2026, 9, 30), date(2026, 10, 31)
NUMBERS = {"tenure", "MonthlyCharges", "TotalCharges", "customerID"}
INTERNET_OPTIONS = [
    "OnlineSecurity",
    "OnlineBackup",
    "DeviceProtection",
    "TechSupport",
    "StreamingTV",
    "StreamingMovies",
]


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def snapshot(folder: Path, as_of_date: date, *, customers: int = 6000, seed: int = 7) -> pd.DataFrame:
    path = folder / f"{as_of_date}-{seed}-{customers}.csv"
    write_snapshot(path, customers=customers, as_of_date=as_of_date, seed=seed)
    return read(path)


@pytest.fixture(scope="module")
def october(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return snapshot(tmp_path_factory.mktemp("october"), OCTOBER)


@pytest.fixture(scope="module")
def september(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return snapshot(tmp_path_factory.mktemp("september"), SEPTEMBER)


def test_file_has_the_columns_that_the_declaration_names(october: pd.DataFrame) -> None:
    declared = load_dataset(Settings(_env_file=None, dataset="telco")).entities["customers"].columns
    assert list(october.columns) == list(declared)


def test_file_has_the_category_texts_of_the_real_one(october: pd.DataFrame, real_telco_file: Path) -> None:
    real = read(real_telco_file)
    assert list(october.columns) == list(real.columns)
    for column in set(real.columns) - NUMBERS:
        assert set(october[column]) == set(real[column]), column


def test_share_of_churned_customers_is_that_of_the_real_file(october: pd.DataFrame) -> None:
    assert (october["Churn"] == "Yes").mean() == pytest.approx(0.265, abs=0.02)


def test_churn_is_as_predictable_as_in_the_real_file(october: pd.DataFrame) -> None:
    features = pd.get_dummies(october.drop(columns=["customerID", "Churn", "TotalCharges", "tenure"])
                              .assign(MonthlyCharges=october["MonthlyCharges"].astype(float)))  # fmt: skip
    features["log_tenure"] = np.log1p(october["tenure"].astype(int))
    churned = (october["Churn"] == "Yes").to_numpy()
    model = LogisticRegression(max_iter=3000)
    probability = cross_val_predict(model, features.astype(float), churned, method="predict_proba")[:, 1]
    assert 0.825 <= roc_auc_score(churned, probability) <= 0.86


def test_options_depend_on_the_service_they_belong_to(october: pd.DataFrame) -> None:
    no_internet = october["InternetService"] == "No"
    for column in INTERNET_OPTIONS:
        assert ((october[column] == "No internet service") == no_internet).all(), column
    no_phone = october["PhoneService"] == "No"
    assert ((october["MultipleLines"] == "No phone service") == no_phone).all()
    assert (october.loc[no_phone, "InternetService"] == "DSL").all()


def test_charges_are_money_texts_and_add_up(october: pd.DataFrame) -> None:
    assert october["MonthlyCharges"].str.fullmatch(r"\d+\.\d\d").all()
    first_bill = october[october["tenure"] == "1"]
    assert (first_bill["TotalCharges"] == first_bill["MonthlyCharges"]).all()
    billed = october[october["tenure"] != "0"]
    expected = billed["MonthlyCharges"].astype(float) * billed["tenure"].astype(int)
    assert (billed["TotalCharges"].astype(float) / expected).between(0.94, 1.06).all()


def test_total_charges_are_blank_exactly_where_tenure_is_zero(october: pd.DataFrame) -> None:
    new = october["tenure"] == "0"
    assert 0 < new.sum() < 30
    assert ((october["TotalCharges"] == " ") == new).all()
    assert (october.loc[new, "Churn"] == "No").all()


def test_ids_are_unique_and_look_like_the_real_ones(october: pd.DataFrame) -> None:
    assert october["customerID"].is_unique
    assert october["customerID"].str.fullmatch(r"\d{4}-[A-Z]{5}").all()


def test_next_snapshot_keeps_exactly_those_who_had_not_churned(
    september: pd.DataFrame, october: pd.DataFrame
) -> None:
    stayed = september.loc[september["Churn"] == "No", "customerID"]
    known = set(september["customerID"]) & set(october["customerID"])
    assert known == set(stayed)
    assert len(october) == len(september)


def test_customers_who_stay_grow_older_and_pay_on(september: pd.DataFrame, october: pd.DataFrame) -> None:
    both = september.merge(october, on="customerID", suffixes=("", "_later"))
    assert (both["tenure_later"].astype(int) == both["tenure"].astype(int) + 1).all()
    for column in set(september.columns) - {"customerID", "tenure", "TotalCharges", "Churn"}:
        assert (both[column] == both[f"{column}_later"]).all(), column
    billed = both[both["tenure"] != "0"]
    assert (billed["TotalCharges_later"].astype(float) > billed["TotalCharges"].astype(float)).all()


def test_customers_who_arrive_are_in_their_first_month(
    september: pd.DataFrame, october: pd.DataFrame
) -> None:
    arrived = october[~october["customerID"].isin(september["customerID"])]
    assert len(arrived) == (september["Churn"] == "Yes").sum()
    assert set(arrived["tenure"]) <= {"0", "1"}


def test_same_arguments_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.csv", "two.csv", "other.csv")]
    for path, seed in zip(paths, (7, 7, 8), strict=True):
        write_snapshot(path, customers=500, as_of_date=OCTOBER, seed=seed)
    one, two, other = (path.read_bytes() for path in paths)
    assert one == two
    assert one != other


def test_a_life_does_not_depend_on_how_many_are_computed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = snapshot(tmp_path, OCTOBER, customers=1000)
    monkeypatch.setattr(telco_shape, "_CHUNK", 64)
    in_chunks = snapshot(tmp_path, OCTOBER, customers=999)
    pd.testing.assert_frame_equal(whole.head(999), in_chunks)


def test_a_date_inside_a_month_shows_the_month_before(tmp_path: Path) -> None:
    inside = snapshot(tmp_path, date(2026, 10, 30), customers=200)
    pd.testing.assert_frame_equal(inside, snapshot(tmp_path, SEPTEMBER, customers=200))


def test_summary_counts_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file.csv"
    summary = write_snapshot(path, customers=300, as_of_date=OCTOBER, seed=1)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert summary == SnapshotSummary(rows=len(rows), churned=sum(row["Churn"] == "Yes" for row in rows))
    assert [entry.name for entry in path.parent.iterdir()] == ["file.csv"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"as_of_date": date(2021, 1, 30)}, "from 2021-01-31 on, found 2021-01-30"),
        ({"customers": 0}, "found 0 customers"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_arguments_outside_of_the_business_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    arguments = {"customers": 10, "as_of_date": OCTOBER, "seed": 1} | change
    with pytest.raises(SettingsError, match=re.escape(message)):
        write_snapshot(tmp_path / "file.csv", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
