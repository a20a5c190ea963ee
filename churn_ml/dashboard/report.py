"""The report of a run: one HTML page without script or foreign parts, kept in ``ops.run_reports``.

The same run gives the same bytes, whatever is published later. A page holds customers' keys and goes
when a rule of retention removes the marts of its run.
"""

import logging
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from churn_ml.dashboard import report_words as words
from churn_ml.dashboard.report_facts import ReportFacts, find_published_run, read_facts
from churn_ml.errors import WarehouseError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect

log = logging.getLogger(__name__)

_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class WrittenReport:
    """What became of a run's page.

    `is_kept` tells that the stored page stays, since rows of the run's marts are gone; the counts are of
    what the run still has.
    """

    run_id: str
    as_of_date: date
    is_published: bool
    is_kept: bool
    byte_count: int
    check_count: int
    failed_check_count: int
    task_count: int
    queue_count: int
    seconds: float

    def headline(self) -> dict[str, object]:
        """Return what a reader of the task wants to know, as JSON."""
        return {"rows_out": 1, "byte_count": self.byte_count, "is_published": self.is_published}


def write_report(settings: Settings, run_id: str) -> WrittenReport:
    """Render the page of `run_id` and keep it; a page that says the same stays untouched.

    Where rows of the run's marts are gone by now, the page that was written before stays.

    Raises
    ------
    WarehouseError
        If there is no such run, or it is none of a night.
    """
    started = time.perf_counter()
    with connect(settings, Role.AUDITOR) as auditor:
        auditor.execute("set transaction isolation level repeatable read")
        facts = read_facts(settings, auditor, run_id)
        stored = _read_page(auditor, run_id) if facts.has_lost_rows else None
        page = stored or render_report(facts)
        if stored is None:
            auditor.execute(
                "insert into ops.run_reports (run_id, html) values (%s, %s) on conflict (run_id) do update"
                " set html = excluded.html, written_at = clock_timestamp()"
                " where run_reports.html <> excluded.html",
                [run_id, page],
            )
    written = WrittenReport(
        run_id=run_id,
        as_of_date=facts.run["as_of_date"],
        is_published=facts.is_published,
        is_kept=stored is not None,
        byte_count=len(page.encode()),
        check_count=len(facts.checks),
        failed_check_count=len(words.failed_checks(facts)),
        task_count=len(facts.tasks),
        queue_count=len(facts.queue),
        seconds=time.perf_counter() - started,
    )
    log.info(
        "report of run %s for %s%s: %d bytes, %d checks, %d failed, %d tasks, %d of the queue, %.2f s%s",
        run_id, written.as_of_date, "" if written.is_published else " (not published)", written.byte_count,
        written.check_count, written.failed_check_count, written.task_count, written.queue_count,
        written.seconds, "; the stored page stays" if written.is_kept else "",
    )  # fmt: skip
    return written


def read_report(settings: Settings, run_id: str) -> str:
    """Return the page that is kept of `run_id`.

    Raises
    ------
    WarehouseError
        If none is.
    """
    with connect(settings, Role.AUDITOR) as auditor:
        page = _read_page(auditor, run_id)
    if page is None:
        raise WarehouseError(
            f"Expected the report of run {run_id!r} in ops.run_reports, found none. "
            f"`churn-ml report {run_id}` writes it; `churn-ml run list` shows the runs."
        )
    return page


def published_run_of(settings: Settings, as_of_date: date | None) -> str:
    """Return the published run of `as_of_date`, or of the newest published night where it is None.

    Raises
    ------
    WarehouseError
        If there is none.
    """
    with connect(settings, Role.AUDITOR) as auditor:
        return find_published_run(auditor, as_of_date)


def render_report(facts: ReportFacts) -> str:
    """Return the page; everything but the charts is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FORMATS)
    rows = words.bridge_rows(facts)
    return environment.get_template(_TEMPLATE).render(
        facts=facts,
        standing=words.standing(facts),
        tiles=words.tiles_of(facts),
        answers=list(words.questions(facts)),
        tiers=words.tier_rows(facts),
        share_chart=words.share_chart(facts),
        bridge_rows=rows,
        bridge_chart=words.bridge_chart(facts) if rows else None,
        failed=words.failed_checks(facts),
        rooms=words.rooms_of(facts),
        bars=words.task_bars(facts.tasks),
        wall_seconds=words.wall_seconds(facts.tasks),
    )


def _read_page(auditor: Connection, run_id: str) -> str | None:
    row = auditor.execute("select html from ops.run_reports where run_id = %s", [run_id]).fetchone()
    return str(row[0]) if row else None
