"""The feature contract refuses by name and fills nothing in."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from churn_ml.errors import FeatureContractError
from churn_ml.features.contract import FeatureColumn, FeatureContract, Kind

CONTRACT = FeatureContract(
    (
        FeatureColumn("tenure_months", "integer", "point", "months"),
        FeatureColumn("monthly_charges_amount", "double precision", "point", "USD"),
        FeatureColumn("contract", "text", "point", None),
        FeatureColumn("has_partner", "boolean", "point", None),
    )
)


def two_customers() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "has_partner": [True, None],
            "contract": ["one_year", None],
            "monthly_charges_amount": [20.5, None],
            "tenure_months": [3, 4],
        }
    )


def test_contract_knows_the_kind_of_each_column() -> None:
    assert CONTRACT.names_of(Kind.NUMERIC) == ["tenure_months", "monthly_charges_amount"]
    assert CONTRACT.names_of(Kind.CATEGORICAL) == ["contract"]
    assert CONTRACT.names_of(Kind.BOOLEAN) == ["has_partner"]


def test_contract_survives_json() -> None:
    assert FeatureContract.from_json(CONTRACT.to_json()) == CONTRACT


@pytest.mark.parametrize("form", [pd.DataFrame, pa.Table.from_pandas])
def test_to_frame_keeps_missing_values_missing_and_orders_columns(form) -> None:
    frame = CONTRACT.to_frame(form(two_customers()))
    assert list(frame.columns) == CONTRACT.names
    assert frame["has_partner"].tolist()[0] == 1.0
    assert frame.isna().sum().to_dict() == {
        "tenure_months": 0,
        "monthly_charges_amount": 1,
        "contract": 1,
        "has_partner": 1,
    }


def test_to_frame_of_one_row_has_one_row() -> None:
    assert len(CONTRACT.to_frame(two_customers().head(1))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="contract"), "contract: missing"),
        (lambda frame: frame.assign(churn_score=1), "churn_score: not in the contract"),
        (lambda frame: frame.assign(tenure_months=["3", "4"]), "tenure_months: expected numeric"),
        (lambda frame: frame.assign(contract=[1, 2]), "contract: expected categorical"),
        (lambda frame: frame.assign(has_partner=["t", "f"]), "has_partner: expected boolean"),
        (lambda frame: frame.assign(contract=["x", 2]), "contract: expected categorical"),
        (lambda frame: pd.concat([frame, frame[["contract"]]], axis=1), "contract: present more than once"),
    ],
)
def test_check_refuses_a_changed_column_by_name(change, message: str) -> None:
    with pytest.raises(FeatureContractError, match=message):
        CONTRACT.check(change(two_customers()))


def test_check_accepts_a_column_that_is_missing_everywhere() -> None:
    CONTRACT.check(two_customers().assign(contract=None))
    assert CONTRACT.to_frame(two_customers().assign(contract=None))["contract"].isna().all()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            FeatureColumn("contract", "text", "point", "other"),
            r"contract: expected .*unit None.* found .*unit other",
        ),
        (FeatureColumn("contract", "boolean", "point", None), r"contract: expected text .* found boolean"),
        (FeatureColumn("plan", "text", "point", None), r"contract: missing; plan: unknown to the model"),
    ],
)  # fmt: skip
def test_two_contracts_differ_by_column_type_and_unit(column: FeatureColumn, message: str) -> None:
    columns = [column if known.name == "contract" else known for known in CONTRACT.columns]
    with pytest.raises(FeatureContractError, match=message):
        CONTRACT.check_against(FeatureContract(tuple(columns)))


def test_the_order_of_a_contract_does_not_matter() -> None:
    CONTRACT.check_against(FeatureContract(CONTRACT.columns[::-1]))


def test_numbers_reach_the_model_as_they_are() -> None:
    table = pa.table({"tenure_months": [0, 2**31 - 1], "monthly_charges_amount": [1e-300, np.inf],
                      "contract": ["", "NULL"], "has_partner": [False, True]})  # fmt: skip
    frame = CONTRACT.to_frame(table)
    assert frame["tenure_months"].tolist() == [0.0, 2.0**31 - 1]
    assert frame["monthly_charges_amount"].tolist() == [1e-300, np.inf]
    assert frame["contract"].tolist() == ["", "NULL"]
