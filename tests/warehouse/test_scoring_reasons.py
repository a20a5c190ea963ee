"""What a score carries beside its probability: reasons, interval, expected months."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feature_tables import (
    execute,
    synthetic_customers,
)
from registered_models import register_model
from scipy.special import expit, logit
from scored_customers import CUT_OFF, TRAINED, add_customers, open_night, read_scores
from threadpoolctl import threadpool_limits

from churn_ml.errors import ScoringError
from churn_ml.features.contract import FeatureColumn
from churn_ml.models.contributions import Explainer, Reference, TopReasons
from churn_ml.models.crossfit import Predictions
from churn_ml.models.registry import load_model
from churn_ml.models.value_models import RestrictedRegressor
from churn_ml.scoring.night import score_night, score_with
from churn_ml.scoring.reasons import REASON_COLUMNS, reason_columns
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import read_run


def test_every_score_has_its_reasons(champion: Settings) -> None:
    newcomers = add_customers(champion, 40).sort_values("customer_id")
    run_id = open_night(champion)
    model = load_model(champion, score_night(champion, run_id).model_version)
    scores = read_scores(champion, run_id).set_index("customer_id").loc[newcomers["customer_id"]]
    frame = model.contract.to_frame(newcomers[model.contract.names])
    strangers = np.full(len(frame), -1)
    base, contributions = Explainer(model.model, model.contract, model.reference).contributions(
        frame, strangers
    )
    np.testing.assert_allclose(
        base + contributions.sum(axis=1), logit(scores["churn_probability_raw"]), rtol=0, atol=1e-9
    )
    order = np.argsort(-np.abs(contributions), axis=1, kind="stable")
    for rank in (1, 2, 3):
        found = scores[[f"reason_{rank}_{part}" for part in ("code", "log_odds", "points")]].to_numpy()
        for row, (code, log_odds, points) in enumerate(found):
            column = order[row, rank - 1]
            expected = contributions[row, column]
            way = "raises" if expected > 0 else "lowers"
            assert code == f"{model.contract.names[column]}__{way}"
            assert log_odds == pytest.approx(expected, abs=1e-9)
            probability = scores["churn_probability"].iloc[row]
            without = expit(logit(probability) - expected)
            assert points == pytest.approx(100 * (probability - without), abs=1e-7)


def test_a_reason_tells_value_percentile_and_whether_it_can_be_acted_on(champion: Settings) -> None:
    with connect(champion, Role.OWNER) as owner:
        owner.execute(
            "update ml.model_versions set feature_contract = (select jsonb_agg(feature || jsonb_build_object("
            "'is_actionable', feature ->> 'name' = 'contract')) from jsonb_array_elements(feature_contract)"
            " as feature)"
        )
    newcomers = add_customers(champion, 60).set_index("customer_id")
    run_id = open_night(champion)
    score_night(champion, run_id)
    scores = read_scores(champion, run_id).set_index("customer_id").loc[newcomers.index]
    trained = synthetic_customers(TRAINED)
    seen = set()
    for rank in (1, 2, 3):
        for customer, row in scores.iterrows():
            feature = row[f"reason_{rank}_code"].rpartition("__")[0]
            value, text = newcomers.loc[customer, feature], row[f"reason_{rank}_value"]
            percentile = row[f"reason_{rank}_percentile"]
            seen.add(feature)
            if feature in ("tenure_months", "monthly_charges_amount"):
                assert float(text) == value
                assert text == str(value)
                share = (trained[feature] < value).mean() + (trained[feature] == value).mean() / 2
                assert percentile == pytest.approx(100 * share, abs=2)
            else:
                assert text == {True: "yes", False: "no"}.get(value, value)
                assert pd.isna(percentile)
            assert row[f"reason_{rank}_is_actionable"] == (feature == "contract")
    assert {"tenure_months", "monthly_charges_amount", "contract"} <= seen


def test_a_reason_for_a_missing_value_has_neither_value_nor_percentile(champion: Settings) -> None:
    add_customers(champion, 1)
    execute(champion, "update features.customer_features set tenure_months = null, contract = null"
            " where customer_id = 'new0000000'")  # fmt: skip
    run_id = open_night(champion)
    score_night(champion, run_id)
    row = read_scores(champion, run_id).set_index("customer_id").loc["new0000000"]
    for rank in (1, 2, 3):
        feature = row[f"reason_{rank}_code"].rpartition("__")[0]
        is_missing = feature in ("tenure_months", "contract")
        assert pd.isna(row[f"reason_{rank}_value"]) == is_missing
        if is_missing:
            assert pd.isna(row[f"reason_{rank}_percentile"])


def test_reasons_in_words_of_the_warehouse() -> None:
    columns = [
        FeatureColumn("tenure_months", "integer", None, None),
        FeatureColumn("monthly_charges_amount", "double precision", None, None, is_actionable=True),
        FeatureColumn("has_partner", "boolean", None, None),
    ]
    features = pa.table(
        {
            "tenure_months": pa.array([12, None], pa.int32()),
            "monthly_charges_amount": [70.35, 80.0],
            "has_partner": [False, None],
        }
    )
    reasons = TopReasons(
        np.array([[1, 2, 0], [0, 2, -1]], dtype=np.int16),
        np.array([[1.0, -0.5, 0.25], [-2.0, 1.0, 0.0]]),
        np.zeros(2),
        np.zeros(2),
    )
    quantiles = {"tenure_months": np.arange(101.0), "monthly_charges_amount": np.arange(101.0),
                 "has_partner": np.zeros(0)}  # fmt: skip
    found = pa.table(
        reason_columns(features, reasons, np.array([0.5, 0.2]), columns, Reference(quantiles, ()))
    ).to_pylist()
    kept = {name: value for name, value in found[0].items() if "points" not in name}
    assert kept == {
        "reason_1_code": "monthly_charges_amount__raises", "reason_1_value": "70.35",
        "reason_1_percentile": 71, "reason_1_log_odds": 1.0, "reason_1_is_actionable": True,
        "reason_2_code": "has_partner__lowers", "reason_2_value": "no",
        "reason_2_percentile": None, "reason_2_log_odds": -0.5, "reason_2_is_actionable": False,
        "reason_3_code": "tenure_months__raises", "reason_3_value": "12",
        "reason_3_percentile": 12, "reason_3_log_odds": 0.25, "reason_3_is_actionable": False,
    }  # fmt: skip
    assert found[0]["reason_1_points"] == pytest.approx(100 * (0.5 - expit(-1.0)))
    assert [found[1][f"reason_1_{part}"] for part in ("code", "value", "percentile", "is_actionable")] == [
        "tenure_months__lowers", None, None, False,
    ]  # fmt: skip
    assert found[1]["reason_2_value"] is None
    assert all(found[1][name] is None for name in REASON_COLUMNS if name.startswith("reason_3"))


def test_scores_carry_interval_and_expected_months(champion: Settings) -> None:
    newcomers = add_customers(champion, 10)
    run_id = open_night(champion)
    model = load_model(champion, score_night(champion, run_id).model_version)
    scores = read_scores(champion, run_id)
    assert (scores["churn_probability_low"] <= scores["churn_probability"]).all()
    assert (scores["churn_probability"] <= scores["churn_probability_high"]).all()
    assert (scores["churn_probability_low"] < scores["churn_probability_high"]).any()
    assert model.value_pipeline is not None
    expected = model.value_pipeline.predict(model.contract.to_frame(newcomers[model.contract.names]))
    found = scores.set_index("customer_id").loc[newcomers["customer_id"], "expected_months_retained"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_a_base_rate_has_no_reasons_and_no_interval_of_its_own_making(champion: Settings) -> None:
    version = register_model(champion, CUT_OFF, family="base_rate", seed=2)
    run_id = open_night(champion)
    summary = score_with(champion, read_run(champion, run_id), version)
    scores = read_scores(champion, run_id)
    assert summary.rows_scored == len(scores) > 0
    assert scores[REASON_COLUMNS].isna().all(axis=None)


@pytest.mark.parametrize("family", ["pairwise_boosting", "xgboost", "random_forest"])
def test_another_model_scores_a_run_as_its_pipelines_predict(champion: Settings, family: str) -> None:
    newcomers = add_customers(champion, 12)
    with threadpool_limits(limits=1):
        version = register_model(champion, CUT_OFF, family=family, seed=2)
    run_id = open_night(champion)
    score_with(champion, read_run(champion, run_id), version)
    scores = read_scores(champion, run_id)
    assert set(scores["model_version"]) == {version}
    assert read_run(champion, run_id).model_version == version
    model = load_model(champion, version)
    frame = model.contract.to_frame(newcomers[model.contract.names])
    expected = model.model.predict(frame, np.full(len(frame), -1))
    found = scores.set_index("customer_id").loc[newcomers["customer_id"]]
    np.testing.assert_allclose(found["churn_probability"], expected.calibrated, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["churn_probability_low"], expected.low, rtol=0, atol=1e-12)


def test_contributions_that_do_not_add_up_stop_the_night(
    champion: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Explainer.predict

    def shifted(self: Explainer, *arguments: Any) -> tuple[Predictions, TopReasons]:
        predictions, reasons = predict(self, *arguments)
        return replace(predictions, calibrated=predictions.calibrated + 2e-6), reasons

    monkeypatch.setattr(Explainer, "predict", shifted)
    run_id = open_night(champion)
    with pytest.raises(ScoringError, match="add up to its probabilities within 1e-06, found 2e-06"):
        score_night(champion, run_id)
    assert read_scores(champion, run_id).empty


def test_months_that_are_none_stop_the_night(champion: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RestrictedRegressor, "predict", lambda _, rows: np.full(len(rows), -1.0))
    monkeypatch.setattr("churn_ml.models.registry.check_golden_rows", lambda *_: None)
    with pytest.raises(ScoringError, match="months of at least 0"):
        score_night(champion, open_night(champion))
