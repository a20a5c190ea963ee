"""What a training will do: its rows, the families that compete, their budget, and the hash of it all."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import SettingsError, TrainingError
from churn_ml.models.candidates import Candidate, candidate_of
from churn_ml.models.deployments import deployed_at
from churn_ml.settings import Settings
from churn_ml.training.dated_panel import DatedPanel, read_dated_panel
from churn_ml.training.fingerprint import fingerprint
from churn_ml.training.panel import Panel, read_panel
from churn_ml.training.profit import DecisionParameters
from churn_ml.training.search import open_storage
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run, close_run, read_run

log = logging.getLogger(__name__)

_CUSTOMER_FOLDS = 5
_MONEY = (
    "value_horizon_months",
    "margin_share",
    "contact_cost_amount",
    "offer_cost_amount",
    "acceptance_share",
)


@dataclass(frozen=True)
class TrainingPlan:
    """What the tasks of one training have in common, as plain values that pass from task to task.

    `fold_count` are folds of customers; None for dated datasets. `known_version` is the model that was
    registered from the same rows and configuration, if there is one.
    """

    run_id: str
    training_sha256: str
    families: tuple[str, ...]
    seed: int
    fold_count: int | None
    trials: int
    seconds: int
    known_version: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self) | {"families": list(self.families)}

    def parts(self) -> list[dict[str, Any]]:
        """Return what each candidate's task is called with; nothing where the model is known already."""
        families = () if self.known_version else self.families
        return [{"plan": self.to_json(), "family": family} for family in families]

    @classmethod
    def of(cls, content: "TrainingPlan | Mapping[str, Any]") -> "TrainingPlan":
        """Return a plan, rebuilt if it is given as `to_json`."""
        if isinstance(content, TrainingPlan):
            return content
        return cls(**{**content, "families": tuple(content["families"])})


@dataclass(frozen=True)
class Training:
    """What each task reads anew: the declaration, the run, its labelled rows and the decisions of the day.

    `decision` is None where the business declared none for the dataset: no money can be told then.
    `retention` is a hash of what is known of the customers' months, for dated datasets.
    """

    dataset: Dataset
    run: Run
    panel: Panel | DatedPanel
    decision: DecisionParameters | None
    retention: str | None

    def candidate(self, family: str) -> Candidate:
        """Return the candidate of `family` as the dataset declares it."""
        return candidate_of(family, self.dataset.candidates[family])


def read_training(settings: Settings, run_id: str, *, seed: int, fold_count: int | None = None) -> Training:
    """Read what the run `run_id` trains on.

    Raises
    ------
    TrainingError
        If there is too little to learn from, or folds of customers are asked for on a dated dataset.
    FeatureContractError
        If the features are not what models may read.
    """
    dataset, run = load_dataset(settings), read_run(settings, run_id)
    folds = _folds(dataset, fold_count)
    panel = (
        read_dated_panel(settings, dataset, run, seed)
        if folds is None
        else read_panel(settings, dataset, run, seed, folds)
    )
    with connect(settings, Role.TRAINER) as trainer:
        decision = _read_decision(trainer, dataset, run)
        retention = None if folds else _read_retention(trainer, dataset, run)
    return Training(dataset, run, panel, decision, retention)


def plan_training(
    settings: Settings,
    run_id: str,
    seed: int,
    *,
    force: bool = False,
    trials: int | None = None,
    seconds: int | None = None,
    candidates: str | None = None,
    fold_count: int | None = None,
    training: Training | None = None,
) -> TrainingPlan:
    """Plan the training of the run `run_id`, and prepare the storage of its search.

    Where a model was registered from the same rows and configuration, the plan names it and the run is
    closed as ``unchanged``: nothing needs to be trained, unless it failed only beside a champion that is
    another one now: it is then judged anew. With `force` it is trained and registered
    again; searches and candidates that have finished are not repeated, since they would give the same.

    Parameters
    ----------
    trials, seconds, candidates : optional
        Budget of each family and which of them compete (separated by commas), for this training only;
        otherwise what the settings say, otherwise what the dataset declares.
    training : Training, optional
        What `read_training` gave, where it was read already.

    Raises
    ------
    SettingsError
        If `candidates` names a family that the dataset does not declare.
    TrainingError
        If there is too little to learn from, or the model of the same rows failed its gates.
    """
    training = training or read_training(settings, run_id, seed=seed, fold_count=fold_count)
    search = training.dataset.search
    plan = TrainingPlan(
        run_id=run_id,
        training_sha256="",
        families=_families(candidates or settings.candidates, training.dataset),
        seed=seed,
        fold_count=_folds(training.dataset, fold_count),
        trials=trials or settings.search_trials or search.trials,
        seconds=seconds or settings.search_seconds or search.seconds,
    )
    plan = replace(plan, training_sha256=_sha256(training, plan))
    known = None if force else _known_version(settings, plan, training.run)
    if known is not None:
        log.info("run %s changes nothing: %s was trained on the same rows and configuration", run_id, known)
        close_run(settings, run_id, "unchanged")
        return replace(plan, known_version=known)
    with open_storage(settings):
        log.info("training %s: %s, %d trials or %d s each", plan.training_sha256[:16],
                 ", ".join(plan.families), plan.trials, plan.seconds)  # fmt: skip
    return plan


