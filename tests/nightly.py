"""A training and a night without Airflow: the same calls that the DAGs' tasks make, in their order."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from untested import build_layer

from churn_ml.landing.delivery import land_inbox, land_path
from churn_ml.landing.snapshots import settle_night
from churn_ml.models.deployments import promote
from churn_ml.publishing.publish import Publication, publish_run
from churn_ml.quality.gates import run_gate
from churn_ml.scoring.night import score_night
from churn_ml.settings import Settings
from churn_ml.training.train import TrainingSummary, train_model
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_run


def cut_off_of(as_of_date: date) -> datetime:
    return datetime.combine(as_of_date + timedelta(days=1), time(2, tzinfo=UTC))


def first_load(settings: Settings, path: Path, as_of_date: date) -> None:
    land_path(settings, path, as_of_date=as_of_date, first_load=True)


def train(settings: Settings, known_as_of: datetime) -> TrainingSummary:
    run_id = open_run(settings, "training", known_as_of).run_id
    settle_night(settings, run_id)
    run_gate(settings, run_id, "raw")
    for layer in ("staging", "intermediate", "features"):
        build_layer(settings, run_id, layer)
    run_gate(settings, run_id, "features")
    return train_model(settings, run_id, seed=20260101)


def train_and_promote(settings: Settings, known_as_of: datetime) -> TrainingSummary:
    trained = train(settings, known_as_of)
    promote(settings, trained.model_version, known_as_of, "the only model there is", "tests")
    return trained


def build_until_features(settings: Settings, known_as_of: datetime, *, tested: bool = False) -> str:
    run_id = open_run(settings, "night", known_as_of).run_id
    land_inbox(settings, run_id)
    assert settle_night(settings, run_id)
    run_gate(settings, run_id, "raw")
    for layer in ("staging", "intermediate", "features"):
        build_layer(settings, run_id, layer, tested=tested)
    run_gate(settings, run_id, "features")
    return run_id


def build_until_marts(settings: Settings, known_as_of: datetime, *, tested: bool = False) -> str:
    run_id = build_until_features(settings, known_as_of, tested=tested)
    score_night(settings, run_id)
    build_layer(settings, run_id, "marts", tested=tested)
    return run_id


def night(settings: Settings, known_as_of: datetime, *, tested: bool = False) -> Publication:
    return audit_and_publish(settings, build_until_marts(settings, known_as_of, tested=tested))


def audit_and_publish(settings: Settings, run_id: str) -> Publication:
    run_gate(settings, run_id, "marts")
    return publish_run(settings, run_id, "test night")


def read(settings: Settings, statement: str, role: Role = Role.READER) -> list[tuple[object, ...]]:
    with connect(settings, role) as connection:
        return connection.execute(statement).fetchall()
