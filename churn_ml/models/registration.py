"""Registering a trained model: its artifact, what it was trained on and its gates, in one transaction."""

import io
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from sklearn.pipeline import Pipeline

from churn_ml.features.contract import FeatureContract
from churn_ml.models.artifacts import (
    Artifact,
    dump_artifact,
    libraries_of,
    running_versions,
    sha256_of,
)
from churn_ml.models.contributions import Reference
from churn_ml.models.crossfit import CrossFittedModel
from churn_ml.models.golden_rows import GoldenRows, answer
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
    """One gate of a model: what was observed and between which limits it had to be.

    `observed` is None where there was nothing to look at, such as no champion to compare with.
    `subject` names what was looked at (a segment, a column); it is empty for everyone. A failed gate of
    severity ``block`` keeps the model from being deployed, one of ``warn`` is shown. The interval is
    the 90 % interval of the observed value; `detail` is a sentence for people.
    """

    gate: str
    observed: float | None
    threshold_low: float | None
    threshold_high: float | None
    subject: str = ""
    severity: Literal["block", "warn"] = "block"
    interval_low: float | None = None
    interval_high: float | None = None
    detail: str | None = None

    @property
    def verdict(self) -> Literal["pass", "fail", "not_applicable"]:
        """Whether the observed value lies within the limits, limits included; NaN does not."""
        if self.observed is None:
            return "not_applicable"
        low = self.threshold_low is None or self.observed >= self.threshold_low
        high = self.threshold_high is None or self.observed <= self.threshold_high
        return "pass" if low and high and not math.isnan(self.observed) else "fail"


@dataclass(frozen=True)
class NewModel:
    """What a training hands over to be registered.

    Attributes
    ----------
    pipelines
        Fitted and calibrated: the last step of each is a `CalibratedClassifier`.
    training_rows
        The columns customer_id, fold, churned and churn_probability (calibrated, from a pipeline that
        had not seen the row). Where `validation` is ``out_of_time`` also as_of_date and known_as_of;
        fold and churn_probability are null where a row was not validated on.
    parameters
        The hyperparameters of `family` that the search found.
    calibration
        The method of the final calibrator: none, sigmoid, isotonic, venn_abers or beta.
    training_sha256
        Hash of rows, contract, configuration, seed and libraries, by which an equal training is known.
    golden_rows
        By `choose_golden_rows`; the model's answers for them are kept and checked at each loading.
    value_pipeline, value_family
        The regression of expected months retained; None where the dataset has none.
    card
        Given the model version, returns its card, one HTML page.
    artifact
        What `dump_artifact` makes of pipelines, reference and value pipeline, where it was made already.
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
    _: KW_ONLY
    parameters: Mapping[str, Any]
    calibration: str
    training_sha256: str
    reference: Reference
    golden_rows: GoldenRows
    value_pipeline: Pipeline | None = None
    value_family: str | None = None
    card: Callable[[str], str] | None = None
    artifact: bytes | None = None

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
    artifact = new.artifact or dump_artifact(Artifact(new.pipelines, new.reference, new.value_pipeline))
    sha256 = sha256_of(artifact)
    digest = sha256_of(f"{new.run_id}:{sha256}".encode())[:8]
    model_version = f"{new.dataset}-{new.as_of_date:%Y%m%d}-{digest}"
    with connect(settings, Role.TRAINER) as trainer:
        insert_row(trainer, "model_versions", _version_row(model_version, new, artifact, sha256))
        _copy_training_rows(trainer, model_version, new)
        for gate in new.gates:
            values = asdict(gate) | {"model_version": model_version, "verdict": gate.verdict}
            insert_row(trainer, "gate_results", values)
        trainer.execute("select ops.record_run_model(%s, %s)", [new.run_id, model_version])
    log.info("registered %s (%s), artifact of %d bytes", model_version, new.family, len(artifact))
    return model_version


def _version_row(model_version: str, new: NewModel, artifact: bytes, sha256: str) -> dict[str, Any]:
    model = CrossFittedModel(tuple(new.pipelines))
    libraries = libraries_of(new.family, new.value_family)
    golden_rows = answer(new.golden_rows, new.contract, model, new.value_pipeline)
    return {
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
        "library_versions": json.dumps(running_versions(libraries)),
        "parameters": json.dumps(new.parameters, allow_nan=False),
        "calibration": new.calibration,
        "training_sha256": new.training_sha256,
        "value_family": new.value_family,
        "golden_rows": json.dumps(golden_rows, allow_nan=False),
        "card": new.card(model_version) if new.card else None,
        "artifact": artifact,
        "artifact_sha256": sha256,
    }


def insert_row(trainer: Connection, table: str, values: Mapping[str, Any]) -> None:
    """Insert one row, column by name, into a table of schema ``ml``."""
    statement = SQL("insert into {} ({}) values ({})").format(
        Identifier("ml", table),
        SQL(", ").join(map(Identifier, values)),
        SQL(", ").join([SQL("%s")] * len(values)),
    )
    trainer.execute(statement, list(values.values()))


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
