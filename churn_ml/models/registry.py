"""Registered models and their deployments: ``ml.model_versions`` and ``ml.model_deployments``.

These tables are the truth about models. Promoting is an act of its own, recorded with who and why,
and dated by a cut-off in data time.
"""

import logging
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

from churn_ml.errors import ModelError, NoChampion
from churn_ml.features.contract import FeatureContract
from churn_ml.models.artifacts import load_pipelines
from churn_ml.models.crossfit import CrossFittedModel
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect

log = logging.getLogger(__name__)

_VERSION_COLUMNS = (
    "model_version, run_id, dataset, label_definition, family, validation, as_of_date, known_as_of,"
    " seed, fold_count, row_count, churned_count, metrics, recorded_at"
)


@dataclass(frozen=True)
class ModelVersion:
    """One registered model without its artifact."""

    model_version: str
    run_id: str
    dataset: str
    label_definition: str
    family: str
    validation: str
    as_of_date: date
    known_as_of: datetime
    seed: int
    fold_count: int
    row_count: int
    churned_count: int
    metrics: dict[str, Any]
    recorded_at: datetime


@dataclass(frozen=True)
class LoadedModel:
    """A registered model, ready to predict."""

    model_version: str
    family: str
    label_definition: str
    contract: FeatureContract
    model: CrossFittedModel

    @cached_property
    def fold_count(self) -> int:
        """Number of fold pipelines."""
        return len(self.model.pipelines)


def load_model(settings: Settings, model_version: str) -> LoadedModel:
    """Load the artifact of `model_version`; see `load_pipelines` for what is refused.

    Raises
    ------
    ModelError
        If there is no such version, or its artifact does not hold one pipeline per fold.
    ArtifactError
        If the artifact may not be loaded.
    """
    with connect(settings, Role.SCORER) as scorer:
        row = scorer.execute(
            "select family, label_definition, feature_contract, artifact, artifact_sha256, library_versions,"
            " fold_count"
            " from ml.model_versions where model_version = %s",
            [model_version],
        ).fetchone()
        if row is None:
            raise ModelError(_no_such_version(scorer, model_version))
    family, label, contract, artifact, sha256, versions, fold_count = row
    model = load_pipelines(bytes(artifact), str(sha256), str(family), versions)
    if len(model.pipelines) != fold_count:
        raise ModelError(
            f"Expected {fold_count} fold pipelines in {model_version}, found {len(model.pipelines)}. "
            "Promote another version."
        )
    return LoadedModel(
        model_version,
        str(family),
        str(label),
        FeatureContract.from_json(contract),
        model,
    )


def list_versions(settings: Settings) -> list[ModelVersion]:
    """Return the registered models, newest first."""
    with connect(settings, Role.TRAINER) as trainer:
        rows = trainer.execute(
            f"select {_VERSION_COLUMNS} from ml.model_versions order by recorded_at desc, model_version"  # noqa: S608
        ).fetchall()
    return [ModelVersion(*row) for row in rows]


def version_of_run(settings: Settings, run_id: str) -> ModelVersion | None:
    """Return the model that the training run `run_id` registered, if it did."""
    return next((version for version in list_versions(settings) if version.run_id == run_id), None)


def show_version(settings: Settings, model_version: str) -> dict[str, Any]:
    """Return everything known about one model: metrics, gates, contract, libraries, deployments.

    Raises
    ------
    ModelError
        If there is no such version.
    """
    with connect(settings, Role.TRAINER) as trainer:
        cursor = trainer.execute(
            f"select {_VERSION_COLUMNS}, feature_contract, library_versions, artifact_sha256,"  # noqa: S608
            " length(artifact) as artifact_byte_count from ml.model_versions where model_version = %s",
            [model_version],
        )
        row = cursor.fetchone()
        if row is None:
            raise ModelError(_no_such_version(trainer, model_version))
        details = dict(zip([column.name for column in cursor.description or []], row, strict=True))
        details["gates"] = _read_dicts(
            trainer,
            "select gate, observed, threshold_low, threshold_high, verdict from ml.gate_results"
            " where model_version = %s order by gate",
            model_version,
        )
        details["deployments"] = _read_dicts(
            trainer,
            "select alias, valid_from, reason, recorded_by, recorded_at from ml.model_deployments"
            " where model_version = %s order by valid_from",
            model_version,
        )
    return details


