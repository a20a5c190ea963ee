"""Registered models with gates, statuses and artifacts: ``ml.model_versions`` is the truth about them."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

from sklearn.pipeline import Pipeline

from churn_ml.errors import ArtifactError, ModelError
from churn_ml.features.contract import FeatureContract
from churn_ml.models.artifacts import load_artifact
from churn_ml.models.contributions import Reference
from churn_ml.models.crossfit import CrossFittedModel
from churn_ml.models.golden_rows import check_golden_rows
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect

_VERSION_COLUMNS = (
    "model_version, status, run_id, dataset, label_definition, family, value_family, calibration,"
    " validation, as_of_date, known_as_of, seed, fold_count, row_count, churned_count, metrics, parameters,"
    " training_sha256, recorded_at"
)
_FROM = "from ml.model_versions join ml.model_statuses using (model_version)"
_ARTIFACT = (
    "select family, value_family, label_definition, feature_contract, artifact, artifact_sha256,"
    " library_versions, fold_count, golden_rows from ml.model_versions where model_version = %s"
)
_GATES = (
    "select gate, subject, severity, observed, interval_low, interval_high, threshold_low, threshold_high,"
    " verdict, detail from ml.gate_results where model_version = %s order by gate, subject"
)
_DEPLOYMENTS = (
    "select alias, valid_from, nullif(valid_to, 'infinity') as valid_to, reason, override_reason,"
    " restored_valid_from, recorded_by, recorded_at from ml.model_deployments"
    " where model_version = %s order by deployment_id"
)


@dataclass(frozen=True)
class ModelVersion:
    """One registered model without its artifact.

    `status` is development, staging, production, archived or rejected, derived from the deployments and
    gates.
    """

    model_version: str
    status: str
    run_id: str
    dataset: str
    label_definition: str
    family: str
    value_family: str | None
    calibration: str
    validation: str
    as_of_date: date
    known_as_of: datetime
    seed: int
    fold_count: int
    row_count: int
    churned_count: int
    metrics: dict[str, Any]
    parameters: dict[str, Any]
    training_sha256: str | None
    recorded_at: datetime


@dataclass(frozen=True)
class LoadedModel:
    """A registered model that was checked and is ready to predict.

    `reference` holds the training quantiles and centres that reasons are told by; `value_pipeline` is
    the regression of expected months retained, where the model has one.
    """

    model_version: str
    family: str
    label_definition: str
    contract: FeatureContract
    model: CrossFittedModel
    reference: Reference
    value_pipeline: Pipeline | None = None

    @cached_property
    def fold_count(self) -> int:
        """Number of fold pipelines."""
        return len(self.model.pipelines)


def load_model(settings: Settings, model_version: str) -> LoadedModel:
    """Load the artifact of `model_version` after its sha256, library versions, types and golden rows.

    Raises
    ------
    ModelError
        If there is no such version, or its artifact does not hold one pipeline per fold.
    ArtifactError
        If the artifact may not be loaded or predicts otherwise than when it was registered; see
        `load_artifact` and `check_golden_rows`.
    """
    with connect(settings, Role.SCORER) as scorer:
        row = scorer.execute(_ARTIFACT, [model_version]).fetchone()
        if row is None:
            raise ModelError(no_such_version(scorer, model_version))
    family, value_family, label, columns, content, sha256, versions, fold_count, golden_rows = row
    try:
        artifact = load_artifact(bytes(content), str(sha256), str(family), versions, value_family)
        if len(artifact.pipelines) != fold_count:
            raise ArtifactError(
                f"Expected {fold_count} fold pipelines, found {len(artifact.pipelines)}. Promote another "
                "version."
            )
        contract = FeatureContract.from_json(columns)
        check_golden_rows(golden_rows, contract, artifact.model, artifact.value_pipeline)
    except ArtifactError as error:
        raise ArtifactError(f"{model_version} is not used. {error}") from error
    return LoadedModel(
        model_version,
        str(family),
        str(label),
        contract,
        artifact.model,
        artifact.reference,
        artifact.value_pipeline,
    )


def list_versions(settings: Settings) -> list[ModelVersion]:
    """Return the registered models, newest first."""
    with connect(settings, Role.TRAINER) as trainer:
        rows = trainer.execute(
            f"select {_VERSION_COLUMNS} {_FROM} order by recorded_at desc, model_version"
        ).fetchall()
    return [ModelVersion(*row) for row in rows]


def read_version(settings: Settings, model_version: str) -> ModelVersion:
    """Return the registered model `model_version`.

    Raises
    ------
    ModelError
        If there is no such version.
    """
    with connect(settings, Role.TRAINER) as trainer:
        row = trainer.execute(
            f"select {_VERSION_COLUMNS} {_FROM} where model_version = %s", [model_version]
        ).fetchone()
        if row is None:
            raise ModelError(no_such_version(trainer, model_version))
    return ModelVersion(*row)


def version_of_run(settings: Settings, run_id: str) -> ModelVersion | None:
    """Return the model that the training run `run_id` registered, if it did."""
    return next((version for version in list_versions(settings) if version.run_id == run_id), None)


def find_trained(settings: Settings, training_sha256: str) -> str | None:
    """Return the newest model version of an equal training: same rows, configuration, seed and libraries."""
    with connect(settings, Role.TRAINER) as trainer:
        row = trainer.execute(
            "select model_version from ml.model_versions where training_sha256 = %s"
            " order by recorded_at desc limit 1",
            [training_sha256],
        ).fetchone()
    return str(row[0]) if row else None


def show_version(settings: Settings, model_version: str) -> dict[str, Any]:
    """Return everything known about one model: metrics, gates, contract, libraries, deployments.

    Raises
    ------
    ModelError
        If there is no such version.
    """
    with connect(settings, Role.TRAINER) as trainer:
        found = _read_dicts(
            trainer,
            f"select {_VERSION_COLUMNS}, feature_contract, library_versions, artifact_sha256,"
            " length(artifact) as artifact_byte_count, jsonb_array_length(golden_rows -> 'folds')"
            f" as golden_row_count, card is not null as has_card {_FROM} where model_version = %s",
            model_version,
        )
        if not found:
            raise ModelError(no_such_version(trainer, model_version))
        details = found[0]
        details["gates"] = _read_dicts(trainer, _GATES, model_version)
        details["deployments"] = _read_dicts(trainer, _DEPLOYMENTS, model_version)
    return details


def read_card(settings: Settings, model_version: str) -> str:
    """Return the model card of `model_version`, one self-contained HTML page.

    Raises
    ------
    ModelError
        If there is no such version, or it has no card.
    """
    with connect(settings, Role.TRAINER) as trainer:
        row = trainer.execute(
            "select card from ml.model_versions where model_version = %s", [model_version]
        ).fetchone()
        if row is None:
            raise ModelError(no_such_version(trainer, model_version))
    if row[0] is None:
        raise ModelError(
            f"Expected a card with {model_version}, found none: it was registered without one. "
            f"See `churn-ml model show {model_version}`, or train a new model."
        )
    return str(row[0])


def no_such_version(connection: Connection, model_version: str) -> str:
    """Return the message for an unknown version, with the known ones."""
    return (
        f"Expected model version {model_version!r} in ml.model_versions, found no such row. "
        f"Registered: {available_versions(connection)}."
    )


def available_versions(connection: Connection) -> str:
    """Return the newest versions with their families, for a message."""
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
