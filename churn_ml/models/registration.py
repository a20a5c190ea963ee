"""Registering a trained model: its artifact, what it was trained on and its gates, in one transaction."""

import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from sklearn.pipeline import Pipeline

from churn_ml.features.contract import FeatureContract
from churn_ml.models.artifacts import dump_pipelines, running_versions, sha256_of
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.copying import copy_in
from churn_ml.warehouse.sql import SQL, Identifier

log = logging.getLogger(__name__)

Validation = Literal["cross_sectional", "out_of_time"]

_ROWS_PER_BLOCK = 100_000
_ROW_COLUMNS = ["customer_id", "fold", "churned", "churn_probability"]
# A model of dated rows leaves ml.training_customers empty: there is one pipeline, which scores everyone.
_ROW_TABLES: dict[Validation, tuple[str, list[str]]] = {
    "cross_sectional": ("training_customers", _ROW_COLUMNS),
    "out_of_time": ("training_observations", [*_ROW_COLUMNS, "as_of_date", "known_as_of"]),
}


@dataclass(frozen=True)
class GateResult:
    """One gate of a model: what was observed and between which limits it had to be."""

    gate: str
    observed: float
    threshold_low: float | None
    threshold_high: float | None

    @property
    def verdict(self) -> Literal["pass", "fail"]:
        """Whether the observed value lies within the limits, limits included."""
        low = self.threshold_low is None or self.observed >= self.threshold_low
        high = self.threshold_high is None or self.observed <= self.threshold_high
        return "pass" if low and high else "fail"


@dataclass(frozen=True)
class NewModel:
    """What a training hands over to be registered.

    `training_rows` has the columns customer_id, fold, churned and churn_probability (from a pipeline
    that had not seen the row). Where `validation` is ``out_of_time`` it also has as_of_date and
    known_as_of, and fold and churn_probability are null where a row was not validated on.
    """

    run_id: str
    dataset: str
    label_definition: str
    family: str
    validation: Validation
    as_of_date: date
    known_as_of: datetime
    seed: int
    contract: FeatureContract
    pipelines: Sequence[Pipeline]
    metrics: Mapping[str, Any]
    training_rows: pa.Table
    gates: Sequence[GateResult]

    @cached_property
    def churned_count(self) -> int:
        """Number of training rows that churned."""
        return int(pa.compute.sum(self.training_rows.column("churned")).as_py() or 0)


def register(settings: Settings, new: NewModel) -> str:
    """Store a trained model, what it was trained on and its gates in one transaction.

    Returns
    -------
    str
        The model version: dataset, as-of date and eight hex digits of run and artifact.
    """
    artifact = dump_pipelines(new.pipelines)
    sha256 = sha256_of(artifact)
    digest = sha256_of(f"{new.run_id}:{sha256}".encode())[:8]
    model_version = f"{new.dataset}-{new.as_of_date:%Y%m%d}-{digest}"
    with connect(settings, Role.TRAINER) as trainer:
        _insert_version(trainer, model_version, new, artifact, sha256)
        _copy_training_rows(trainer, model_version, new)
        for gate in new.gates:
            _insert_gate(trainer, model_version, gate)
        trainer.execute("select ops.record_run_model(%s, %s)", [new.run_id, model_version])
    log.info("registered %s (%s), artifact of %d bytes", model_version, new.family, len(artifact))
    return model_version


def _insert_version(
    trainer: Connection, model_version: str, new: NewModel, artifact: bytes, sha256: str
) -> None:
    values = {
        "model_version": model_version,
        "run_id": new.run_id,
        "dataset": new.dataset,
        "label_definition": new.label_definition,
        "family": new.family,
        "validation": new.validation,
        "as_of_date": new.as_of_date,
        "known_as_of": new.known_as_of,
        "seed": new.seed,
        "fold_count": len(new.pipelines),
        "row_count": new.training_rows.num_rows,
        "churned_count": new.churned_count,
        "feature_contract": json.dumps(new.contract.to_json()),
        "metrics": json.dumps(new.metrics, allow_nan=False),
        "library_versions": json.dumps(running_versions()),
        "artifact": artifact,
        "artifact_sha256": sha256,
    }
    trainer.execute(
        f"insert into ml.model_versions ({', '.join(values)})"  # noqa: S608
        f" values ({', '.join(['%s'] * len(values))})",
        list(values.values()),
    )


def _insert_gate(trainer: Connection, model_version: str, gate: GateResult) -> None:
    trainer.execute(
        "insert into ml.gate_results (model_version, gate, observed, threshold_low, threshold_high, verdict)"
        " values (%s, %s, %s, %s, %s, %s)",
        [model_version, gate.gate, gate.observed, gate.threshold_low, gate.threshold_high, gate.verdict],
    )


def _copy_training_rows(trainer: Connection, model_version: str, new: NewModel) -> None:
    table, columns = _ROW_TABLES[new.validation]
    statement = SQL("copy {} ({}) from stdin (format csv)").format(
        Identifier("ml", table), SQL(", ").join(map(Identifier, ["model_version", *columns]))
    )
    versions = pa.repeat(pa.scalar(model_version), new.training_rows.num_rows)
    rows = new.training_rows.select(columns).add_column(0, "model_version", versions)
    copy_in(trainer, statement, _csv_blocks(rows))


def _csv_blocks(rows: pa.Table) -> Iterator[bytes]:
    for first in range(0, rows.num_rows, _ROWS_PER_BLOCK):
        content = io.BytesIO()
        pyarrow.csv.write_csv(
            rows.slice(first, _ROWS_PER_BLOCK), content, pyarrow.csv.WriteOptions(include_header=False)
        )
        yield content.getvalue()
