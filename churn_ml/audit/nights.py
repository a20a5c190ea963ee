"""Nights in the throw-away database, by the same calls as the real ones."""

from datetime import date

from churn_ml.audit.databases import ThrowAway
from churn_ml.publishing.publish import publish_run
from churn_ml.quality.gates import run_gate
from churn_ml.scoring.night import score_night
from churn_ml.services import dbt
from churn_ml.services.dated_nights import Night, write_label_nights
from churn_ml.services.dbt_selection import Layer
from churn_ml.warehouse.connection import Connection, Role
from churn_ml.warehouse.runs import Run, close_run, open_repetition, open_run, read_run
from churn_ml.warehouse.sql import SQL, Identifier

_LAYERS: tuple[Layer, ...] = ("staging", "intermediate", "features")


def build_first_night(target: ThrowAway, night: Night) -> str:
    """Build `night` up to its features with all tests, as the real night is built; return its run."""
    run = open_run(target.settings, "night", night.known_as_of)
    for layer in _LAYERS:
        dbt.build_layer(target.settings, run.run_id, layer)
    close_run(target.settings, run.run_id, "succeeded")
    return run.run_id


def publish_night(target: ThrowAway, run_id: str) -> None:
    """Score a night whose features are built, and publish its marts."""
    _build_marts(target, read_run(target.settings, run_id))
    run_gate(target.settings, run_id, "marts")
    publish_run(target.settings, run_id, "audit")


def reproduce_night(target: ThrowAway, as_of_date: date) -> Run:
    """Reproduce the published night of `as_of_date` up to its marts; return the run."""
    run = open_repetition(target.settings, "reproduce", as_of_date)
    for layer in _LAYERS:
        dbt.build_layer(target.settings, run.run_id, layer)
    return _build_marts(target, run)


def restate_night(target: ThrowAway, as_of_date: date) -> Run:
    """Restate the published night of `as_of_date` up to its marts, where all batches are staged."""
    run = open_repetition(target.settings, "restate", as_of_date)
    build_night(target, run, Night(run.as_of_date, run.known_as_of))
    return _build_marts(target, run)


def _build_marts(target: ThrowAway, run: Run) -> Run:
    score_night(target.settings, run.run_id)
    dbt.build_layer(target.settings, run.run_id, "marts")
    return run


def forget_nights(owner: Connection) -> None:
    """Empty all that was built of raw rows; seeds and parameters stay."""
    tables = owner.execute(
        "select schemaname, tablename from pg_tables"
        " where schemaname = 'intermediate' or schemaname = 'staging' and starts_with(tablename, 'stg_')"
        " or schemaname = 'features' and starts_with(tablename, 'customer_')"
    ).fetchall()
    for schema, table in tables:
        owner.execute(SQL("truncate {}").format(Identifier(schema, table)))
    owner.execute("delete from ops.staged_batches")
    owner.execute("delete from ops.built_nights")


def stage(target: ThrowAway, night: Night) -> Run:
    """Stage every batch that is there; return the run, which goes on."""
    run = open_run(target.settings, "night", night.known_as_of)
    dbt.build_layer(target.settings, run.run_id, "staging")
    return run


def build_nights(target: ThrowAway, nights: list[Night]) -> None:
    """Stage every batch that is there, then build the features of each of `nights`."""
    run = stage(target, nights[0])
    for night in nights:
        build_night(target, run, night)
    close_run(target.settings, run.run_id, "succeeded")


def build_night(target: ThrowAway, run: Run, night: Night) -> None:
    """Build the features of `night` on behalf of `run`, where all batches are staged."""
    dbt.build_night(target.settings, run, night)


def build_labels(target: ThrowAway, night: Night, knowing: Night) -> None:
    """Label the customers of `night`, which is built, with the knowledge of the night `knowing`."""
    run = open_run(target.settings, "training", knowing.known_as_of)
    with target.connect(Role.TRANSFORMER) as transformer:
        write_label_nights(transformer, run, [night])
    dbt.build_labels(target.settings, run)
    close_run(target.settings, run.run_id, "succeeded")
