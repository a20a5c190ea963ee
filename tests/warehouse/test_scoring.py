"""Scoring a night on the real server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from feature_tables import (
    add_to_contract,
    execute,
    load_customers,
    synthetic_customers,
)
from scipy.special import expit, logit
from scored_customers import AS_OF_DATE, CUT_OFF, TRAINED, add_customers, open_night, query, read_scores
from sklearn.base import BaseEstimator

from churn_ml.errors import FeatureContractError, NoChampion, ScoringError
from churn_ml.models.contributions import Explainer, TopReasons
from churn_ml.models.crossfit import Predictions
from churn_ml.models.registry import load_model
from churn_ml.scoring import chunks as scoring
from churn_ml.scoring.night import score_night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_run, read_run


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
