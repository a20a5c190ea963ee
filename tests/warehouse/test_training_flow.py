"""The way of a training: planned, competed for, registered; resumed after a kill, skipped where unchanged."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clones import clone_warehouse, drop_warehouse
from feature_tables import (
    create_feature_tables,
    execute,
    load_customers,
    synthetic_customers,
)

from churn_ml.declarations import load_dataset
from churn_ml.errors import SettingsError, TrainingError
from churn_ml.models.deployments import deployed_at, promote
from churn_ml.models.registry import list_versions, load_model, show_version
from churn_ml.settings import Settings
from churn_ml.training.champion import champion_probabilities
from churn_ml.training.panel import read_panel
from churn_ml.training.plan import TrainingPlan, read_training
from churn_ml.training.train import (
    TrainingSummary,
    plan_parts,
    plan_training,
    select_model,
    train_candidate,
    train_model,
)
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run, read_run

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
AS_OF_DATE = date(2026, 10, 31)
SEED = 5
QUICK = {"candidates": "base_rate,spline_logistic,gradient_boosting", "search_trials": 1}


@dataclass(frozen=True)
class Trained:
    """A warehouse, the run that trained in it and what that registered."""

    settings: Settings
    run: Run
    summary: TrainingSummary


@pytest.fixture(scope="module")
def filled_template(server: Settings) -> Iterator[Settings]:
    """A warehouse with 400 labelled customers and three quick families."""
    template = clone_warehouse(server).model_copy(update=QUICK)
    create_feature_tables(template)
    load_customers(template, synthetic_customers(400), AS_OF_DATE, CUT_OFF)
    yield template
    drop_warehouse(template)


@pytest.fixture(scope="module")
def trained_once(filled_template: Settings) -> Iterator[Trained]:
    """The same after one training."""
    template = clone_warehouse(filled_template)
    run = open_training(template)
    yield Trained(template, run, train_model(template, run.run_id, seed=SEED))
    drop_warehouse(template)


@pytest.fixture
def filled(filled_template: Settings) -> Iterator[Settings]:
    cloned = clone_warehouse(filled_template)
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def trained(trained_once: Trained) -> Iterator[Trained]:
    cloned = clone_warehouse(trained_once.settings)
    yield replace(trained_once, settings=cloned)
    drop_warehouse(cloned)


def open_training(settings: Settings) -> Run:
    return open_run(settings, "training", CUT_OFF)


def train(settings: Settings, **asked: Any) -> TrainingSummary:
    return train_model(settings, open_training(settings).run_id, seed=SEED, **asked)


def read_rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with connect(settings, Role.TRAINER) as trainer:
        return trainer.execute(statement).fetchall()


def training_customers(settings: Settings) -> pd.DataFrame:
    columns = ["model_version", "customer_id", "fold", "churned", "churn_probability"]
    rows = read_rows(
        settings,
        f"select {', '.join(columns)} from ml.training_customers order by model_version, customer_id",
    )
    return pd.DataFrame(rows, columns=columns)


def trials(settings: Settings) -> list[tuple[Any, ...]]:
    return read_rows(settings, "select * from ml.trials order by study_name, trial_number")


def candidates(settings: Settings) -> list[tuple[Any, ...]]:
    return read_rows(settings, "select * from ml.candidates order by training_sha256, family")


def gates_of(settings: Settings, model_version: str) -> dict[tuple[str, str], dict[str, Any]]:
    gates = show_version(settings, model_version)["gates"]
    return {(gate["gate"], gate["subject"]): gate for gate in gates}


def test_the_same_rows_and_seed_give_the_same_model(trained: Trained, filled: Settings) -> None:
    first, second = trained.summary, train(filled)
    assert first.metrics == second.metrics
    versions = [show_version(settings, summary.model_version)
                for settings, summary in ((trained.settings, first), (filled, second))]  # fmt: skip
    assert versions[0]["training_sha256"] == versions[1]["training_sha256"]
    assert versions[0]["gates"] == versions[1]["gates"]
    pd.testing.assert_frame_equal(
        training_customers(trained.settings).drop(columns="model_version"),
        training_customers(filled).drop(columns="model_version"),
        check_exact=True,
    )


def test_the_registered_pipelines_are_those_of_the_out_of_fold_predictions(trained: Trained) -> None:
    panel = read_panel(trained.settings, load_dataset(trained.settings), trained.run, SEED, 5)
    loaded = load_model(trained.settings, trained.summary.model_version)
    np.testing.assert_allclose(
        loaded.model.predict(panel.frame, panel.folds).calibrated,
        training_customers(trained.settings)["churn_probability"],
        rtol=0,
        atol=1e-12,
    )


def test_what_is_registered_tells_how_it_came_about(trained: Trained) -> None:
    shown = show_version(trained.settings, trained.summary.model_version)
    assert (shown["family"], shown["validation"], shown["status"]) == (
        trained.summary.family, "cross_sectional", "development",
    )  # fmt: skip
    metrics = shown["metrics"]
    assert metrics["log_loss_low"] < metrics["log_loss"] < metrics["log_loss_high"]
    assert (metrics["repeat_count"], metrics["fold_count"]) == (3, 5)
    assert metrics["roc_auc_deviation"] > 0
    assert set(metrics["candidates"]) == {"base_rate", "spline_logistic", "gradient_boosting"}
    assert metrics["candidates"]["base_rate"]["failed_gates"] == ["log_loss"]
    losses = metrics["calibration_log_losses"]
    assert losses[shown["calibration"]] == pytest.approx(min(losses.values()), abs=1e-4)
    found = {gate for gate, _ in gates_of(trained.settings, trained.summary.model_version)}
    assert found == {
        "too_little_data", "calibration_overall", "calibration_segment", "log_loss", "profit", "stability",
        "log_loss_against_champion", "roc_auc_against_champion", "profit_against_champion",
        "leakage_column", "leakage_shuffled", "fairness_calibration", "fairness_selection", "golden_rows",
    }  # fmt: skip


def test_a_retry_returns_what_the_run_registered(trained: Trained) -> None:
    assert train_model(trained.settings, trained.run.run_id, seed=SEED) == trained.summary
    assert len(list_versions(trained.settings)) == 1


def test_unchanged_rows_are_recognised_and_skipped(trained: Trained) -> None:
    settings = trained.settings
    made = trials(settings), candidates(settings)
    again = open_training(settings)
    assert train_model(settings, again.run_id, seed=SEED) == trained.summary
    assert read_run(settings, again.run_id).status == "unchanged"
    assert plan_parts(settings, open_training(settings).run_id, ASKED) == []
    assert (trials(settings), candidates(settings)) == made
    assert len(list_versions(settings)) == 1


ASKED = {"seed": SEED, "force": False, "trials": None, "seconds": None, "candidates": None, "reason": "test"}


def test_force_registers_again_without_repeating_a_trial(trained: Trained) -> None:
    settings = trained.settings
    made = trials(settings), candidates(settings)
    second = train(settings, force=True)
    assert second.model_version != trained.summary.model_version
    assert second.metrics == trained.summary.metrics
    assert (trials(settings), candidates(settings)) == made


@pytest.mark.parametrize(
    "change",
    [
        "update features.customer_features set tenure_months = 99 where customer_id = 'c0000001'",
        "update features.customer_features set contract = 'other' where customer_id = 'c0000001'",
        "update features.customer_labels set churned = not churned where customer_id = 'c0000001'",
        "update features.customer_values set monthly_value_amount = 1 where customer_id = 'c0000001'",
        "update features.customer_attributes set segment = 'x' where customer_id = 'c0000001'",
        "update features.customer_features set gender = 'x' where customer_id = 'c0000001'",
        "update features.decision_parameters set margin_share = 0.5",
        "delete from features.customer_features where customer_id = 'c0000001'",
        "update features.feature_contract set feature_window = '28d' where feature_name = 'contract'",
    ],
)
def test_a_training_of_other_rows_is_another_training(filled: Settings, change: str) -> None:
    before = plan_training(filled, open_training(filled).run_id, SEED)
    assert plan_training(filled, open_training(filled).run_id, SEED).training_sha256 == before.training_sha256
    execute(filled, change)
    after = plan_training(filled, open_training(filled).run_id, SEED)
    assert after.training_sha256 != before.training_sha256
    with pytest.raises(TrainingError, match=r"was planned with .* Clear `plan` and everything behind it"):
        train_candidate(filled, before, "base_rate")


def test_a_training_of_another_configuration_is_another_training(filled: Settings) -> None:
    run_id = open_training(filled).run_id

    def sha256(seed: int = SEED, **asked: Any) -> str:
        return plan_training(filled, run_id, seed, **asked).training_sha256

    shas = {sha256(), sha256(SEED + 1), sha256(trials=2), sha256(seconds=9), sha256(candidates="base_rate"),
            sha256(fold_count=4)}  # fmt: skip
    assert len(shas) == 6
    assert sha256(trials=1) == sha256(fold_count=5) == sha256()


def test_a_plan_passes_between_tasks_as_json(filled: Settings) -> None:
    run_id = open_training(filled).run_id
    parts = json.loads(json.dumps(plan_parts(filled, run_id, ASKED | {"candidates": "spline_logistic"})))
    assert [part["family"] for part in parts] == ["spline_logistic"]
    assert TrainingPlan.of(parts[0]["plan"]).run_id == run_id
    with pytest.raises(TrainingError, match=r"found none of spline_logistic\. Clear their tasks"):
        select_model(filled, parts[0]["plan"])
    summary = train_candidate(filled, **parts[0]).summary()
    assert summary["trial_count"] == 1
    selected = select_model(filled, parts[0]["plan"], is_mirrored=False)
    assert selected.headline()["family"] == "spline_logistic"
    assert read_run(filled, run_id).status == "succeeded"
    assert read_run(filled, run_id).model_version == selected.model_version


@pytest.mark.parametrize("names", ["spline_logistic,oracle", "oracle"])
def test_a_family_that_is_not_declared_is_refused_by_name(filled: Settings, names: str) -> None:
    with pytest.raises(SettingsError, match=r"that datasets/telco.yml declares \(base_rate, .*found: oracle"):
        plan_training(filled, open_training(filled).run_id, SEED, candidates=names)


def test_no_candidate_that_passes_is_registered_as_rejected_and_fails(filled: Settings) -> None:
    execute(filled, "update features.customer_labels set churned = abs(hashtext(customer_id)) %% 10 < 3")
    run = open_training(filled)
    with pytest.raises(TrainingError, match=r"registered as telco-20261031-\w+ and rejected for log_loss .*"):
        train_model(filled, run.run_id, seed=SEED)
    [version] = list_versions(filled)
    assert version.status == "rejected"
    with pytest.raises(TrainingError, match=f"registered as {version.model_version} and rejected"):
        train_model(filled, run.run_id, seed=SEED)
    with pytest.raises(TrainingError, match=f"those of {version.model_version}, which failed its gates"):
        train(filled)
    assert len(list_versions(filled)) == 1


def fail_gate(settings: Settings, model_version: str, gate: str, detail: str) -> None:
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "update ml.gate_results set verdict = 'fail', observed = 1, detail = %s"
            " where model_version = %s and gate = %s and subject = ''",
            [detail, model_version, gate],
        )


def test_a_model_that_lost_to_a_former_champion_is_judged_again(trained: Trained) -> None:
    settings, first = trained.settings, trained.summary.model_version
    fail_gate(settings, first, "log_loss_against_champion", "beside another on 400 rows")
    made = trials(settings), candidates(settings)
    second = train(settings).model_version
    assert second != first
    assert (trials(settings), candidates(settings)) == made
    fail_gate(settings, second, "log_loss_against_champion", "beside another on 400 rows")
    fail_gate(settings, second, "log_loss", "of its own")
    with pytest.raises(TrainingError, match=f"those of {second}, which failed its gates"):
        train(settings)


def test_a_model_that_lost_to_the_champion_of_today_is_known(championed: tuple[Settings, str]) -> None:
    settings, champion = championed
    cut_off = CUT_OFF + timedelta(days=1)
    run_id = open_run(settings, "training", cut_off).run_id
    second = train_model(settings, run_id, seed=SEED).model_version
    fail_gate(settings, second, "log_loss_against_champion", f"beside {champion} on 200 rows")
    again = open_run(settings, "training", cut_off).run_id
    with pytest.raises(TrainingError, match=f"those of {second}, which failed its gates"):
        plan_training(settings, again, SEED)


def test_a_model_is_promoted_where_that_is_automatic(filled: Settings) -> None:
    automatic = filled.model_copy(update={"automatic_promotion": "on"})
    assert deployed_at(filled, "champion", CUT_OFF) is None
    assert train(automatic).model_version == deployed_at(filled, "champion", CUT_OFF)


def test_without_a_champion_there_is_nothing_to_be_compared_with(trained: Trained) -> None:
    gates = gates_of(trained.settings, trained.summary.model_version)
    for gate in ("log_loss_against_champion", "roc_auc_against_champion", "profit_against_champion"):
        assert gates[gate, ""]["verdict"] == "not_applicable"
        assert "no champion is deployed at the cut-off 2026-11-01" in gates[gate, ""]["detail"]


@pytest.fixture
def championed(trained: Trained) -> tuple[Settings, str]:
    """A champion, and a snapshot a day later with half of its customers and some new ones."""
    settings, champion = trained.settings, trained.summary.model_version
    promote(settings, champion, CUT_OFF, "the first", "tests")
    later = pd.concat([synthetic_customers(400)[200:], synthetic_customers(200, seed=8, prefix="d")])
    later["tenure_months"] += 1
    load_customers(
        settings, later.reset_index(drop=True), AS_OF_DATE + timedelta(days=1), CUT_OFF + timedelta(days=1)
    )
    return settings, champion


def test_a_challenger_is_compared_with_the_champion_on_the_same_customers(
    championed: tuple[Settings, str],
) -> None:
    settings, champion = championed
    run = open_run(settings, "training", CUT_OFF + timedelta(days=1))
    gates = gates_of(settings, train_model(settings, run.run_id, seed=SEED).model_version)
    for gate in ("log_loss_against_champion", "roc_auc_against_champion", "profit_against_champion"):
        assert gates[gate, ""]["verdict"] == "pass"
        assert gates[gate, ""]["interval_low"] < gates[gate, ""]["interval_high"]
        assert f"beside {champion} on 400 rows" in gates[gate, ""]["detail"]


def test_the_champion_says_of_nobody_what_it_has_learned_from_them(
    championed: tuple[Settings, str],
) -> None:
    settings, champion = championed
    same = read_training(settings, open_training(settings).run_id, seed=SEED)
    said = champion_probabilities(settings, same, np.ones(400, bool))
    assert said.model_version == champion
    kept = training_customers(settings)
    np.testing.assert_allclose(said.probabilities, kept["churn_probability"], rtol=0, atol=1e-12)

    later = open_run(settings, "training", CUT_OFF + timedelta(days=1))
    training = read_training(settings, later.run_id, seed=SEED)
    said = champion_probabilities(settings, training, np.ones(400, bool))
    model = load_model(settings, champion).model
    folds = kept.set_index("customer_id")["fold"].reindex(training.panel.customer_ids.to_pylist()).fillna(-1)
    assert sorted(set(folds)) == [-1, 0, 1, 2, 3, 4]
    expected = model.predict(training.panel.frame, folds.to_numpy(np.int64)).calibrated
    np.testing.assert_array_equal(said.probabilities, expected)


def test_a_champion_that_reads_other_columns_is_told_by_what_it_said_then(
    championed: tuple[Settings, str],
) -> None:
    settings, champion = championed
    execute(settings, "delete from features.feature_contract where feature_name = 'tech_support'")
    same = read_training(settings, open_training(settings).run_id, seed=SEED)
    said = champion_probabilities(settings, same, np.ones(400, bool))
    np.testing.assert_array_equal(said.probabilities, training_customers(settings)["churn_probability"])
    later = open_run(settings, "training", CUT_OFF + timedelta(days=1))
    said = champion_probabilities(
        settings, read_training(settings, later.run_id, seed=SEED), np.ones(400, bool)
    )
    assert said.model_version is None
    assert said.reason == (
        f"the champion {champion} has said nothing of these rows without having learned from them"
    )


TRAINING = """
import sys
from churn_ml.settings import Settings
from churn_ml.training.train import train_model

