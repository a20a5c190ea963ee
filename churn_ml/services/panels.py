"""A training's panel: the features of many past nights, each as that night knew it, and their labels.

Nights that stand already are not built again, so that a training costs what has changed, and a
retry goes on with the nights that are missing.
"""

import logging
import time
from dataclasses import dataclass
from datetime import date, timedelta

from churn_ml.declarations import PanelDeclaration, load_dataset
from churn_ml.errors import TransformationError
from churn_ml.services.dated_nights import (
    Night,
    is_built,
    last_closed_date,
    record_built_night,
    write_label_nights,
)
from churn_ml.services.dbt import build_labels, build_night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run, night_cut_off, read_run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PanelSummary:
    """What a panel holds: its dates, those whose features were missing, rows of labels, seconds."""

    dates: tuple[date, ...]
    dates_built: tuple[date, ...]
    label_rows: int
    seconds: float


def build_panel(settings: Settings, run_id: str, try_number: int = 1) -> PanelSummary:
    """Build what is missing of the panel of a training run, and all its labels.

    Staging and the run's own features must have been built. A snapshot dataset has no panel: the
    summary is empty then.

    Raises
    ------
    TransformationError
        If a night or the labels cannot be built; the message names the night.
    """
    started = time.monotonic()
    if load_dataset(settings).panel is None:
        log.info("a snapshot dataset has no panel: nothing to build")
        return PanelSummary((), (), 0, time.monotonic() - started)
    run = read_run(settings, run_id)
    nights = plan_nights(settings, run)
    missing = _missing_nights(settings, nights)
    for number, night in enumerate(missing, start=1):
        _build_night(settings, run, night, f"{number} of {len(missing)}", try_number)
    label_rows = _build_labels(settings, run, nights, try_number)
    seconds = time.monotonic() - started
    log.info(
        "panel: %d nights, %d built, %d labels in %.1f s", len(nights), len(missing), label_rows, seconds
    )
    return PanelSummary(_dates(nights), _dates(missing), label_rows, seconds)


def plan_nights(settings: Settings, run: Run) -> list[Night]:
    """Return the nights that a training run learns from, oldest first.

    They are the newest month ends whose label windows have closed at the end of the run's day, up
    to the declared number, and none whose longest feature window would begin before the first
    delivery. Each has its own cut-off: that of its published run, else 02:00 UTC of the next day.
    A night published as restated keeps that of the night it repeats: what became known later tells of
    outcomes.
    """
    dataset = load_dataset(settings)
    if dataset.panel is None:
        return []
    with connect(settings, Role.TRANSFORMER) as warehouse:
        last = last_closed_date(warehouse, run, dataset.label_definition)
        dates = _month_ends(dataset.panel, _first_date(warehouse, run), last)
        rows = warehouse.execute(
            "select as_of_date, run_id from ops.published_runs where as_of_date = any(%s)", [dates]
        ).fetchall()
    published = {day: read_run(settings, run_id).champion_cut_off for day, run_id in rows}
    return [Night(day, published.get(day, night_cut_off(day))) for day in dates]


def _month_ends(panel: PanelDeclaration, first: date, last: date) -> list[date]:
    """Return up to `panel.most_dates` newest month ends from `first` to `last`, oldest first."""
    dates: list[date] = []
    day = (last + timedelta(days=1)).replace(day=1) - timedelta(days=1)
    while day >= first and len(dates) < panel.most_dates:
        dates.append(day)
        day = day.replace(day=1) - timedelta(days=1)
    return dates[::-1]


def _first_date(warehouse: Connection, run: Run) -> date:
    """Return the first day whose longest feature window lies within what was delivered."""
    row = warehouse.execute(
        "select min(coalesce(as_of_date, (known_at - interval '1 day')::date)) from ops.landing_batches"
        " where row_count_landed > 0 and known_at <= %s",
        [run.known_as_of],
    ).fetchone()
    if row is None or row[0] is None:
        raise TransformationError(
            f"Expected a delivery known by {run.known_as_of.isoformat()}, found none in "
            "ops.landing_batches. Land the history first: `churn-ml land`."
        )
    first: date = row[0]
    return first + timedelta(days=_longest_window(warehouse) - 1)


def _longest_window(warehouse: Connection) -> int:
    """Return the days of the longest window that the feature contract names."""
    row = warehouse.execute(
        "select max((regexp_match(feature_window, '([0-9]+) ?d'))[1]::integer) from features.feature_contract"
    ).fetchone()
    if row is None or row[0] is None:
        raise TransformationError(
            "Expected a feature_window in days in features.feature_contract, found none. State it in the "
            "YAML beside customer_features and build the run's layer features before its panel."
        )
    return int(row[0])


def _missing_nights(settings: Settings, nights: list[Night]) -> list[Night]:
    with connect(settings, Role.TRANSFORMER) as warehouse:
        return [night for night in nights if not is_built(settings, warehouse, night)]


def _build_night(settings: Settings, run: Run, night: Night, number: str, try_number: int) -> None:
    summary = build_night(settings, run, night, try_number)
    with connect(settings, Role.TRANSFORMER) as warehouse:
        customers, features = _check_keys(warehouse, night)
        record_built_night(settings, warehouse, run, night)
    log.info(
        "panel night %s (%s): %d customers, %d with features in %.1f s",
        night.as_of_date,
        number,
        customers,
        features,
        summary.seconds,
    )


def _check_keys(warehouse: Connection, night: Night) -> tuple[int, int]:
    """Return the customers of a night and those with features, once each; the tests ran elsewhere."""
    counts = warehouse.execute(
        "select count(*), count(distinct customers.customer_id), count(features.customer_id),"
        " (select count(*) from features.customer_features"
        "  where as_of_date = %(as_of_date)s and known_as_of = %(known_as_of)s)"
        " from features.customer_population as customers"
        " left join features.customer_features as features using (customer_id, as_of_date, known_as_of)"
        " where as_of_date = %(as_of_date)s and known_as_of = %(known_as_of)s",
        {"as_of_date": night.as_of_date, "known_as_of": night.known_as_of},
    ).fetchone()
    rows, customers, joined, features = counts or (0, 0, 0, 0)
    if not 0 < rows == customers or joined != features:
        raise TransformationError(
            f"Expected each customer of the night {night.as_of_date} once, and features of none but them; "
            f"found {rows} rows of {customers} customers, and features in {features} rows of which {joined} "
            "belong to one of them. Check the models of the features layer, then retry."
        )
    return rows, features


def _build_labels(settings: Settings, run: Run, nights: list[Night], try_number: int) -> int:
    """Label the panel's nights, and the run's own, with what the run knows."""
    with connect(settings, Role.TRANSFORMER) as warehouse:
        write_label_nights(warehouse, run, [*nights, Night(run.as_of_date, run.known_as_of)])
    build_labels(settings, run, try_number)
    with connect(settings, Role.TRANSFORMER) as warehouse:
        row = warehouse.execute(
            "select count(*) from features.customer_labels where known_as_of = %s and as_of_date = any(%s)",
            [run.known_as_of, list(_dates(nights))],
        ).fetchone()
    return int(row[0]) if row else 0


def _dates(nights: list[Night]) -> tuple[date, ...]:
    return tuple(night.as_of_date for night in nights)
