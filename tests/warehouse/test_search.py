"""The search for parameters: seeded, kept in Postgres, and going on after a kill."""

import itertools
import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from churn_ml.errors import TrainingError
from churn_ml.models.candidates import candidate_of
from churn_ml.settings import Settings
from churn_ml.training import search as tuning
from churn_ml.training.search import Budget, Score, Tuned, open_storage, tune
from churn_ml.warehouse.connection import Role, connect

SEED = 11
RUN_ID = "training-20261031-00000000"
TREE = candidate_of("decision_tree", {"most_leaves": 12})

# Waits where it is told to, so that the test can kill it in the middle of a trial.
SEARCH = """
import json, pathlib, sys, time
from test_search import RUN_ID, SEED, TREE, loss_of
from churn_ml.settings import Settings
from churn_ml.training.search import Budget, Score, tune

home, prefix, study, log, wait_at = sys.argv[1:]
log = pathlib.Path(log)
settings = Settings(_env_file=None, home=home, database_prefix=prefix, dataset="telco")
def evaluate(candidate):
    begun = log.read_text().count("\\n") if log.exists() else 0
    with log.open("a") as file:
        file.write(json.dumps(vars(candidate)) + "\\n")
    if begun == int(wait_at):
        time.sleep(600)
    return loss_of(candidate)
tune(settings, study, TREE, evaluate, Budget(7, 600), seed=SEED, run_id=RUN_ID)
"""


def loss_of(candidate: Any) -> Score:
    """Stand in for a training: best at 20 leaves of 100 customers."""
    return Score(0.4 + abs(candidate.most_leaves - 20) / 100 + abs(candidate.least_leaf - 100) / 1000, 0.8)


def search(settings: Settings, study: str, **changes: Any) -> Tuned:
    asked: dict[str, Any] = {"seed": SEED, "run_id": RUN_ID} | changes
    candidate = asked.pop("candidate", TREE)
    budget = asked.pop("budget", Budget(7, 600))
    return tune(settings, study, candidate, asked.pop("evaluate", loss_of), budget, **asked)