home, prefix, run_id = sys.argv[1:]
settings = Settings(_env_file=None, home=home, database_prefix=prefix, dataset="telco",
                    candidates="base_rate,gradient_boosting", search_trials=6)
train_model(settings, run_id, seed=5)
"""


def test_a_killed_training_goes_on_and_repeats_nothing_that_finished(filled: Settings) -> None:
    run = open_training(filled)
    arguments = [str(filled.home), filled.database_prefix, run.run_id]
    process = subprocess.Popen([sys.executable, "-c", TRAINING, *arguments])
    finished = (
        "select count(*) from ml.trials where study_name like '%/gradient_boosting' and state = 'complete'"
    )
    try:
        until = time.monotonic() + 180
        while read_rows(filled, finished) < [(2,)]:
            assert process.poll() is None, "the training ended by itself"
            assert time.monotonic() < until, "no trial finished"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    left, made = [row for row in trials(filled) if row[2] == "complete"], candidates(filled)
    assert 3 <= len(left) < 7, "killed in the middle of the search"
    asked = filled.model_copy(update={"candidates": "base_rate,gradient_boosting", "search_trials": 6})
    summary = train_model(asked, run.run_id, seed=SEED)
    kept = [row for row in trials(filled) if row[2] == "complete"]
    assert len(kept) == 7
    assert all(row in kept for row in left)
    assert candidates(filled)[0] == made[0], "base_rate had finished"
    assert summary.metrics["candidates"]["gradient_boosting"]["trial_count"] == 6