def promote(
    settings: Settings, model_version: str, valid_from: datetime, reason: str, recorded_by: str
) -> None:
    """Make `model_version` the champion from the cut-off `valid_from` on.

    Raises
    ------
    ModelError
        If the version is unknown or failed a gate, `valid_from` has no time zone or is not after
        every published night's cut-off, another champion begins at the same cut-off, or no
        reason is given.
    """
    if valid_from.tzinfo is None:
        raise ModelError(
            f"Expected valid_from as a cut-off with a time zone, found {valid_from.isoformat()}. "
            f"Write {valid_from.isoformat()}+00:00 for UTC."
        )
    if not reason.strip() or not recorded_by.strip():
        raise ModelError("Expected a reason and a name for a promotion, found an empty one. State both.")
    with connect(settings, Role.TRAINER) as trainer:
        _check_promotable(trainer, model_version)
        _check_not_published(trainer, valid_from)
        inserted = trainer.execute(
            "insert into ml.model_deployments (alias, model_version, valid_from, recorded_by, reason)"
            " values ('champion', %s, %s, %s, %s) on conflict do nothing",
            [model_version, valid_from, recorded_by.strip(), reason.strip()],
        ).rowcount
    if not inserted:
        raise ModelError(
            f"Expected no champion that begins at {valid_from.isoformat()}, found one: deployments are never "
            "edited. Choose a later cut-off that is before the next night's."
        )
    log.info("promoted %s, champion from %s on", model_version, valid_from.isoformat())


def champion_at(settings: Settings, known_as_of: datetime) -> str:
    """Return the model version that is champion at the cut-off `known_as_of`.

    Raises
    ------
    NoChampion
        If no deployment begins at or before it; the message holds the command to type.
    """
    with connect(settings, Role.SCORER) as scorer:
        [(champion,)] = scorer.execute("select ml.champion_at(%s)", [known_as_of]).fetchall()
        if champion is None:
            raise NoChampion(_no_champion(scorer, known_as_of))
    return str(champion)


def _check_promotable(trainer: Connection, model_version: str) -> None:
    known = trainer.execute(
        "select from ml.model_versions where model_version = %s", [model_version]
    ).fetchone()
    if known is None:
        raise ModelError(_no_such_version(trainer, model_version))
    failed = trainer.execute(
        "select gate, observed, threshold_low, threshold_high from ml.gate_results"
        " where model_version = %s and verdict = 'fail' order by gate",
        [model_version],
    ).fetchall()
    if failed:
        gates = "; ".join(
            f"{gate} {observed} (limits {low} to {high})" for gate, observed, low, high in failed
        )
        raise ModelError(
            f"Expected {model_version} to have passed its gates, found failed: {gates}. "
            "It stays registered and is not promoted; train a new model."
        )


def _check_not_published(trainer: Connection, valid_from: datetime) -> None:
    row = trainer.execute("select ops.last_published_cut_off()").fetchone()
    if row is not None and row[0] is not None and row[0] >= valid_from:
        raise ModelError(
            "Expected valid_from after every cut-off that was ever published, found "
            f"{valid_from.isoformat()} while a night was published with {row[0].isoformat()}: who was "
            "champion on a published night never changes. Choose a later cut-off."
        )


def _no_such_version(connection: Connection, model_version: str) -> str:
    return (
        f"Expected model version {model_version!r} in ml.model_versions, found no such row. "
        f"Registered: {_available(connection)}."
    )


def _no_champion(connection: Connection, known_as_of: datetime) -> str:
    return (
        f"Expected a champion at the cut-off {known_as_of.isoformat()}, found no deployment that begins at "
        "or "
        f"before it. Registered: {_available(connection)}. Run `churn-ml model promote <version> "
        f'--valid-from {known_as_of.isoformat()} --reason "..."` and start the night again.'
    )


def _available(connection: Connection) -> str:
    rows = connection.execute(
        "select model_version, family from ml.model_versions order by recorded_at desc limit 20"
    ).fetchall()
    return ", ".join(f"{name} ({family})" for name, family in rows) or (
        "none; train one first with the DAG churn_training"
    )


def _read_dicts(connection: Connection, query: str, model_version: str) -> list[dict[str, Any]]:
    cursor = connection.execute(query, [model_version])
    names = [column.name for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
