"""The search for a family's parameters: a seeded Optuna study in Postgres, which resumes after a kill.

Which parameters trial k tries follows from the seed, k and the trials finished before it: a search
that was killed tries the same ones when it goes on.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from churn_ml.errors import TrainingError
from churn_ml.models.candidates import Candidate, candidate_of
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, warehouse_url

log = logging.getLogger(__name__)

_STARTUP_TRIALS = 4


@dataclass(frozen=True)
class Budget:
    """What a search may use up, whichever ends first; at least one trial is made."""

    trials: int
    seconds: float


@dataclass(frozen=True)
class Score:
    """What one trial gave: the log loss that is minimised, and the AUC beside it."""

    log_loss: float
    roc_auc: float


@dataclass(frozen=True)
class Tuned:
    """The best candidate of a search, and what the search used up, earlier attempts included."""

    candidate: Candidate
    log_loss: float
    trial_count: int
    seconds: float


@contextmanager
def open_storage(settings: Settings) -> Iterator[optuna.storages.RDBStorage]:
    """Open Optuna's storage in the schema ``optuna`` of the warehouse; its tables are made where missing."""
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = warehouse_url(settings, Role.TRAINER).set(drivername="postgresql+psycopg")
    storage = optuna.storages.RDBStorage(
        url.render_as_string(hide_password=False),
        engine_kwargs={
            "pool_size": 1,
            "max_overflow": 2,
            "connect_args": {"options": "-c search_path=optuna -c TimeZone=UTC"},
        },
    )
    try:
        yield storage
    finally:
        storage.scoped_session.remove()
        storage.engine.dispose()


def parameters_of(candidate: Candidate) -> dict[str, Any]:
    """Return the hyperparameters of `candidate`."""
    return asdict(candidate)  # type: ignore[call-overload, no-any-return]


def tune(
    settings: Settings,
    study_name: str,
    candidate: Candidate,
    evaluate: Callable[[Candidate], Score],
    budget: Budget,
    *,
    seed: int,
    run_id: str,
) -> Tuned:
    """Search the parameters of the candidate's family for the lowest log loss.

    Trial 0 is `candidate` itself; a family without parameters to search has no other. Finished trials
    of an earlier attempt count; one that was left running is marked failed and its parameters are tried
    again. Nobody else may search under `study_name` meanwhile.

    Parameters
    ----------
    evaluate : callable
        What a candidate is worth; raises where it cannot be fitted, which ends the search.

    Raises
    ------
    TrainingError
        If a trial gives no finite log loss; the message names the parameters.
    """
    space = _Space()
    candidate.suggest(space)
    trials = budget.trials if space.contains else 1
    with open_storage(settings) as storage:
        study = optuna.create_study(
            storage=storage, study_name=study_name, direction="minimize", load_if_exists=True
        )
        _fail_interrupted(study)
        while (finished := _finished(study)) == [] or (
            len(finished) < trials and _seconds(finished) < budget.seconds
        ):
            study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=_STARTUP_TRIALS, seed=_seed_of(seed, len(finished))
            )
            _try_next(study, candidate, space, evaluate, run_id, is_first=not finished)
    best = min(finished, key=lambda trial: (trial.values[0], trial.number))
    return Tuned(
        candidate_of(candidate.family, best.user_attrs["parameters"]),
        best.values[0],
        len(finished),
        _seconds(finished),
    )


def _try_next(
    study: optuna.Study,
    candidate: Candidate,
    space: "_Space",
    evaluate: Callable[[Candidate], Score],
    run_id: str,
    *,
    is_first: bool,
) -> None:
    if is_first and not study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
        study.enqueue_trial(space.within(asdict(candidate)))  # type: ignore[call-overload]
    trial = study.ask()
    suggested = candidate.suggest(trial)
    tried = candidate if is_first else suggested
    parameters = parameters_of(tried)
    trial.set_user_attr("parameters", parameters)
    trial.set_user_attr("run_id", run_id)
    started = time.monotonic()
    score = evaluate(tried)
    seconds = time.monotonic() - started
    if not np.isfinite(score.log_loss):
        study.tell(trial, state=TrialState.FAIL)
        raise TrainingError(
            f"Expected a finite log loss from {candidate.family}, found {score.log_loss} with {parameters}. "
            "Narrow what its suggest() tries, or leave the family out of candidates."
        )
    trial.set_user_attr("roc_auc", score.roc_auc)
    trial.set_user_attr("seconds", seconds)
    study.tell(trial, score.log_loss)
    log.info("%s trial %d: log loss %.5f, AUC %.4f in %.1f s", candidate.family, trial.number,
             score.log_loss, score.roc_auc, seconds)  # fmt: skip


def _fail_interrupted(study: optuna.Study) -> None:
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        log.warning("trial %d of %s was interrupted: it is tried again", trial.number, study.study_name)
        study.tell(trial.number, state=TrialState.FAIL)


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def _seconds(finished: Sequence[FrozenTrial]) -> float:
    return float(sum(trial.user_attrs["seconds"] for trial in finished))


def _seed_of(seed: int, finished_count: int) -> int:
    return int(np.random.SeedSequence([seed, finished_count]).generate_state(1)[0])


class _Space:
    """Learns from one call of a candidate's `suggest` which parameters it searches, and where."""

    def __init__(self) -> None:
        self.contains: dict[str, Callable[[Any], bool]] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        del log
        self.contains[name] = lambda value: value is not None and low <= value <= high
        return low

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        del log
        self.contains[name] = lambda value: value is not None and low <= value <= high
        return low

    def suggest_categorical(
        self, name: str, choices: Sequence[bool | int | float | str | None]
    ) -> bool | int | float | str | None:
        self.contains[name] = lambda value: value in choices
        return choices[0]

    def within(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of `parameters` that the search could have tried itself."""
        return {
            name: parameters[name]
            for name, contains in self.contains.items()
            if name in parameters and contains(parameters[name])
        }
