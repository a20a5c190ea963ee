"""A published night's assignments as a file for the system that treats customers: both arms, as assigned."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path

from churn_ml.errors import PublishingError
from churn_ml.publishing.whole_files import appear_whole
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import night_cut_off

log = logging.getLogger(__name__)

COLUMNS = ("customer_id", "treatment", "assigned_at", "is_held_out", "campaign_id")
# Not by rank: the order must not tell the arms' ranks to whoever calls down the file.
_QUERY = (
    "select customer_id, treatment, is_held_out, campaign_id from marts.fct_treatment_assignment"
    ' where run_id = %s order by customer_id collate "C"'
)


@dataclass(frozen=True)
class WrittenAssignments:
    """What was written of a night; `campaign_id` is None where nobody was assigned."""

    path: Path
    run_id: str
    as_of_date: date
    campaign_id: str | None
    treated_count: int
    held_out_count: int


def write_assignments(settings: Settings, as_of_date: date, path: Path) -> WrittenAssignments:
    """Write the assignments of the published night of `as_of_date` to `path`, as ``bi_reader`` sees them.

    CSV with the columns `COLUMNS`; `assigned_at` is the night's cut-off, 02:00 UTC of the next day. The
    held out are in it with ``is_held_out`` true, so that the source records them and leaves them alone.
    A night without a campaign gives a file with its header only. The file is there whole or not at all.

    Raises
    ------
    PublishingError
        If the night is not published, or the folder of `path` is not there.
    """
    if not path.parent.is_dir():
        raise PublishingError(f"Expected the folder {path.parent} for {path.name}, found none: make it.")
    with connect(settings, Role.READER) as reader:
        reader.execute("set transaction isolation level repeatable read")
        run_id = _published_run(reader, as_of_date)
        rows = reader.execute(_QUERY, [run_id]).fetchall()
    assigned_at = night_cut_off(as_of_date).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [
        (customer_id, treatment, assigned_at, "true" if is_held_out else "false", campaign_id)
        for customer_id, treatment, is_held_out, campaign_id in rows
    ]
    _write(path, lines)
    held_out = sum(bool(row[2]) for row in rows)
    written = WrittenAssignments(
        path, run_id, as_of_date, rows[0][3] if rows else None, len(rows) - held_out, held_out
    )
    log.info("assignments of %s: %d treated, %d held out", as_of_date, written.treated_count, held_out)
    return written


def _published_run(reader: Connection, as_of_date: date) -> str:
    row = reader.execute(
        "select max(run_id) filter (where as_of_date = %s), count(*), max(as_of_date)"
        " from marts.dim_scoring_run",
        [as_of_date],
    ).fetchone()
    run_id, count, newest = row or (None, 0, None)
    if run_id is None:
        raise PublishingError(
            f"Expected a published night of {as_of_date}, found none. Published: {count} nights, the newest "
            f"{newest or 'none'}. Customers are treated by published nights only: publish the night first "
            "(`churn-ml run list`)."
        )
    return str(run_id)


def _write(path: Path, lines: Sequence[tuple[str, ...]]) -> None:
    with appear_whole(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines)