def reread_training(settings: Settings, plan: TrainingPlan) -> Training:
    """Read again what `plan` was made of.

    Raises
    ------
    TrainingError
        If the rows, the configuration or the code are no longer those.
    """
    training = read_training(settings, plan.run_id, seed=plan.seed, fold_count=plan.fold_count)
    found = _sha256(training, plan)
    if found != plan.training_sha256:
        raise TrainingError(
            f"Expected the rows, configuration, libraries and code that {plan.run_id} was planned with "
            f"({plan.training_sha256[:16]}), found others ({found[:16]}): features were rebuilt or a new "
            "version was installed meanwhile. Clear `plan` and everything behind it."
        )
    return training


def _sha256(training: Training, plan: TrainingPlan) -> str:
    return fingerprint(
        training.panel,
        {
            "dataset": training.dataset.dataset,
            "label_definition": training.dataset.label_definition,
            "value_definition": training.dataset.value_definition,
            "retention": training.retention,
            "decision": training.decision and asdict(training.decision),
            "candidates": {family: asdict(training.candidate(family)) for family in plan.families},  # type: ignore[call-overload]
            "budget": [plan.trials, plan.seconds],
            "seed": plan.seed,
            "fold_count": plan.fold_count,
        },
    )


def _folds(dataset: Dataset, fold_count: int | None) -> int | None:
    """Return the number of folds of customers; None for a dated dataset, which has none.

    Raises
    ------
    TrainingError
        If fewer than two are asked for, or any on a dated dataset.
    """
    if dataset.kind == "snapshot":
        if fold_count is not None and fold_count < 2:
            raise TrainingError(f"Expected at least 2 folds, found {fold_count}. Choose 5.")
        return _CUSTOMER_FOLDS if fold_count is None else fold_count
    if fold_count is not None:
        raise TrainingError(
            f"Expected no fold_count for {dataset.dataset!r}, which is dated, found {fold_count}: its rows "
            "are split forward in time by ForwardFolds and never at random. Leave fold_count out."
        )
    return None


def _families(named: str, dataset: Dataset) -> tuple[str, ...]:
    asked = [name.strip() for name in named.split(",")] if named else list(dataset.candidates)
    unknown = [family for family in asked if family not in dataset.candidates]
    if unknown:
        raise SettingsError(
            f"Expected candidates among those that datasets/{dataset.dataset}.yml declares "
            f"({', '.join(dataset.candidates)}), found: {', '.join(unknown)}. Correct CHURN_CANDIDATES or "
            "the training's parameter, or declare the family."
        )
    return tuple(dict.fromkeys(asked))


def _known_version(settings: Settings, plan: TrainingPlan, run: Run) -> str | None:
    with connect(settings, Role.TRAINER) as trainer:
        row = trainer.execute(
            "select versions.model_version, statuses.status from ml.model_versions as versions"
            " join ml.model_statuses as statuses using (model_version)"
            " where versions.training_sha256 = %s and versions.run_id <> %s"
            " order by versions.recorded_at desc limit 1",
            [plan.training_sha256, plan.run_id],
        ).fetchone()
    if row is None:
        return None
    version, status = row
    if status == "rejected" and _lost_to_another_champion(settings, version, run):
        log.info("%s failed beside a champion that is none at this cut-off: it is judged again", version)
        return None
    if status == "rejected":
        raise TrainingError(
            f"Expected rows or a configuration that were not trained on before, found those of {version}, "
            "which failed its gates: training again would give it again. Mend what `churn-ml model show "
            f"{version}` names, land more history, or train with force."
        )
    return str(version)


def _lost_to_another_champion(settings: Settings, version: str, run: Run) -> bool:
    """Return whether a rejected model failed nothing but its comparison with another champion than now."""
    beside = f"beside {deployed_at(settings, 'champion', run.known_as_of)} on %"
    with connect(settings, Role.TRAINER) as trainer:
        [(is_lost,)] = trainer.execute(
            "select bool_and(right(gate, 17) = '_against_champion' and detail not like %s)"
            " from ml.gate_results where model_version = %s and severity = 'block' and verdict = 'fail'",
            [beside, version],
        ).fetchall()
    return bool(is_lost)


def _read_decision(trainer: Connection, dataset: Dataset, run: Run) -> DecisionParameters | None:
    row = trainer.execute(
        f"select tier_medium_from, tier_high_from, {', '.join(_MONEY)}, currency"  # noqa: S608 - own names
        " from features.decision_parameters where dataset = %s and label_definition = %s"
        " and valid_from <= %s and (valid_to is null or valid_to > %s)",
        [dataset.dataset, dataset.label_definition, run.as_of_date, run.as_of_date],
    ).fetchone()
    if row is None:
        log.warning("no decision parameters hold on %s: profit is not measured", run.as_of_date)
        return None
    *numbers, currency = row
    medium, high, *money = (None if number is None else float(number) for number in numbers)
    if medium is None or high is None:
        raise TrainingError(
            f"Expected tier limits in features.decision_parameters of {dataset.dataset} on {run.as_of_date}, "
            "found none. Correct the dbt seed decision_parameters."
        )
    return DecisionParameters(medium, high, **dict(zip(_MONEY, money, strict=True)), currency=currency)


def _read_retention(trainer: Connection, dataset: Dataset, run: Run) -> str:
    """Hash what the value model learns from; a sum of hashes does not depend on the order of the rows."""
    [(rows, content)] = trainer.execute(
        "select count(*), sum(hashtextextended(concat_ws('|', customer_id, as_of_date, retained_days,"
        " is_censored), 0)::numeric)"
        " from features.customer_retention join ops.label_nights using (as_of_date)"
        " where label_nights.run_id = %s and customer_retention.known_as_of = %s"
        " and customer_retention.label_definition = %s",
        [run.run_id, run.known_as_of, dataset.label_definition],
    ).fetchall()
    return f"{rows}:{content}"
