"""The first page of Data Docs: the newest runs with the verdict of each suite.

It is written from ``ops.validation_results``, so that it also lists what has no page: a gate
whose query failed.
"""

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

_NEWEST_RUNS = 200

_RESULTS = """
with newest as (
    select run_id, max(recorded_at) as last_recorded_at
    from ops.validation_results
    where tool = 'great_expectations'
    group by run_id
    order by last_recorded_at desc, run_id
    limit %s
)

select
    runs.run_id, runs.run_kind, runs.dataset, runs.as_of_date, runs.known_as_of,
    results.gate, results.suite, results.recorded_at,
    count(*) filter (where results.verdict = 'pass'),
    count(*) filter (where results.verdict <> 'pass' and results.severity = 'block'),
    count(*) filter (where results.verdict <> 'pass' and results.severity = 'warn'),
    coalesce(
        array_agg(results.check_name order by results.validation_result_id)
        filter (where results.verdict = 'fail'),
        '{}'
    ),
    count(*) filter (where results.verdict = 'error')
from newest
inner join ops.pipeline_runs as runs using (run_id)
inner join ops.validation_results as results using (run_id)
where results.tool = 'great_expectations'
group by newest.last_recorded_at, runs.run_id, results.gate, results.suite, results.recorded_at
order by
    newest.last_recorded_at desc, runs.run_id, results.recorded_at desc,
    min(results.validation_result_id)
"""


@dataclass(frozen=True)
class SuiteResult:
    """One suite at one attempt of a gate; `page` is relative to the site, None if there is none."""

    gate: str
    suite: str
    checked_at: datetime
    passed: int
    failed_blocking: int
    failed_warning: int
    failed_checks: tuple[str, ...]
    not_evaluated: int
    page: str | None

    @property
    def verdict(self) -> str:
        """``passed``, ``warned``, or ``blocked`` if a blocking check did not pass."""
        if self.failed_blocking:
            return "blocked"
        return "warned" if self.failed_warning else "passed"


@dataclass(frozen=True)
class AuditedRun:
    """A run and its results, the newest attempt first."""

    run_id: str
    kind: str
    dataset: str
    as_of_date: date
    known_as_of: datetime
    results: tuple[SuiteResult, ...]

    @property
    def verdict(self) -> str:
        """The worst verdict among the newest attempt of each gate."""
        newest: dict[str, datetime] = {}
        for result in self.results:
            newest.setdefault(result.gate, result.checked_at)
        verdicts = {result.verdict for result in self.results if result.checked_at == newest[result.gate]}
        return next(verdict for verdict in ("blocked", "warned", "passed") if verdict in verdicts)


def page_of(run_id: str, suite: str, checked_at: datetime) -> str:
    """Return where Great Expectations puts the page of a suite, relative to the site."""
    return f"validations/{suite}/{run_id}/{checked_at:%Y%m%dT%H%M%S.%fZ}/warehouse-{suite}.html"


def write_index(settings: Settings, templates: Path) -> Path:
    """Write the first page from the recorded results and return its path.

    Parameters
    ----------
    settings
        The deployment; the page goes to ``<home>/data_docs``.
    templates
        The folder ``custom_data_docs`` that holds ``views`` and ``styles``.
    """
    site = settings.home / "data_docs"
    environment = Environment(
        loader=FileSystemLoader([templates / "views", templates / "styles"]),
        autoescape=True,
        undefined=StrictUndefined,
    )
    template = environment.get_template("index.html.j2")
    text = template.render(runs=_read_runs(settings, site), limit=_NEWEST_RUNS)
    return _replace(site / "index.html", text)


def _read_runs(settings: Settings, site: Path) -> list[AuditedRun]:
    with connect(settings, Role.AUDITOR) as auditor:
        rows = auditor.execute(_RESULTS, [_NEWEST_RUNS]).fetchall()
    return [
        AuditedRun(run_id, kind, dataset, as_of_date, known_as_of.astimezone(UTC),
                   tuple(_read_result(site, run_id, *row[5:]) for row in group))
        for (run_id, kind, dataset, as_of_date, known_as_of), group in groupby(rows, key=lambda row: row[:5])
    ]  # fmt: skip


def _read_result(
    site: Path,
    run_id: str,
    gate: str,
    suite: str,
    recorded_at: datetime,
    passed: int,
    failed_blocking: int,
    failed_warning: int,
    failed_checks: list[str],
    not_evaluated: int,
) -> SuiteResult:
    checked_at = recorded_at.astimezone(UTC)
    page = page_of(run_id, suite, checked_at)
    return SuiteResult(
        gate=gate,
        suite=suite,
        checked_at=checked_at,
        passed=passed,
        failed_blocking=failed_blocking,
        failed_warning=failed_warning,
        failed_checks=tuple(failed_checks),
        not_evaluated=not_evaluated,
        page=page if (site / page).is_file() else None,
    )


def _replace(path: Path, text: str) -> Path:
    """Write `path` in one step: a reader, or a gate beside this one, sees a whole page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    return fresh.replace(path)
