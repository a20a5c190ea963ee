"""Nights built in the throw-away database by the same dbt models as the real ones."""

from churn_ml.audit.databases import ThrowAway
from churn_ml.services import dbt
from churn_ml.services.dated_nights import Night, write_label_nights
from churn_ml.services.dbt_selection import Layer
from churn_ml.warehouse.connection import Connection, Role
from churn_ml.warehouse.runs import Run, close_run, open_run
from churn_ml.warehouse.sql import SQL, Identifier

_LAYERS: tuple[Layer, ...] = ("staging", "intermediate", "features")


def build_first_night(target: ThrowAway, night: Night) -> None:
    """Build `night` layer by layer with all tests, as the real night is built."""
    run = open_run(target.settings, "night", night.known_as_of)
    for layer in _LAYERS:
        dbt.build_layer(target.settings, run.run_id, layer)
    close_run(target.settings, run.run_id, "succeeded")


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
        dbt.build_night(target.settings, run, night)
    close_run(target.settings, run.run_id, "succeeded")


def build_labels(target: ThrowAway, night: Night, knowing: Night) -> None:
    """Label the customers of `night`, which is built, with the knowledge of the night `knowing`."""
    run = open_run(target.settings, "training", knowing.known_as_of)
    with target.connect(Role.TRANSFORMER) as transformer:
        write_label_nights(transformer, run, [night])
    dbt.build_labels(target.settings, run)
    close_run(target.settings, run.run_id, "succeeded")
