"""The first night of a new champion: what it says of the features of the night before.

With it the marts split each change of a probability: what the new model makes of what was known before,
and what has become of the customer since.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime

import pyarrow as pa
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from churn_ml.errors import ScoringError
from churn_ml.features.contract import FeatureContract
from churn_ml.models.registry import LoadedModel
from churn_ml.scoring.chunks import (
    Scorer,
    check_probabilities,
    count_eligible,
    read_customers,
    read_features,
    write_tables,
)
from churn_ml.scoring.reasons import REASON_COUNT
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run, read_run
from churn_ml.warehouse.sql import SQL, Identifier

log = logging.getLogger(__name__)

_COLUMNS = ["run_id", "customer_id", "base_run_id", "model_version", "churn_probability", "scored_at"]
_COPY = SQL("copy scores.model_change_scores ({}) from stdin (format csv)").format(
    SQL(", ").join(map(Identifier, _COLUMNS))
)


def score_model_change(settings: Settings, run: Run, scorer: Scorer) -> int:
    """Score the features of the run's previous night where another model was champion then.

    Every customer who was eligible that night gets one row of ``scores.model_change_scores``, by the
    same arithmetic as a night's scores: a training customer by the pipeline that has not seen them.
    What an earlier attempt of the run wrote is replaced. Where the features of that night no longer
    stand, a warning is logged and no row is written, so that the marts leave the change unsplit; a
    reproduction takes over the rows of the run that it repeats.

    Parameters
    ----------
    run : Run
        Its bases are chosen (`ops.choose_bases`).
    scorer : Scorer
        The run's own model.

    Returns
    -------
    int
        Rows written: 0 where there is no previous night or its model was the same.
    """
    previous = _find_previous(settings, run)
    with connect(settings, Role.SCORER) as source, connect(settings, Role.SCORER) as target:
        source.execute("set transaction isolation level repeatable read")
        target.execute("delete from scores.model_change_scores where run_id = %s", [run.run_id])
        if previous is None or previous.model_version == scorer.model.model_version:
            return 0
        try:
            expected = _count_standing(source, previous, scorer.model)
        except ScoringError as error:
            return _do_without(target, run, previous, error)
        return _write(source, target, (run, previous), scorer, expected)


def _find_previous(settings: Settings, run: Run) -> Run | None:
    with connect(settings, Role.SCORER) as scorer:
        row = scorer.execute(
            "select base_run_id from ops.run_bases where run_id = %s and base_role = 'previous'", [run.run_id]
        ).fetchone()
    return read_run(settings, str(row[0])) if row else None


def _count_standing(source: Connection, previous: Run, model: LoadedModel) -> int:
    """Return how many customers of `previous` have the features that `model` reads.

    A column that the former model did not read may be younger than that night: it then has no value in
    any of its rows.
    """
    expected = count_eligible(source, previous)
    row = source.execute(
        "select feature_contract from ml.model_versions where model_version = %s", [previous.model_version]
    ).fetchone()
    former = FeatureContract.from_json(row[0]).names if row else []
    added = [name for name in model.contract.names if name not in former]
    if not added:
        return expected
    counts = source.execute(
        SQL("select {} from features.customer_features where as_of_date = %s and known_as_of = %s").format(
            SQL(", ").join(SQL("count({})").format(Identifier(name)) for name in added)
        ),
        [previous.as_of_date, previous.known_as_of],
    ).fetchone()
    empty = [name for name, count in zip(added, counts or (), strict=True) if count == 0]
    if empty:
        raise ScoringError(
            f"Expected the columns that {model.model_version} reads in the features of "
            f"{previous.as_of_date}, found no value of {', '.join(empty)}: they were added since."
        )
    return expected


def _write(
    source: Connection, target: Connection, runs: tuple[Run, Run], scorer: Scorer, expected: int
) -> int:
    started = time.monotonic()
    run, previous = runs
    with threadpool_limits(limits=1), closing(read_customers(source, previous, scorer.model)) as chunks:
        written = write_tables(target, _COPY, _score(chunks, run, previous, scorer))
    if written != expected:
        raise ScoringError(
            f"Expected {expected} scores, one per eligible customer of {previous.as_of_date}, by the new "
            f"champion, wrote {written}. None was kept. Retry; if it fails again, rebuild that night's "
            "features with dbt."
        )
    log.info("champion changed from %s to %s: scored %d customers of %s anew in %.1f s",
             previous.model_version, scorer.model.model_version, written, previous.as_of_date,
             time.monotonic() - started)  # fmt: skip
    return written


def _score(chunks: Iterable[pa.Table], run: Run, previous: Run, scorer: Scorer) -> Iterator[pa.Table]:
    constants = {
        "run_id": run.run_id,
        "base_run_id": previous.run_id,
        "model_version": scorer.model.model_version,
        "scored_at": datetime.now(UTC),
    }
    for chunk in chunks:
        folds, _, frame = read_features(chunk, scorer.model)
        predictions, _ = scorer.explainer.predict(frame, folds, REASON_COUNT)
        check_probabilities(predictions, scorer.model)
        columns = {name: pa.repeat(pa.scalar(value), chunk.num_rows) for name, value in constants.items()}
        columns["customer_id"] = chunk.column("customer_id")
        columns["churn_probability"] = pa.array(predictions.calibrated)
        yield pa.table(columns).select(_COLUMNS)


def _do_without(target: Connection, run: Run, previous: Run, error: ScoringError) -> int:
    """Warn that the change stays unsplit; of a reproduction, take over what the repeated run wrote."""
    if run.run_kind == "reproduce":
        taken = target.execute(
            "insert into scores.model_change_scores"
            " (run_id, customer_id, base_run_id, model_version, churn_probability, scored_at)"
            " select %s, customer_id, base_run_id, model_version, churn_probability, scored_at"
            " from scores.model_change_scores where run_id = %s",
            [run.run_id, run.repeats_run_id],
        ).rowcount
        log.warning("%s takes over %d scores of the change of champion from %s. %s",
                    run.run_id, taken, run.repeats_run_id, error)  # fmt: skip
        return taken
    log.warning(
        "champion changed since %s, but its features no longer stand: the marts of %s leave each change of "
        "a probability unsplit. %s",
        previous.as_of_date, run.run_id, error,
    )  # fmt: skip
    return 0
