"""Training on dated rows: what it learns from, how it validates, what it refuses and registers."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clones import clone_warehouse, drop_warehouse
from dated_panels import (
    LABEL,
    MONTH_ENDS,
    TRAINING_CUT_OFF,
    create_dated_tables,
    cut_off,
    load_panel,
    name_nights,
    observations,
)
from psycopg import sql

from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import TrainingError
from churn_ml.models.calibration import Calibrator, fit_calibrator
from churn_ml.models.candidates import candidate_of
from churn_ml.models.deployments import promote
from churn_ml.models.registry import list_versions, load_model, show_version
from churn_ml.scoring.night import score_night
from churn_ml.settings import Settings
from churn_ml.training.champion import champion_probabilities
from churn_ml.training.dated_panel import DatedPanel, read_dated_panel
from churn_ml.training.folds import ForwardFolds
from churn_ml.training.panel import read_panel
from churn_ml.training.plan import plan_training, read_training
from churn_ml.training.train import TrainingSummary, train_candidate, train_model
from churn_ml.training.validation import plan_splits
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import Run, open_run, read_run

DAYS = MONTH_ENDS[:8]
IMMATURE = date(2026, 11, 30)
SEED = 5
FAMILIES = ("base_rate", "spline_logistic", "gradient_boosting")


@dataclass(frozen=True)
class Trained:
    """A warehouse with a generated panel and a model trained on it."""

    settings: Settings
    run: Run
    rows: pd.DataFrame
    summary: TrainingSummary


def generated() -> pd.DataFrame:
    """A panel of eight closed dates and an open one, with a few labels that are not known."""
    rows = observations(400, [*DAYS, IMMATURE], log_odds=-3.2).astype({"churned": object})
    rows["label_status"] = np.where(rows["churned"] == True, "churned", "retained")  # noqa: E712
    first = rows["as_of_date"] == DAYS[0]
    rows.loc[rows[first].index[:11], "label_status"] = "censored"
    rows.loc[rows[first].index[11:18], "label_status"] = "churned_in_gap"
    rows.loc[rows["as_of_date"] == IMMATURE, "label_status"] = "immature"
    rows.loc[~rows["label_status"].isin(["churned", "retained"]), "churned"] = None
    return rows


@pytest.fixture(scope="module")
def empty(server: Settings) -> Iterator[Settings]:
    """A warehouse of the dataset `subscriptions` with empty feature tables."""
    telco = clone_warehouse(server)
    cloned = telco.model_copy(update={"dataset": "subscriptions", "candidates": ",".join(FAMILIES),
                                      "search_trials": 1})  # fmt: skip
    with connect_admin(server) as admin:
        names = (sql.Identifier(telco.warehouse_database), sql.Identifier(cloned.warehouse_database))
        admin.execute(sql.SQL("alter database {} rename to {}").format(*names))
    create_dated_tables(cloned)
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture(scope="module")
def trained(empty: Settings) -> Iterator[Trained]:
    """Trained once; the tests below read it."""
    cloned, rows = clone_warehouse(empty), generated()
    run = open_run(cloned, "training", TRAINING_CUT_OFF)
    load_panel(cloned, run.run_id, rows)
    yield Trained(cloned, run, rows, train_model(cloned, run.run_id, seed=SEED))
    drop_warehouse(cloned)


@pytest.fixture
def panel(trained: Trained) -> DatedPanel:
    return read_dated_panel(trained.settings, load_dataset(trained.settings), trained.run, SEED)


@pytest.fixture
def changeable(trained: Trained) -> Iterator[Trained]:
    """A copy with an unused training run over the same nights."""
    cloned = clone_warehouse(trained.settings)
    run = open_run(cloned, "training", TRAINING_CUT_OFF)
    name_nights(cloned, run.run_id, [*DAYS, IMMATURE])
    yield Trained(cloned, run, trained.rows, trained.summary)
    drop_warehouse(cloned)


def change(trained: Trained, statement: str) -> None:
    with connect(trained.settings, Role.TRANSFORMER) as transformer:
        transformer.execute(statement)


def declared(settings: Settings, **changes: object) -> Dataset:
    dataset = load_dataset(settings)
    assert dataset.panel is not None
    return dataset.model_copy(update={"panel": dataset.panel.model_copy(update=changes)})


def read_changed(trained: Trained, **changes: object) -> DatedPanel:
    return read_dated_panel(trained.settings, declared(trained.settings, **changes), trained.run, SEED)


def stored(trained: Trained, table: str) -> pd.DataFrame:
    with connect(trained.settings, Role.TRAINER) as trainer:
        cursor = trainer.execute(f"select * from ml.{table} where model_version = %s",
                                 [trained.summary.model_version])  # fmt: skip
        return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or []])


def trainable(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["churned"].notna() & (rows["treatment_status"] != "treated")]


def test_only_closed_untreated_observations_train(trained: Trained, panel: DatedPanel) -> None:
    expected = trainable(trained.rows)
    assert panel.customer_ids.to_pylist() == expected["customer_id"].tolist()
    assert panel.as_of_dates.tolist() == expected["as_of_date"].tolist()
    assert panel.churned.tolist() == expected["churned"].tolist()
    assert (expected["treatment_status"] == "held_out").any()
    assert panel.frame["last_csat"].isna().sum() == expected["last_csat"].isna().sum() > 0


def test_treated_observations_stay_where_declared(trained: Trained) -> None:
    assert read_changed(trained, treated="keep").row_count == trained.rows["churned"].notna().sum()


def test_each_date_reports_who_was_left_out_and_its_base_rate(trained: Trained) -> None:
    nights = trained.summary.metrics["panel"]["dates"]
    assert [night["as_of_date"] for night in nights] == [str(day) for day in [*DAYS, IMMATURE]]
    first, rows = nights[0], trained.rows[trained.rows["as_of_date"] == DAYS[0]]
    assert first["label_statuses"] == rows["label_status"].value_counts().to_dict()
    assert first["label_statuses"]["censored"] == 11
    known = rows[rows["churned"].notna()]
    assert first["treated_count"] == (known["treatment_status"] == "treated").sum() > 0
    assert first["held_out_count"] == (known["treatment_status"] == "held_out").sum()
    assert first["base_rate"] == pytest.approx(trainable(rows)["churned"].astype(bool).mean())
    last = nights[-1]
    assert last["row_count"] == 0
    assert "base_rate" not in last
    assert list(last["label_statuses"]) == ["immature"]


def test_the_model_is_one_pipeline_and_leaves_training_customers_empty(trained: Trained) -> None:
    shown = show_version(trained.settings, trained.summary.model_version)
    assert (shown["validation"], shown["fold_count"]) == ("out_of_time", 1)
    assert shown["row_count"] == len(trainable(trained.rows))
    assert shown["churned_count"] == trainable(trained.rows)["churned"].sum()
    assert len(load_model(trained.settings, trained.summary.model_version).model.pipelines) == 1
    assert stored(trained, "training_customers").empty
    assert list_versions(trained.settings)[0].metrics == trained.summary.metrics


def test_observations_hold_out_of_time_probabilities_of_the_newest_dates(trained: Trained) -> None:
    kept = stored(trained, "training_observations")
    assert len(kept) == len(trainable(trained.rows))
    validated = kept[kept["fold"].notna()]
    assert sorted(set(validated["as_of_date"])) == DAYS[-4:]
    assert set(kept["as_of_date"]) == set(DAYS)
    assert validated["churn_probability"].between(0, 1).all()
    assert kept[kept["fold"].isna()]["churn_probability"].isna().all()
    assert (kept["known_as_of"] == kept["as_of_date"].map(cut_off)).all()


def test_the_stored_probabilities_come_from_closed_dates_only(trained: Trained, panel: DatedPanel) -> None:
    fold = ForwardFolds(panel.spans).folds(panel.as_of_dates)[-1]
    assert fold.training_dates == tuple(DAYS[:-2])
    training, validation = fold.training_rows(panel.as_of_dates), fold.validation_rows(panel.as_of_dates)
    shown = show_version(trained.settings, trained.summary.model_version)
    candidate = candidate_of(trained.summary.family, shown["parameters"])
    pipeline = candidate.build(panel.contract, SEED).fit(panel.frame.take(training), panel.churned[training])
    raw = pipeline.predict_proba(panel.frame.take(validation))[:, 1]
    expected = calibrator_of_earlier_dates(trained, panel, shown["calibration"]).calibrate(raw)
    kept = stored(trained, "training_observations").sort_values(["as_of_date", "customer_id"])
    np.testing.assert_allclose(
        kept[kept["as_of_date"] == DAYS[-1]]["churn_probability"],
        expected,
        rtol=0, atol=1e-12,
    )  # fmt: skip


def calibrator_of_earlier_dates(trained: Trained, panel: DatedPanel, method: str) -> Calibrator:
    """Fit a calibrator on what the pipelines of the earlier validation dates said of those dates."""
    with connect(trained.settings, Role.TRAINER) as trainer:
        [(content,)] = trainer.execute(
            "select raw_probabilities from ml.candidates where family = %s", [trained.summary.family]
        ).fetchall()
    raw = np.frombuffer(content, "<f8")
    earlier = np.flatnonzero(~np.isnan(raw) & (panel.as_of_dates < np.datetime64(DAYS[-1], "D")))
    assert sorted(set(panel.as_of_dates[earlier].tolist())) == DAYS[-4:-1]
    return fit_calibrator(method, raw[earlier], panel.churned[earlier], seed=SEED)


def test_the_first_validated_date_is_calibrated_by_nothing(trained: Trained, panel: DatedPanel) -> None:
    with connect(trained.settings, Role.TRAINER) as trainer:
        [(content,)] = trainer.execute(
            "select raw_probabilities from ml.candidates where family = %s", [trained.summary.family]
        ).fetchall()
    first = panel.as_of_dates == np.datetime64(DAYS[-4], "D")
    kept = stored(trained, "training_observations").sort_values(["as_of_date", "customer_id"])
    np.testing.assert_allclose(
        kept["churn_probability"].to_numpy(float)[first], np.frombuffer(content, "<f8")[first], atol=1e-12
    )


def test_metrics_are_pooled_and_per_date(trained: Trained) -> None:
    metrics = trained.summary.metrics
    kept = stored(trained, "training_observations")
    kept = kept[kept["fold"].notna()]
    ratio = kept["churned"].sum() / kept["churn_probability"].sum()
    assert metrics["observed_expected_ratio"] == pytest.approx(ratio)
    assert {"roc_auc", "log_loss", "brier", "observed_expected_money_ratio"} <= set(metrics)
    assert [fold["as_of_date"] for fold in metrics["folds"]] == [str(day) for day in DAYS[-4:]]
    assert [len(fold["training_dates"]) for fold in metrics["folds"]] == [3, 4, 5, 6]
    for fold in metrics["folds"]:
        rows = kept[kept["as_of_date"].astype(str) == fold["as_of_date"]]
        assert fold["row_count"] == len(rows)
        assert fold["base_rate"] == pytest.approx(rows["churned"].mean())
        assert {"roc_auc", "log_loss", "brier", "observed_expected_ratio"} <= set(fold)
    assert set(metrics["candidates"]) == set(FAMILIES)
    assert metrics["roc_auc"] > 0.65


def test_memorising_is_measured_on_the_newest_date(trained: Trained) -> None:
    disjoint = trained.summary.metrics["customer_disjoint"]
    assert (disjoint["as_of_date"], disjoint["group_count"]) == (str(DAYS[-1]), 3)
    # Calibration may tie scores, and so move the AUC a little.
    assert disjoint["roc_auc"]["forward"] == pytest.approx(
        trained.summary.metrics["folds"][-1]["roc_auc"], abs=0.01
    )
    difference = disjoint["roc_auc"]["forward"] - disjoint["roc_auc"]["disjoint"]
    assert disjoint["roc_auc_difference"] == pytest.approx(difference)
    assert disjoint["log_loss_memorised"] == pytest.approx(
        disjoint["log_loss"]["disjoint"] - disjoint["log_loss"]["same_size"]
    )


def test_the_same_rows_and_seed_give_the_same_model(empty: Settings, trained: Trained) -> None:
    cloned = clone_warehouse(empty)
    run = open_run(cloned, "training", TRAINING_CUT_OFF)
    load_panel(cloned, run.run_id, trained.rows)
    again = train_model(cloned, run.run_id, seed=SEED)
    assert again.metrics == trained.summary.metrics
    first = show_version(trained.settings, trained.summary.model_version)
    assert show_version(cloned, again.model_version)["gates"] == first["gates"]
    drop_warehouse(cloned)


def test_a_second_run_over_the_same_nights_is_skipped(changeable: Trained) -> None:
    assert train_model(changeable.settings, changeable.run.run_id, seed=SEED) == changeable.summary
    assert read_run(changeable.settings, changeable.run.run_id).status == "unchanged"


def test_other_known_months_are_another_training(changeable: Trained) -> None:
    before = plan_training(changeable.settings, changeable.run.run_id, SEED)
    change(changeable, "insert into features.customer_retention values ('C00000001', "
           f"'{DAYS[0]}', '{TRAINING_CUT_OFF.isoformat()}', '{LABEL}', 100, false, null)")  # fmt: skip
    after = plan_training(changeable.settings, changeable.run.run_id, SEED)
    assert before.training_sha256 != after.training_sha256


def test_a_sample_takes_customers_with_all_their_dates(trained: Trained, panel: DatedPanel) -> None:
    sample = read_changed(trained, most_customers=150)
    chosen = set(sample.customer_ids.to_pylist())
    assert 100 < len(chosen) <= 150
    assert sample.customer_count == len(panel.customer_ids.unique())
    expected = [customer for customer in panel.customer_ids.to_pylist() if customer in chosen]
    assert sample.customer_ids.to_pylist() == expected
    again = read_changed(trained, most_customers=150)
    assert again.customer_ids.to_pylist() == sample.customer_ids.to_pylist()


def test_the_newest_closed_dates_are_taken(trained: Trained) -> None:
    assert read_changed(trained, most_dates=5).dates == DAYS[-5:]


def test_who_is_not_eligible_does_not_train(changeable: Trained, panel: DatedPanel) -> None:
    change(changeable, "update features.customer_population set is_eligible = false"
           " where customer_id = 'C00000003'")  # fmt: skip
    left = read_changed(changeable)
    before = panel.customer_ids.to_pylist()
    assert left.row_count == panel.row_count - before.count("C00000003") < panel.row_count


def test_too_few_dates_are_refused_with_the_counts(trained: Trained) -> None:
    with pytest.raises(TrainingError, match=r"at least 9 as-of dates .* found 8 dates from 2025-11-30 to"):
        read_changed(trained, least_dates=9)


def test_too_few_leavers_are_refused_with_the_counts(changeable: Trained) -> None:
    change(changeable, "update features.customer_labels set churned = false where churned and"
           " customer_id > 'C00000050'")  # fmt: skip
    with pytest.raises(TrainingError, match=r"50 of them churned .* \d+ rows, \d\d? churned, .* Land more"):
        train_model(changeable.settings, changeable.run.run_id, seed=SEED)


def test_a_date_where_nobody_left_cannot_validate(changeable: Trained) -> None:
    change(changeable, f"update features.customer_labels set churned = false where as_of_date = '{DAYS[-1]}'")
    with pytest.raises(TrainingError, match=f"on {DAYS[-1]} and on the 6 dates .* found 0 of"):
        train_model(changeable.settings, changeable.run.run_id, seed=SEED)


def test_a_label_known_before_its_window_closed_is_refused(changeable: Trained) -> None:
    change(changeable, "update features.customer_labels set churned = true"
           f" where as_of_date = '{IMMATURE}' and customer_id < 'C00000100'")  # fmt: skip
    with pytest.raises(TrainingError, match=f"found some of {IMMATURE}.*leaving would be known before"):
        read_changed(changeable)


def test_a_night_without_features_is_refused_by_date(changeable: Trained) -> None:
    change(changeable, f"delete from features.customer_features where as_of_date = '{DAYS[2]}'"
           " and customer_id < 'C00000010'")  # fmt: skip
    with pytest.raises(TrainingError, match=rf"found {DAYS[2]} known as of .*build_panel"):
        read_changed(changeable)


def test_a_run_without_label_nights_is_refused(trained: Trained) -> None:
    run = open_run(trained.settings, "training", TRAINING_CUT_OFF)
    with pytest.raises(TrainingError, match=r"found no night .*build_panel"):
        read_dated_panel(trained.settings, load_dataset(trained.settings), run, SEED)


def test_a_label_definition_that_is_not_seeded_is_refused(trained: Trained) -> None:
    dataset = load_dataset(trained.settings).model_copy(update={"label_definition": "other_90d"})
    with pytest.raises(TrainingError, match=r"'other_90d' .*label_definition, found 0"):
        read_dated_panel(trained.settings, dataset, trained.run, SEED)


def test_a_feature_without_any_value_is_refused_by_name(changeable: Trained) -> None:
    change(changeable, "update features.customer_features set region = null, usage_trend = null")
    with pytest.raises(TrainingError, match="usage_trend, region"):
        train_model(changeable.settings, changeable.run.run_id, seed=SEED)


def test_a_feature_that_begins_late_trains(changeable: Trained) -> None:
    """A column may be empty, or one constant, on all the dates that the first folds learn from."""
    change(changeable, "update features.customer_features set usage_trend = null, region = null,"
           f" has_discount = null, tickets_90d = 0 where as_of_date <= '{DAYS[-3]}'")  # fmt: skip
    plan = plan_training(changeable.settings, changeable.run.run_id, SEED)
    for family in FAMILIES[1:]:
        assert train_candidate(changeable.settings, plan, family).metrics["roc_auc"] > 0.6


def retrained(changeable: Trained) -> dict[str, Any]:
    """Promote the model, forget the newest month in the panel of the next training, and return its gates."""
    promote(changeable.settings, changeable.summary.model_version, TRAINING_CUT_OFF, "the first", "tests")
    again = train_model(changeable.settings, changeable.run.run_id, seed=SEED, force=True)
    gates = show_version(changeable.settings, again.model_version)["gates"]
    return {gate["gate"]: gate for gate in gates if gate["gate"].endswith("champion")}


def test_the_champion_is_told_by_what_it_said_out_of_time(changeable: Trained) -> None:
    kept = stored(changeable, "training_observations")
    gates = retrained(changeable)
    count = int(kept["fold"].notna().sum())
    beside = f"beside {changeable.summary.model_version} on {count} rows"
    assert all(gate["detail"].startswith(beside) for gate in gates.values())
    assert gates["log_loss_against_champion"]["observed"] == 0.0


def test_the_champion_predicts_dates_after_all_that_it_learned_from(changeable: Trained) -> None:
    """As if it had been trained on the first three dates, of which the last closes before the sixth."""
    with connect(changeable.settings, Role.OWNER) as owner:
        owner.execute("delete from ml.training_observations where as_of_date > %s", [DAYS[2]])
    promote(changeable.settings, changeable.summary.model_version, TRAINING_CUT_OFF, "the first", "tests")
    training = read_training(changeable.settings, changeable.run.run_id, seed=SEED)
    validated = training.panel.as_of_dates >= np.datetime64(DAYS[3], "D")
    said = champion_probabilities(changeable.settings, training, validated)
    known = ~np.isnan(said.probabilities)
    assert sorted(set(training.panel.as_of_dates[known].tolist())) == DAYS[4:]
    model = load_model(changeable.settings, changeable.summary.model_version).model
    rows = np.flatnonzero(known)
    expected = model.predict(training.panel.frame.take(rows), np.full(len(rows), -1)).calibrated
    np.testing.assert_array_equal(said.probabilities[known], expected)


def test_a_champion_that_learned_from_every_row_is_not_compared(changeable: Trained) -> None:
    with connect(changeable.settings, Role.OWNER) as owner:
        owner.execute("update ml.training_observations set fold = null, churn_probability = null")
    gates = retrained(changeable)
    assert {gate["verdict"] for gate in gates.values()} == {"not_applicable"}
    assert all("without having learned from them" in gate["detail"] for gate in gates.values())


def test_folds_of_customers_cannot_be_asked_for(changeable: Trained) -> None:
    with pytest.raises(TrainingError, match=r"which is dated, found 5.*ForwardFolds.*Leave fold_count out"):
        train_model(changeable.settings, changeable.run.run_id, seed=SEED, fold_count=5)
    panel = read_dated_panel(changeable.settings, load_dataset(changeable.settings), changeable.run, SEED)
    with pytest.raises(TrainingError, match=r"no folds of customers for dated rows, found 5.*ForwardFolds"):
        plan_splits(panel, repeats=3, fold_count=5, seed=SEED)
    [forward] = plan_splits(panel, repeats=3, fold_count=None, seed=SEED)
    assert [split.fold for split in forward] == [0, 1, 2, 3]
    dataset = load_dataset(changeable.settings)
    with pytest.raises(TrainingError, match=r"of kind 'dated'.*read_dated_panel"):
        read_panel(changeable.settings, dataset, changeable.run, SEED, 5)


def test_a_snapshot_dataset_has_no_dated_panel(trained: Trained) -> None:
    dataset = load_dataset(trained.settings).model_copy(update={"panel": None, "kind": "snapshot"})
    with pytest.raises(TrainingError, match=r"Use churn_ml\.training\.panel\.read_panel"):
        read_dated_panel(trained.settings, dataset, trained.run, SEED)


def test_a_night_is_scored_by_the_one_pipeline(changeable: Trained) -> None:
    settings, version = changeable.settings, changeable.summary.model_version
    night = datetime(2026, 12, 21, 2, tzinfo=UTC)
    promote(settings, version, night, "test", "test")
    run = open_run(settings, "night", night)
    tonight = observations(120, [run.as_of_date], seed=9)
    tonight.loc[:30, ["plan_tier", "region"]] = "never_seen_before"
    tonight.loc[10:40, ["usage_trend", "last_csat"]] = None
    load_panel(settings, run.run_id, tonight.assign(churned=None), labelled=night + timedelta(days=90))
    assert score_night(settings, run.run_id).rows_scored == 120
    with connect(settings, Role.SCORER) as scorer:
        scores = scorer.execute(
            "select customer_id, churn_probability, is_out_of_fold from scores.customer_scores"
            ' where run_id = %s order by customer_id collate "C"', [run.run_id]
        ).fetchall()  # fmt: skip
    assert [score[0] for score in scores] == tonight["customer_id"].tolist()
    assert not any(score[2] for score in scores)
    assert all(0 < score[1] < 1 for score in scores)
    assert load_model(settings, version).label_definition == LABEL
