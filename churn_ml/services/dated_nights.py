"""What a dated dataset remembers of its nights: whose features stand, and whose labels a run makes.

Features stand while neither the dbt code nor the rows that the night may know have changed since.
A label is made once its window has closed: gap, horizon, grace and the allowance for late rows.
"""

import hashlib
import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from churn_ml.declarations import load_dataset
from churn_ml.errors import TransformationError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.runs import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Night:
    """A day and the cut-off that was its own."""

    as_of_date: date
    known_as_of: datetime


def plan_labels(settings: Settings, warehouse: Connection, run: Run) -> None:
    """State in ``ops.label_nights`` which nights the run's labels are of, before they are built.

    Every run labels its own night. A night run also labels the published nights whose windows have
    closed by now and whose outcomes no other published night states; a repetition labels those that
    the run which it repeats has labelled. Does nothing for a snapshot dataset.
    """
    dataset = load_dataset(settings)
    if dataset.panel is None:
        return
    nights = [Night(run.as_of_date, run.known_as_of)]
    if run.run_kind == "night":
        nights += _matured_nights(warehouse, run, dataset.label_definition)
    elif run.repeats_run_id is not None:
        nights += _repeated_nights(warehouse, run)
    write_label_nights(warehouse, run, nights)
    log.info("labels of %d nights are due, %d of them matured", len(nights), len(nights) - 1)


def write_label_nights(warehouse: Connection, run: Run, nights: list[Night]) -> None:
    """Replace the nights that the run labels by `nights`."""
    with warehouse.transaction():
        warehouse.execute("delete from ops.label_nights where run_id = %s", [run.run_id])
        for night in nights:
            warehouse.execute(
                "insert into ops.label_nights (run_id, as_of_date, known_as_of) values (%s, %s, %s)",
                [run.run_id, night.as_of_date, night.known_as_of],
            )


def last_closed_date(warehouse: Connection, run: Run, label_definition: str) -> date:
    """Return the newest as-of date whose label window has closed at the end of the run's day."""
    row = None
    if _exists(warehouse, "staging.label_definitions"):
        row = warehouse.execute(
            "select gap_days + horizon_days + grace_days + late_allowance_days"
            " from staging.label_definitions where label_definition = %s",
            [label_definition],
        ).fetchone()
    if row is None:
        raise TransformationError(
            f"Expected label definition {label_definition!r} in staging.label_definitions, found none. "
            "Add it to dbt_project/seeds/label_definitions.csv and build layer staging."
        )
    return run.as_of_date - timedelta(days=row[0])


def is_built(settings: Settings, warehouse: Connection, night: Night) -> bool:
    """Tell whether the night's features stand as the present code would build them anew.

    Part of them is what was staged by the end of the staging of the run that built them, and before
    they were built. Any other batch that the night may know came too late; a first load of a table
    may hold rows of any time.
    """
    if not _exists(warehouse, "features.customer_features"):
        return False
    row = warehouse.execute(
        "select from ops.built_nights as built"
        " where built.as_of_date = %(as_of_date)s and built.known_as_of = %(known_as_of)s"
        " and built.code_sha256 = %(code_sha256)s"
        " and exists (select from features.customer_features"
        "  where as_of_date = %(as_of_date)s and known_as_of = %(known_as_of)s)"
        " and not exists (select from ops.landing_batches as batches"
        "  where batches.entity = any(%(entities)s) and (batches.known_at <= %(known_as_of)s"
        "   or (batches.is_first_load and batches.file_format = 'table'))"
        "  and not exists (select from ops.staged_batches as staged"
        "   where staged.batch_id = batches.batch_id and staged.model = %(models)s || batches.entity"
        "   and staged.staged_at < built.built_at and staged.staged_at <= (select max(recorded_at)"
        "    from ops.dbt_results as results"
        "    where results.run_id = built.run_id and results.layer = 'staging')))",
        {"as_of_date": night.as_of_date, "known_as_of": night.known_as_of,
         "code_sha256": feature_code_sha256(settings), "models": f"stg_{settings.dataset}__",
         "entities": list(load_dataset(settings).entities)},
    ).fetchone()  # fmt: skip
    return row is not None


def record_built_night(settings: Settings, warehouse: Connection, run: Run, night: Night) -> None:
    """Record that `run` built the night's features; nothing is recorded of a snapshot dataset."""
    if load_dataset(settings).panel is None:
        return
    warehouse.execute(
        "insert into ops.built_nights (as_of_date, known_as_of, code_sha256, run_id)"
        " values (%s, %s, %s, %s) on conflict (as_of_date, known_as_of) do update"
        " set code_sha256 = excluded.code_sha256, run_id = excluded.run_id, built_at = excluded.built_at",
        [night.as_of_date, night.known_as_of, feature_code_sha256(settings), run.run_id],
    )


def feature_code_sha256(settings: Settings) -> str:
    """Hash what decides a night's features: SQL, seeds and the dataset's declaration."""
    project = settings.project_dir / "dbt_project"
    digest = hashlib.sha256()
    for path in sorted(_feature_files(project, settings.dataset)):
        digest.update(str(path.relative_to(project)).encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update((settings.project_dir / "datasets" / f"{settings.dataset}.yml").read_bytes())
    return digest.hexdigest()


def _feature_files(project: Path, dataset: str) -> set[Path]:
    models = {
        path
        for layer in ("staging", "intermediate", "features")
        for path in (project / "models" / layer / dataset).rglob("*.sql")
        if path.stem not in (f"{dataset}__customer_labels", f"{dataset}__customer_retention")
    }
    models |= set((project / "models" / "features").glob("*.sql"))
    text = "".join(path.read_text(encoding="utf-8") for path in models)
    seeds = {path for path in (project / "seeds").glob("*.csv") if f"ref('{path.stem}')" in text}
    return models | seeds | {project / "dbt_project.yml", *(project / "macros").rglob("*.sql")}


def _matured_nights(warehouse: Connection, run: Run, label_definition: str) -> list[Night]:
    """Return the published nights that closed and whose outcomes no other published night states.

    A night published anew has outcomes of its own. Nights scored under another label definition are
    left out: what their probabilities are of, the run does not label.
    """
    rows = warehouse.execute(
        "select published.as_of_date, published.known_as_of from ops.published_runs as published"
        " join ops.pipeline_runs as runs using (run_id)"
        " where published.as_of_date <= %s and published.known_as_of <= %s and runs.label_definition = %s"
        " and not exists (select from ops.run_bases as bases"
        "  join ops.published_runs as stating on bases.run_id = stating.run_id"
        "  where bases.base_role = 'matured' and bases.base_run_id = published.run_id"
        "  and stating.as_of_date <> %s)"
        " order by published.as_of_date",
        [last_closed_date(warehouse, run, label_definition), run.known_as_of, label_definition,
         run.as_of_date],
    ).fetchall()  # fmt: skip
    return [Night(*row) for row in rows]


def _repeated_nights(warehouse: Connection, run: Run) -> list[Night]:
    """Return the nights besides its own that the run which `run` repeats has labelled."""
    rows = warehouse.execute(
        "select as_of_date, known_as_of from ops.label_nights where run_id = %s and as_of_date <> %s"
        " order by as_of_date",
        [run.repeats_run_id, run.as_of_date],
    ).fetchall()
    return [Night(*row) for row in rows]


def _exists(warehouse: Connection, relation: str) -> bool:
    return warehouse.execute("select to_regclass(%s) is not null", [relation]).fetchone() == (True,)
