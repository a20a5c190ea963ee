"""Challenger and shadow models score a night beside its champion, each in a run of its own kind.

Their scores are kept in ``scores.customer_scores`` under their own runs, which are never published.
"""

import logging
import uuid
from dataclasses import dataclass

from churn_ml.models.deployments import ALIASES, Alias, deployed_at
from churn_ml.scoring.night import score_with
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run, close_run, read_run

log = logging.getLogger(__name__)

_LONGEST_FAILURE = 4000


@dataclass(frozen=True)
class BesideRun:
    """One challenger or shadow of a night: its run, and what it wrote or why it failed."""

    alias: Alias
    model_version: str
    run_id: str
    rows_scored: int | None
    failure: str | None


def score_challengers(settings: Settings, run_id: str) -> list[BesideRun]:
    """Score the night `run_id` by every challenger and shadow that is deployed at its cut-off.

    Each gets a run of its kind with the night's date and cut-off, and what an earlier attempt of the
    same night scored is discarded. One that fails is recorded and warned about, and keeps neither the
    others nor the night from going on. A run that repeats a night has no challengers, and a model that
    is champion too is not scored twice.
    """
    night = read_run(settings, run_id)
    if night.run_kind != "night":
        return []
    deployed = {alias: deployed_at(settings, alias, night.champion_cut_off) for alias in ALIASES}
    champion = deployed.pop("champion")
    return [
        _score_beside(settings, night, alias, model_version)
        for alias, model_version in deployed.items()
        if model_version is not None and model_version != champion
    ]


def _score_beside(settings: Settings, night: Run, alias: Alias, model_version: str) -> BesideRun:
    run_id = f"{alias}-{night.as_of_date:%Y%m%d}-{uuid.uuid4().hex[:8]}"
    with connect(settings, Role.SCORER) as scorer:
        _discard_earlier(scorer, night, alias)
        scorer.execute("select ops.open_beside(%s, %s, %s)", [run_id, alias, night.run_id])
    try:
        summary = score_with(settings, read_run(settings, run_id), model_version)
    except Exception as error:  # whatever a challenger dies of, the champion's night goes on
        failure = f"{model_version}: {type(error).__name__}: {error}"[:_LONGEST_FAILURE]
        log.warning("the %s of %s has not scored, the night goes on: %s", alias, night.run_id, failure)
        close_run(settings, run_id, "failed", failure)
        return BesideRun(alias, model_version, run_id, None, failure)
    close_run(settings, run_id, "succeeded")
    return BesideRun(alias, model_version, run_id, summary.rows_scored, None)


def _discard_earlier(scorer: Connection, night: Run, alias: Alias) -> None:
    scorer.execute(
        "select ops.discard_run(run_id), ops.close_run(run_id, 'discarded', null) from ops.pipeline_runs"
        " where beside_run_id = %s and run_kind = %s and status in ('running', 'succeeded')",
        [night.run_id, alias],
    )
