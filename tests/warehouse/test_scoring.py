"""Scoring a night on the real server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from clones import clone_warehouse, drop_warehouse
from feature_tables import (
    add_to_contract,
    create_feature_tables,
    execute,
    load_customers,
    synthetic_customers,
)
from registered_models import register_model
from scipy.special import expit, logit
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from churn_ml.errors import FeatureContractError, NoChampion, ScoringError
from churn_ml.features.contract import FeatureColumn
from churn_ml.models.contributions import Explainer, Reference, TopReasons
from churn_ml.models.crossfit import Predictions
from churn_ml.models.deployments import promote
from churn_ml.models.registry import load_model
from churn_ml.models.value_models import RestrictedRegressor
from churn_ml.scoring import night as scoring
from churn_ml.scoring.night import score_night, score_with
from churn_ml.scoring.reasons import REASON_COLUMNS, reason_columns
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_run, read_run

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
AS_OF_DATE = date(2026, 10, 31)
TRAINED = 300


@pytest.fixture(scope="module")
def template(server: Settings) -> Iterator[Settings]:
    cloned = clone_warehouse(server)
    create_feature_tables(cloned)
    load_customers(cloned, synthetic_customers(TRAINED), AS_OF_DATE, CUT_OFF)
    promote(cloned, register_model(cloned, CUT_OFF), CUT_OFF, "test", "test")
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def champion(template: Settings) -> Iterator[Settings]:
    """A warehouse with features of one night, a model trained on them, and its deployment."""
    cloned = clone_warehouse(template)
    yield cloned
    drop_warehouse(cloned)


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


def test_every_eligible_customer_is_scored_exactly_once_and_nobody_else(champion: Settings) -> None:
    add_customers(champion, 40)
    run_id = open_night(champion)
    summary = score_night(champion, run_id)
    eligible = query(
        champion, "select customer_id from features.customer_population where is_eligible order by 1"
    )
    assert [(customer,) for customer in read_scores(champion, run_id)["customer_id"]] == eligible
    assert summary.rows_scored == len(eligible)
    assert read_run(champion, run_id).model_version == summary.model_version
    assert summary.peak_memory_mb > 0


def test_training_customers_get_exactly_their_out_of_fold_probability(champion: Settings) -> None:
    add_customers(champion, 40)
    run_id = open_night(champion)
    score_night(champion, run_id)
    scores = read_scores(champion, run_id).set_index("customer_id")
    trained = pd.DataFrame(query_trained(champion), columns=["customer_id", "churn_probability"]).set_index(
        "customer_id"
    )
    both = scores[scores["is_out_of_fold"]].join(trained, suffixes=("", "_trained"))
    assert set(scores.index[~scores["is_out_of_fold"]].str[:3]) == {"new"}
    np.testing.assert_allclose(
        both["churn_probability"], both["churn_probability_trained"], rtol=0, atol=1e-12
    )


def query_trained(settings: Settings) -> list[tuple[object, ...]]:
    with connect(settings, Role.TRAINER) as trainer:
        return trainer.execute("select customer_id, churn_probability from ml.training_customers").fetchall()


def test_a_new_customer_gets_the_mean_of_the_fold_pipelines(champion: Settings) -> None:
    newcomers = add_customers(champion, 12)
    run_id = open_night(champion)
    summary = score_night(champion, run_id)
    model = load_model(champion, summary.model_version)
    frame = model.contract.to_frame(newcomers[model.contract.names])
    parts = [logit(pipeline.predict_proba(frame)[:, 1]) for pipeline in model.model.pipelines]
    expected = expit(np.mean(parts, axis=0))
    scores = read_scores(champion, run_id).set_index("customer_id")
    np.testing.assert_allclose(
        scores.loc[newcomers["customer_id"], "churn_probability"], expected, rtol=0, atol=1e-12
    )


def test_a_training_customer_stays_out_of_fold_on_a_later_snapshot(champion: Settings) -> None:
    later = CUT_OFF + timedelta(days=1)
    load_customers(
        champion, synthetic_customers(TRAINED).assign(churned=False), AS_OF_DATE + timedelta(days=1), later
    )
    run_id = open_run(champion, "night", later).run_id
    score_night(champion, run_id)
    scores = read_scores(champion, run_id)
    assert len(scores) == TRAINED
    assert scores["is_out_of_fold"].all()


def test_chunks_do_not_change_a_score(champion: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    add_customers(champion, 40)
    whole, chunked = open_night(champion), open_night(champion)
    score_night(champion, whole)
    monkeypatch.setattr(scoring, "_ROWS_PER_CHUNK", 7)
    score_night(champion, chunked)
    pd.testing.assert_frame_equal(
        read_scores(champion, whole), read_scores(champion, chunked), rtol=0, atol=1e-12
    )


def test_two_runs_of_a_night_are_equal_whatever_the_order_of_the_rows(champion: Settings) -> None:
    first, second = open_night(champion), open_night(champion)
    score_night(champion, first)
    execute(
        champion,
        "create table features.shuffled as select * from features.customer_features"
        " order by md5(customer_id)",
    )
    execute(champion, "truncate features.customer_features")
    execute(champion, "insert into features.customer_features select * from features.shuffled")
    score_night(champion, second)
    pd.testing.assert_frame_equal(
        read_scores(champion, first), read_scores(champion, second), check_exact=True
    )


def test_scoring_fits_nothing(champion: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, *_: object, **__: object) -> None:
        raise AssertionError(f"{type(self).__name__} was fitted while scoring")

    for estimator in _subclasses(BaseEstimator):
        for method in ("fit", "fit_transform", "partial_fit"):
            if method in vars(estimator):
                monkeypatch.setattr(estimator, method, refuse)
    score_night(champion, open_night(champion))


def _subclasses(parent: type) -> Iterator[type]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)


def test_unseen_categories_and_missing_values_are_scored(champion: Settings) -> None:
    add_customers(champion, 3)
    execute(
        champion,
        "update features.customer_features set contract = 'for_life' where customer_id = 'new0000000'",
    )
    execute(
        champion,
        "update features.customer_features set contract = '', payment_method = E'a,\"b\\n'"
        " where customer_id = 'new0000001'",
    )
    execute(champion, "update features.customer_features set contract = null, tenure_months = null,"
            " has_partner = null, monthly_charges_amount = null"
            " where customer_id = 'new0000002'")  # fmt: skip
    run_id = open_night(champion)
    score_night(champion, run_id)
    scores = read_scores(champion, run_id).set_index("customer_id")
    assert scores.loc[["new0000000", "new0000001", "new0000002"], "churn_probability"].between(0, 1).all()


def test_a_single_customer_is_scored(champion: Settings) -> None:
    execute(champion, "update features.customer_population set is_eligible = customer_id ="
            " (select min(customer_id) from features.customer_population where is_eligible)")  # fmt: skip
    assert score_night(champion, open_night(champion)).rows_scored == 1


def test_the_row_hash_changes_with_the_features_and_only_then(champion: Settings) -> None:
    first, second = open_night(champion), open_night(champion)
    score_night(champion, first)
    execute(champion, "update features.customer_features set tenure_months = tenure_months + 1"
            " where customer_id in (select min(customer_id) from features.customer_population"
            " where is_eligible)")  # fmt: skip
    execute(champion, "update features.customer_features set gender = 'changed'")
    score_night(champion, second)
    before, after = read_scores(champion, first), read_scores(champion, second)
    assert (before["feature_row_sha256"] != after["feature_row_sha256"]).tolist() == [True] + [False] * (
        len(before) - 1
    )
    assert before["feature_row_sha256"].str.fullmatch("[0-9a-f]{64}").all()


def test_a_retry_discards_its_own_rows_and_leaves_other_runs(champion: Settings) -> None:
    other, run_id = open_night(champion), open_night(champion)
    score_night(champion, other)
    score_night(champion, run_id)
    first = read_scores(champion, run_id)
    score_night(champion, run_id)
    pd.testing.assert_frame_equal(read_scores(champion, run_id), first, check_exact=True)
    assert len(read_scores(champion, other)) == len(first)


def test_a_run_that_was_published_is_never_scored_again(champion: Settings) -> None:
    run_id = open_night(champion)
    score_night(champion, run_id)
    with connect(champion, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)"
            " values ('publish', %s, %s, 'test', 'test')",
            [AS_OF_DATE, run_id],
        )
    with pytest.raises(ScoringError, match="published once"):
        score_night(champion, run_id)
    assert len(read_scores(champion, run_id)) > 0


def test_no_champion_fails_the_night_and_names_the_command(champion: Settings) -> None:
    run = open_run(champion, "night", CUT_OFF - timedelta(days=1))
    with pytest.raises(NoChampion, match="churn-ml model promote <version> --valid-from 2026-10-31T02:00:00"):
        score_night(champion, run.run_id)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("delete from features.feature_contract where feature_name = 'contract'", "contract: missing"),
        ("update features.feature_contract set data_type = 'text' where feature_name = 'tenure_months'",
         "tenure_months: expected integer .* found text"),
        ("update features.feature_contract set unit = 'days' where feature_name = 'tenure_months'",
         "tenure_months: .*unit days"),
    ],
)  # fmt: skip
def test_a_changed_contract_is_refused_by_column(champion: Settings, change: str, message: str) -> None:
    execute(champion, change)
    run_id = open_night(champion)
    with pytest.raises(FeatureContractError, match=message):
        score_night(champion, run_id)
    assert read_scores(champion, run_id).empty


def test_an_extra_feature_is_refused_by_name(champion: Settings) -> None:
    add_to_contract(champion, "support_tickets_90d", "integer")
    with pytest.raises(FeatureContractError, match="support_tickets_90d: unknown to the model"):
        score_night(champion, open_night(champion))


def test_an_eligible_customer_without_features_fails_the_night(champion: Settings) -> None:
    execute(champion, "delete from features.customer_features where customer_id in"
            " (select min(customer_id) from features.customer_population where is_eligible)")  # fmt: skip
    run_id = open_night(champion)
    with pytest.raises(ScoringError, match="eligible customers"):
        score_night(champion, run_id)
    assert read_scores(champion, run_id).empty


def test_a_customer_with_two_feature_rows_fails_the_night(champion: Settings) -> None:
    execute(
        champion, "insert into features.customer_features select * from features.customer_features limit 400"
    )
    with pytest.raises(ScoringError, match="one feature row for each"):
        score_night(champion, open_night(champion))


def test_a_night_without_eligible_customers_fails(champion: Settings) -> None:
    execute(champion, "update features.customer_population set is_eligible = false")
    with pytest.raises(ScoringError, match="at least one customer"):
        score_night(champion, open_night(champion))


def test_fewer_scores_than_eligible_customers_keep_none(
    champion: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_read_chunks", lambda *_: (chunk for chunk in ()))
    run_id = open_night(champion)
    with pytest.raises(ScoringError, match="None was kept"):
        score_night(champion, run_id)
    assert read_scores(champion, run_id).empty


def test_a_probability_that_is_none_stops_the_stream_and_keeps_nothing(
    champion: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Explainer.predict

    def fail_late(
        self: Explainer, frame: pd.DataFrame, folds: np.ndarray, count: int = 3
    ) -> tuple[Predictions, TopReasons]:
        chunks.append(len(frame))
        predictions, reasons = predict(self, frame, folds, count)
        nothing = np.full(len(frame), np.nan)
        return (predictions if len(chunks) < 4 else replace(predictions, calibrated=nothing)), reasons

    chunks: list[int] = []
    monkeypatch.setattr(Explainer, "predict", fail_late)
    monkeypatch.setattr(scoring, "_ROWS_PER_CHUNK", 7)
    run_id = open_night(champion)
    with pytest.raises(ScoringError, match="found 7 of 7 that are not"):
        score_night(champion, run_id)
    assert chunks == [7, 7, 7, 7]  # the first is compared, then scored
    assert read_scores(champion, run_id).empty


def test_a_champion_of_another_label_is_refused(champion: Settings) -> None:
    with connect(champion, Role.OWNER) as owner:
        owner.execute("update ml.model_versions set label_definition = 'telco_90d'")
    with pytest.raises(ScoringError, match="trained on telco_90d"):
        score_night(champion, open_night(champion))


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


@pytest.mark.slow
@pytest.mark.long
def test_memory_does_not_grow_with_the_customers(champion: Settings) -> None:
    peaks = []
    for nights, count in enumerate((20_000, 200_000), start=1):
        known_as_of = CUT_OFF + timedelta(days=nights)
        run_id = open_run(champion, "night", known_as_of).run_id
        _multiply_customers(champion, count, known_as_of)
        peaks.append(_score_in_a_process(champion, run_id))
    assert peaks[1] < peaks[0] * 1.5, peaks


def _multiply_customers(settings: Settings, count: int, known_as_of: datetime) -> None:
    """Copy the customers of the first night under new ids until there are `count` of them."""
    columns = query(settings, "select column_name from information_schema.columns where table_name ="
                    " 'customer_features' and ordinal_position > 3 order by ordinal_position")  # fmt: skip
    day = known_as_of.date() - timedelta(days=1)
    copies = (
        "with numbered as (select *, row_number() over (order by customer_id) as position from"
        f" features.customer_features where as_of_date = %s), wanted as"
        f" (select number, 1 + number %% {TRAINED} as position from generate_series(1, %s) as number) "
    )
    names = ", ".join(str(name) for (name,) in columns)
    execute(settings, f"insert into features.customer_features {copies} select 'm' || number, %s, %s, {names}"
            " from wanted join numbered using (position)", [AS_OF_DATE, count, day, known_as_of])  # fmt: skip
    execute(settings, "insert into features.customer_population select customer_id, as_of_date, known_as_of,"
            " true, true, null from features.customer_features where as_of_date = %s", [day])  # fmt: skip


def _score_in_a_process(settings: Settings, run_id: str) -> float:
    code = (
        "import json, sys; from pathlib import Path; from churn_ml.settings import Settings;"
        "from churn_ml.scoring.night import score_night; home, prefix, run_id = sys.argv[1:];"
        "settings = Settings(_env_file=None, home=Path(home), database_prefix=prefix, dataset='telco');"
        "summary = score_night(settings, run_id);"
        "print(json.dumps(summary.peak_memory_mb))"
    )
    command = [sys.executable, "-c", code, str(settings.home), settings.database_prefix, run_id]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(result.stdout.splitlines()[-1]))
