"""Runs made by copying the rows of one: nights for tests of what happens to whole runs, without dbt."""

from datetime import date, datetime

from psycopg import sql

from churn_ml.publishing.fingerprints import marts_with_run_id
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, read_run

_OWN = ("run_id", "scoring_run_key")


def copy_run(
    settings: Settings,
    run: Run,
    name: str,
    *,
    run_kind: str = "night",
    status: str = "succeeded",
    as_of_date: date | None = None,
    known_as_of: datetime | None = None,
) -> Run:
    """Open run `name` with the marts and scores of `run`; the marts' own date stays that of `run`."""
    day, cut_off = as_of_date or run.as_of_date, known_as_of or run.known_as_of
    with connect(settings, Role.OWNER) as owner:
        beside = run.run_id if run_kind in ("challenger", "shadow") else None
        owner.execute(
            "insert into ops.pipeline_runs (run_id, run_kind, dataset, as_of_date, known_as_of, status,"
            " code_version, configuration_sha256, label_definition, marts_begun_at, beside_run_id)"
            " select %s, %s, dataset, %s, %s, %s, code_version, configuration_sha256, label_definition,"
            " clock_timestamp(), %s from ops.pipeline_runs where run_id = %s",
            [name, run_kind, day, cut_off, status, beside, run.run_id],
        )
        owner.execute(
            "insert into scores.customer_scores (as_of_date, run_id, customer_id, churn_probability_raw,"
            " churn_probability, model_version, is_out_of_fold, feature_row_sha256, scored_at)"
            " select as_of_date, %s, customer_id, churn_probability_raw, churn_probability, model_version,"
            " is_out_of_fold, feature_row_sha256, scored_at from scores.customer_scores where run_id = %s",
            [name, run.run_id],
        )
        # A fact refers to its run's row of dim_scoring_run.
        marts = sorted(marts_with_run_id(owner), key=lambda mart: mart != "dim_scoring_run")
        for mart in marts if beside is None else []:
            copied = [
                sql.Identifier(str(column))
                for (column,) in owner.execute(
                    "select column_name from information_schema.columns"
                    " where table_schema = 'marts' and table_name = %s and column_name <> all(%s)",
                    [mart, list(_OWN)],
                ).fetchall()
            ]
            owner.execute(
                sql.SQL(
                    "insert into {mart} (run_id, scoring_run_key, {columns})"
                    " select runs.run_id, runs.run_number, {columns_of_it} from {mart} as copied"
                    " join ops.pipeline_runs as runs on runs.run_id = {name} where copied.run_id = {run_id}"
                ).format(
                    mart=sql.Identifier("marts", mart),
                    columns=sql.SQL(", ").join(copied),
                    columns_of_it=sql.SQL(", ").join(sql.SQL("copied.") + column for column in copied),
                    name=sql.Literal(name),
                    run_id=sql.Literal(run.run_id),
                )
            )
    return read_run(settings, name)