def trials(settings: Settings, study: str) -> list[dict[str, Any]]:
    with connect(settings, Role.TRAINER) as trainer:
        trainer.execute("set TimeZone = 'Asia/Tokyo'")  # times are UTC whoever asks
        cursor = trainer.execute(
            "select * from ml.trials where study_name = %s order by trial_number", [study]
        )
        names = [column.name for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def parameters(settings: Settings, study: str) -> list[dict[str, Any]]:
    return [trial["parameters"] for trial in trials(settings, study) if trial["state"] == "complete"]


@pytest.fixture
def searched(settings: Settings) -> Settings:
    """A warehouse in which one search has finished."""
    search(settings, "whole/decision_tree")
    return settings


def test_before_the_first_search_there_are_no_trials(settings: Settings) -> None:
    assert trials(settings, "whole/decision_tree") == []
    with open_storage(settings):
        assert trials(settings, "whole/decision_tree") == []


def test_every_trial_is_kept_and_the_best_is_returned(settings: Settings) -> None:
    started = datetime.now(UTC)
    best = search(settings, "whole/decision_tree")
    kept = trials(settings, "whole/decision_tree")
    assert [trial["trial_number"] for trial in kept] == list(range(7))
    assert {trial["state"] for trial in kept} == {"complete"}
    assert kept[0]["parameters"] == vars(TREE), "the first trial is what the dataset declares"
    assert kept[0]["log_loss"] == loss_of(TREE).log_loss
    assert kept[0]["attributes"] == {
        "run_id": RUN_ID, "roc_auc": 0.8, "seconds": kept[0]["attributes"]["seconds"],
    }  # fmt: skip
    assert all(
        started <= trial["started_at"] <= trial["finished_at"] <= started + timedelta(minutes=5)
        for trial in kept
    )
    least = min(kept, key=lambda trial: trial["log_loss"])
    assert (vars(best.candidate), best.log_loss) == (least["parameters"], least["log_loss"])
    assert best.trial_count == 7
    assert len({json.dumps(trial["parameters"]) for trial in kept}) > 4


def test_trials_are_shown_to_those_who_audit_and_to_marts(searched: Settings) -> None:
    for role in (Role.AUDITOR, Role.TRANSFORMER):
        with connect(searched, role) as connection:
            assert connection.execute("select count(*) from ml.trials").fetchone() == (7,)


def test_the_same_seed_tries_the_same_parameters(searched: Settings) -> None:
    search(searched, "again/decision_tree")
    search(searched, "other/decision_tree", seed=SEED + 1)
    whole = parameters(searched, "whole/decision_tree")
    assert parameters(searched, "again/decision_tree") == whole
    assert parameters(searched, "other/decision_tree") != whole
    assert parameters(searched, "other/decision_tree")[0] == whole[0]


def test_a_finished_search_tries_nothing_again(searched: Settings) -> None:
    before = trials(searched, "whole/decision_tree")

    def refuse(candidate: Any) -> Score:
        pytest.fail(f"tried {candidate} again")

    best = search(searched, "whole/decision_tree", evaluate=refuse)
    assert trials(searched, "whole/decision_tree") == before
    assert best.trial_count == 7


def test_a_larger_budget_goes_on_from_there(searched: Settings) -> None:
    before = trials(searched, "whole/decision_tree")
    assert search(searched, "whole/decision_tree", budget=Budget(9, 600)).trial_count == 9
    assert trials(searched, "whole/decision_tree")[:7] == before


def test_seconds_end_a_search_after_at_least_one_trial(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: 2 * next(readings))  # each trial takes two seconds of it
    monkeypatch.setattr(tuning, "time", clock)
    assert search(settings, "short", budget=Budget(7, 1)).trial_count == 1
    assert search(settings, "longer", budget=Budget(7, 3)).trial_count == 2


def test_a_family_without_parameters_has_one_trial(settings: Settings) -> None:
    best = search(
        settings, "base_rate", candidate=candidate_of("base_rate"), evaluate=lambda _: Score(0.5, 0.5)
    )
    assert (best.candidate, best.trial_count) == (candidate_of("base_rate"), 1)


def test_a_loss_that_is_no_number_is_refused_with_the_parameters(settings: Settings) -> None:
    with pytest.raises(TrainingError, match=r"finite log loss from decision_tree, found nan .*'most_leaves'"):
        search(settings, "broken", evaluate=lambda _: Score(float("nan"), 0.5))
    assert [trial["state"] for trial in trials(settings, "broken")] == ["fail"]


def run_and_kill(settings: Settings, log: Path, study: str, wait_at: int) -> None:
    """Kill -9 a search of its own process in the middle of trial `wait_at`."""
    folder = str(Path(__file__).parent)
    arguments = [str(settings.home), settings.database_prefix, study, str(log), str(wait_at)]
    process = subprocess.Popen([sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{SEARCH}",
                                *arguments])  # fmt: skip
    try:
        until = time.monotonic() + 120
        while not (log.exists() and log.read_text().count("\n") > wait_at):
            assert process.poll() is None, "the search ended by itself"
            assert time.monotonic() < until, "the search did not begin its trial"
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_killed_search_goes_on_and_repeats_no_finished_trial(searched: Settings, tmp_path: Path) -> None:
    run_and_kill(searched, tmp_path / "log", "killed/decision_tree", wait_at=3)
    left = trials(searched, "killed/decision_tree")
    assert [trial["state"] for trial in left] == ["complete"] * 3 + ["running"]
    tried = []

    def evaluate(candidate: Any) -> Score:
        tried.append(vars(candidate))
        return loss_of(candidate)

    best = search(searched, "killed/decision_tree", evaluate=evaluate)
    kept = trials(searched, "killed/decision_tree")
    assert [trial["state"] for trial in kept] == ["complete"] * 3 + ["fail"] + ["complete"] * 4
    assert kept[:3] == left[:3]
    assert len(tried) == 4
    assert best.trial_count == 7
    assert parameters(searched, "killed/decision_tree") == parameters(searched, "whole/decision_tree")


def test_a_search_killed_in_its_first_trial_begins_with_it_again(searched: Settings, tmp_path: Path) -> None:
    run_and_kill(searched, tmp_path / "log", "early/decision_tree", wait_at=0)
    search(searched, "early/decision_tree")
    assert parameters(searched, "early/decision_tree") == parameters(searched, "whole/decision_tree")
