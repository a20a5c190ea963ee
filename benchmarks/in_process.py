"""A night and a training without Airflow: the calls that the DAGs' tasks make, in their order."""

from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime, timedelta
from typing import Protocol

from churn_ml.landing.delivery import land_inbox
from churn_ml.models.deployments import promote
from churn_ml.publishing.publish import publish_run
from churn_ml.quality.gates import run_gate
from churn_ml.scoring.night import score_night
from churn_ml.services.dbt import Layer, build_layer
from churn_ml.services.panels import build_panel
from churn_ml.settings import Settings
from churn_ml.training.train import TrainingSummary, train_model
from churn_ml.warehouse.runs import night_cut_off, open_run

FEATURE_LAYERS: tuple[Layer, ...] = ("staging", "intermediate", "features")


class Step(Protocol):
    """Measures what happens within it."""

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Return the context of one step."""


def unmeasured(_: str) -> AbstractContextManager[None]:
    """Measure nothing."""
    return nullcontext()


def run_night(settings: Settings, day: date, step: Step = unmeasured) -> tuple[str, int]:
    """Run the night of `day` from landing to publication; return its run and the customers scored."""
    run_id = open_run(settings, "night", night_cut_off(day)).run_id
    with step("night: land"):
        land_inbox(settings, run_id)
    with step("night: gate raw"):
        run_gate(settings, run_id, "raw")
    for layer in FEATURE_LAYERS:
        with step(f"night: {layer}"):
            build_layer(settings, run_id, layer)
    with step("night: gate features"):
        run_gate(settings, run_id, "features")
    with step("night: score"):
        scored = score_night(settings, run_id).rows_scored
    with step("night: marts"):
        build_layer(settings, run_id, "marts")
    with step("night: gate marts"):
        run_gate(settings, run_id, "marts")
    with step("night: publish"):
        publish_run(settings, run_id, "benchmark")
    return run_id, scored


def train_and_promote(settings: Settings, day: date, step: Step = unmeasured) -> TrainingSummary:
    """Train an hour before the night of `day`, and make the model its champion."""
    cut_off: datetime = night_cut_off(day) - timedelta(hours=1)
    run_id = open_run(settings, "training", cut_off).run_id
    with step("training: features and labels of the panel"):
        for layer in FEATURE_LAYERS:
            build_layer(settings, run_id, layer)
        build_panel(settings, run_id)
    with step("training: candidates"):
        trained = train_model(settings, run_id, seed=7)
    promote(settings, trained.model_version, cut_off, "benchmark", "benchmark")
    return trained
