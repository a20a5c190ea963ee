"""What a run's report says, read as the auditor: rows of that run and of the night it was built on.

Nothing is read that a later publication could change, so a page can be written again at any time.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString

from churn_ml.errors import WarehouseError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.runs import read_run

Row = dict[str, Any]

QUEUE_LENGTH = 20
_KINDS = ("night", "reproduce", "restate")

# Columns that came with a later version are missing until the next night builds the mart.
_KPIS: LiteralString = "select * from marts.churn_kpis_daily where scoring_run_key = %s"
_NIGHT: LiteralString = (
    "select customer_count, active_count, scored_count, tier_medium_from, tier_high_from, value_definition,"
    " value_horizon_months from marts.dim_scoring_run where scoring_run_key = %s"
)
_TIERS: LiteralString = (
    "select tiers.risk_tier, tiers.risk_tier_label, coalesce(sum(daily.customer_count), 0)::integer"
    "  as customer_count, coalesce(sum(daily.valued_customer_count), 0)::integer as valued_customer_count,"
    " sum(daily.revenue_at_risk_amount) as revenue_at_risk_amount,"
    " sum(daily.expected_revenue_loss_amount) as expected_revenue_loss_amount,"
    " coalesce(sum(daily.mean_churn_probability * daily.customer_count), 0) as expected_churned_count"
    " from marts.dim_risk_tier as tiers left join marts.revenue_at_risk_daily as daily"
    "  on tiers.risk_tier_key = daily.risk_tier_key and daily.scoring_run_key = %s"
    " where tiers.risk_tier_key > 0"
    " group by tiers.risk_tier, tiers.risk_tier_label, tiers.risk_tier_sort"
    " order by tiers.risk_tier_sort desc"
)
_QUEUE: LiteralString = (
    "select queue_position, customer_id, queue_status, treatment, churn_probability, risk_tier,"
    " risk_change_pts, value_at_risk_amount, expected_revenue_loss_amount, expected_profit_amount,"
    " reason_1_sentence, reason_2_sentence, reason_3_sentence, recommended_action"
    " from marts.retention_queue where scoring_run_key = %s order by queue_position limit %s"
)
_QUEUE_TOTALS: LiteralString = (
    "select count(*) as queued_count, count(*) filter (where is_within_budget) as treated_count,"
    " sum(expected_profit_amount) filter (where is_within_budget) as expected_profit_amount,"
    " exists (select from marts.customer_churn_current where scoring_run_key = %s) as is_kept"
    " from marts.retention_queue where scoring_run_key = %s"
)
_PREVIOUS: LiteralString = (
    "select runs.run_id, runs.run_number, runs.as_of_date, runs.model_version from ops.run_bases as bases"
    " inner join ops.pipeline_runs as runs on bases.base_run_id = runs.run_id"
    " where bases.run_id = %s and bases.base_role = 'previous'"
)
# Values found in raw and keys of customers stay out, as in what BI is told of checks.
_CHECKS: LiteralString = (
    "select distinct on (gate, suite, check_name, table_name, column_name)"
    " coalesce('gate ' || gate, 'dbt tests of ' || suite) as room, suite, check_name, table_name,"
    " column_name, severity, verdict, case when gate is distinct from 'raw' then observed end as observed,"
    " expected, failing_count, owner, reason"
    " from ops.validation_results where run_id = %s"
    " order by gate, suite, check_name, table_name, column_name, recorded_at desc"
)
_TASKS: LiteralString = (
    "select task_id, map_index, try_number, verdict, started_at, finished_at, seconds, cpu_seconds,"
    " peak_memory_mb, rows_in, rows_out from ops.task_costs where run_id = %s and task_id <> 'report'"
    " order by started_at, task_id, map_index, try_number"
)
_MODEL: LiteralString = (
    "select models.model_version, models.family, models.validation, models.calibration,"
    " models.label_definition, models.trained_as_of_date, models.trained_known_as_of,"
    " models.training_row_count, models.training_churned_count from marts.dim_model as models"
    " where models.model_version = %s"
)
_DEPLOYMENT: LiteralString = (
    "select alias, valid_from, recorded_by, reason, override_reason from ml.model_deployments"
    " where alias = 'champion' and model_version = %(model_version)s and valid_from <= %(cut_off)s"
    " and %(cut_off)s < valid_to order by valid_from desc limit 1"
)
_PUBLICATION: LiteralString = (
    "select action, reason, recorded_by, recorded_at from ops.publications"
    " where run_id = %s and action in ('publish', 'unpublish') order by publication_id desc limit 1"
)
_WINDOW: LiteralString = (
    "select gap_days, horizon_days, description from staging.label_definitions"
    " where dataset = %s and label_definition = %s"
)


@dataclass(frozen=True)
class ReportFacts:
    """One run as plain rows; what it never had is None or empty.

    Attributes
    ----------
    run
        Its row of ``ops.pipeline_runs``, with `has_marts` and `champion_cut_off`.
    publication
        The last time that it was published or un-published.
    previous
        The run it was built on, with `kpis` and `tiers` of then where its marts are still there; None on
        a first night.
    queue_totals
        Of the whole queue; `is_kept` is false once newer runs took its rows' place.
    """

    run: Row
    publication: Row | None
    night: Row | None
    kpis: Row | None
    previous: Row | None
    tiers: list[Row]
    queue: list[Row]
    queue_totals: Row | None
    checks: list[Row]
    tasks: list[Row]
    model: Row | None
    deployment: Row | None
    window: Row | None
    metrics: dict[str, Row]

    @property
    def is_published(self) -> bool:
        """Whether BI was shown the run, and it was not taken back."""
        return self.publication is not None and self.publication["action"] == "publish"

    @property
    def has_lost_rows(self) -> bool:
        """Whether rows of its marts are gone, so that a page written earlier says more."""
        if self.run["marts_pruned_at"] is not None:
            return True
        return self.queue_totals is not None and bool(
            self.night and self.night["customer_count"] and not self.queue_totals["is_kept"]
        )


def read_facts(settings: Settings, auditor: Connection, run_id: str) -> ReportFacts:
    """Read the run `run_id` within the transaction of `auditor`.

    Raises
    ------
    WarehouseError
        If there is no such run, or it is none of a night.
    """
    run = _read_run(settings, auditor, run_id)
    key, has_marts = run["run_number"], run["has_marts"]

    def of_run(statement: LiteralString, *parameters: object) -> list[Row]:
        return _rows(auditor, statement, *parameters) if has_marts else []

    deployed = {"model_version": run["model_version"], "cut_off": run["champion_cut_off"]}
    return ReportFacts(
        run=run,
        publication=_first(_rows(auditor, _PUBLICATION, run_id)),
        night=_first(of_run(_NIGHT, key)),
        kpis=_first(of_run(_KPIS, key)),
        previous=_previous(auditor, run_id) if has_marts else None,
        tiers=of_run(_TIERS, key),
        queue=of_run(_QUEUE, key, QUEUE_LENGTH),
        queue_totals=_first(of_run(_QUEUE_TOTALS, key, key)),
        checks=_rows(auditor, _CHECKS, run_id),
        tasks=_rows(auditor, _TASKS, run_id),
        model=_first(of_run(_MODEL, run["model_version"])),
        deployment=_first(_rows(auditor, _DEPLOYMENT, deployed)),
        window=_first(of_run(_WINDOW, run["dataset"], run["label_definition"])),
        metrics={row["metric"]: row for row in of_run("select * from marts.metric_definitions")},
    )


def _read_run(settings: Settings, auditor: Connection, run_id: str) -> Row:
    run = _first(
        _rows(
            auditor,
            "select run_id, run_number, run_kind, dataset, as_of_date, known_as_of, status, failure,"
            " model_version, label_definition, dag_id, dag_run_id, repeats_run_id, code_version,"
            " configuration_sha256, library_versions, started_at, finished_at, marts_pruned_at,"
            " to_regclass('marts.dim_scoring_run') is not null as is_built"
            " from ops.pipeline_runs where run_id = %s",
            run_id,
        )
    )
    if run is None:
        raise WarehouseError(
            f"Expected run {run_id!r} in ops.pipeline_runs, found no such row. `churn-ml run list` shows "
            "the runs; `churn-ml report --as-of DATE` reports the published night of a date."
        )
    if run["run_kind"] not in _KINDS:
        raise WarehouseError(
            f"Expected a run of a night ({', '.join(_KINDS)}), found {run_id} of kind {run['run_kind']}. "
            "`churn-ml model card` writes what a training came to, `churn-ml run show` any run."
        )
    run["has_marts"] = run.pop("is_built") and bool(
        _rows(auditor, "select from marts.dim_scoring_run where scoring_run_key = %s", run["run_number"])
    )
    run["champion_cut_off"] = read_run(settings, run_id).champion_cut_off
    return run


def _previous(auditor: Connection, run_id: str) -> Row | None:
    previous = _first(_rows(auditor, _PREVIOUS, run_id))
    if previous is None:
        return None
    key = previous["run_number"]
    kpis = _first(_rows(auditor, _KPIS, key))
    tiers = _rows(auditor, _TIERS, key) if kpis else []  # of a run whose marts are gone, each would be 0
    return previous | {"kpis": kpis, "tiers": {row["risk_tier"]: row for row in tiers}}


def find_published_run(auditor: Connection, as_of_date: date | None) -> str:
    """Return the published run of `as_of_date`, or of the newest published night.

    Raises
    ------
    WarehouseError
        If no night of that date is published, or none at all.
    """
    found = _first(
        _rows(
            auditor,
            "select run_id from ops.published_runs where as_of_date = %s or %s::date is null"
            " order by as_of_date desc limit 1",
            as_of_date,
            as_of_date,
        )
    )
    if found is None:
        raise WarehouseError(
            f"Expected a published night{f' of {as_of_date}' if as_of_date else ''}, found none. "
            "`churn-ml run list` shows the runs; name one to report a night that is not published, or run "
            "`churn-ml night`."
        )
    return str(found["run_id"])


def _rows(auditor: Connection, statement: LiteralString, *parameters: Any) -> list[Row]:
    named = parameters[0] if len(parameters) == 1 and isinstance(parameters[0], dict) else parameters
    cursor = auditor.execute(statement, named)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None


def comparable_kpis(kpis: Row, before: Row) -> Row:
    """Leave out what does not compare: amounts in another currency, and retention over other days."""
    dropped: tuple[str, ...] = ()
    if before.get("currency") != kpis.get("currency"):
        dropped += ("_amount",)
    if _retention_days(before) != _retention_days(kpis):
        dropped += ("_revenue_retention_28d_share",)
    return {name: value for name, value in before.items() if not name.endswith(dropped)}


def _retention_days(kpis: Row) -> int | None:
    since = kpis.get("retention_28d_from_date")
    return (kpis["as_of_date"] - since).days if since else None
