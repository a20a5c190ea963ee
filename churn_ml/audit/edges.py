"""Calendar edges: nights of awkward days, built from rows at their very boundary instants."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from churn_ml.audit.comparison import LISTED, Difference, Side, as_text, feature_rows
from churn_ml.audit.databases import ThrowAway
from churn_ml.audit.deliveries import land_rows
from churn_ml.audit.edge_rows import (
    INSTANT,
    Known,
    LabelProbe,
    LabelSpan,
    Probe,
    Row,
    WindowProbes,
    control_of,
    customer_of,
    end_probes,
    label_probes,
    plan_row,
    rows_of,
    window_probes,
)
from churn_ml.audit.nights import build_labels, build_nights
from churn_ml.audit.sample import end_of, night_of
from churn_ml.declarations import Dataset
from churn_ml.services.dated_nights import Night
from churn_ml.warehouse.connection import Connection, Role

EDGE_DAYS = (date(2024, 2, 29), date(2026, 3, 29), date(2026, 10, 25), date(2026, 10, 31))
"""A leap day that ends its month, both changes of the clock in Europe, and the eve of the American one."""

_PLAN_SINCE = datetime(2020, 1, 1, tzinfo=UTC)

Cells = dict[tuple[str, str], object]


@dataclass(frozen=True)
class Edges:
    """How many rows stood on a boundary, and those that landed on the wrong side."""

    count: int
    days: tuple[date, ...]
    differences: list[Difference]

    @property
    def checked(self) -> str:
        """What was done, in words."""
        days = ", ".join(map(str, self.days))
        return (
            f"{self.count} customers with an event at a boundary of {days}: the end of the day, the cut-off, "
            "lookbacks of 7, 28 and 90 days, and both ends of the label window and the grace"
        )


def find_misplaced_edges(
    target: ThrowAway, dataset: Dataset, span: LabelSpan, days: tuple[date, ...] = EDGE_DAYS
) -> Edges:
    """Land the made-up customers in the warehouse at work, build each night, and look."""
    land_rows(target, dataset, "plans", [plan_row(_PLAN_SINCE)], days[0], _PLAN_SINCE)
    nights = [night_of(day) for day in days]
    labels = label_probes(nights[0], span)
    for night in nights:
        probes = [*end_probes(night), *_both(window_probes(night))]
        _land(target, dataset, night, rows_of(night, probes, labels if night is nights[0] else []), span)
    build_nights(target, nights)
    count, differences = len(labels), _mislabelled(target, dataset, nights[0], labels, span)
    for night in nights:
        ends, windows, cells = end_probes(night), window_probes(night), _read_cells(target, night)
        differences += [*_misplaced(night, ends, cells), *_misplaced_windows(night, windows, cells)]
        count += len(ends) + 2 * len(windows)
    return Edges(count, days, differences[:LISTED])


def read_span(connection: Connection, dataset: Dataset) -> LabelSpan:
    """Return the days of the dataset's label definition."""
    [days] = connection.execute(
        "select gap_days, horizon_days, grace_days, late_allowance_days"
        " from staging.label_definitions where label_definition = %s",
        [dataset.label_definition],
    ).fetchall()
    return LabelSpan(*(timedelta(days=value) for value in days))


def _both(windows: Iterable[WindowProbes]) -> Iterator[Probe]:
    for window in windows:
        yield window.inside
        yield window.outside


def _land(
    target: ThrowAway,
    dataset: Dataset,
    night: Night,
    rows: Iterable[tuple[Known, str, Row]],
    span: LabelSpan,
) -> None:
    """Land the rows of a night in one delivery per known time and entity."""
    known_at = {
        "before": night.known_as_of - timedelta(hours=1),
        "at": night.known_as_of,
        "after": night.known_as_of + INSTANT,
        "later": end_of(night) + span.closes_after,
    }
    deliveries: dict[tuple[Known, str], list[Row]] = defaultdict(list)
    for known, entity, row in rows:
        deliveries[known, entity].append(row)
    for (known, entity), given in deliveries.items():
        land_rows(target, dataset, entity, given, night.as_of_date, known_at[known])


def _read_cells(target: ThrowAway, night: Night) -> dict[str, Cells]:
    """Return what the night says of each customer, by relation and column."""
    cells: dict[str, Cells] = defaultdict(dict)
    with target.connect(Role.AUDITOR) as connection:
        for rows in feature_rows(night):
            for customer_id, found in Side(connection, rows).read_all().items():
                for name, value in found[0].items():
                    if name != "customer_id":
                        cells[customer_id][rows.relation, name] = value
    return cells


def _differing(cells: dict[str, Cells], customer_id: str, control: str) -> set[tuple[str, str]]:
    own, other = cells.get(customer_id, {}), cells.get(control, {})
    return {cell for cell in own.keys() | other.keys() if own.get(cell) != other.get(cell)}


def _misplaced(night: Night, probes: list[Probe], cells: dict[str, Cells]) -> Iterator[Difference]:
    """Find events that count and should not, or the other way round."""
    for probe in probes:
        customer_id = customer_of(night, probe.name)
        control = control_of(night, is_member=probe.is_member)
        differing = _differing(cells, customer_id, control)
        if probe.counts and not differing:
            yield Difference("features", customer_id, "(any)", "counts", "does not count")
        if not probe.counts:
            for relation, column in sorted(differing):
                then = as_text(cells.get(control, {}).get((relation, column)))
                now = as_text(cells.get(customer_id, {}).get((relation, column)))
                yield Difference(relation, customer_id, column, then, now)


def _misplaced_windows(
    night: Night, windows: list[WindowProbes], cells: dict[str, Cells]
) -> Iterator[Difference]:
    """Find lookbacks of which no column counts the first instant and leaves out the one before."""
    control = control_of(night, is_member=True)
    for window in windows:
        inside, outside = (
            {cell for cell in _differing(cells, customer_of(night, probe.name), control)
             if cell[1].endswith(f"_{window.days}d")}
            for probe in (window.inside, window.outside)
        )  # fmt: skip
        if not inside - outside:
            customer_id = customer_of(night, (window.outside if inside else window.inside).name)
            said = ("does not count", "counts") if inside else ("counts", "does not count")
            yield Difference("features", customer_id, f"*_{window.days}d", *said)


def _mislabelled(
    target: ThrowAway, dataset: Dataset, night: Night, labels: list[LabelProbe], span: LabelSpan
) -> list[Difference]:
    """Label the night with the knowledge of the first night at which its window has closed."""
    knowing = night_of(night.as_of_date + span.closes_after)
    build_labels(target, night, knowing)
    with target.connect(Role.AUDITOR) as connection:
        rows = connection.execute(
            "select customer_id, label_status from features.customer_labels"
            " where as_of_date = %s and known_as_of = %s and label_definition = %s",
            [night.as_of_date, knowing.known_as_of, dataset.label_definition],
        ).fetchall()
    found = {str(customer_id): str(status) for customer_id, status in rows}
    return [
        Difference("features.customer_labels", customer_id, "label_status", label.label_status, status)
        for label in labels
        for customer_id in [customer_of(night, label.name)]
        for status in [found.get(customer_id)]
        if status != label.label_status
    ]
