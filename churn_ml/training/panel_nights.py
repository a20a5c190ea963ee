"""The nights of a dated panel: who was eligible on each, with which label, and what may be learned from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from churn_ml.declarations import Dataset, PanelDeclaration
from churn_ml.errors import TrainingError
from churn_ml.training.folds import LabelSpans
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.runs import Run

_COUNTS = """
    select
        label_nights.as_of_date,
        label_nights.known_as_of,
        case
            when customer_population.customer_id is null then null
            else coalesce(customer_labels.label_status, 'no_label')
        end as label_status,
        coalesce(customer_labels.treatment_status, 'none') as treatment_status,
        customer_labels.churned is not null as is_labelled,
        count(customer_population.customer_id) as customer_count,
        count(customer_features.customer_id) as feature_count
    from ops.label_nights
    left join features.customer_population
        on customer_population.as_of_date = label_nights.as_of_date
        and customer_population.known_as_of = label_nights.known_as_of
        and customer_population.is_eligible
    left join features.customer_features
        on customer_features.customer_id = customer_population.customer_id
        and customer_features.as_of_date = customer_population.as_of_date
        and customer_features.known_as_of = customer_population.known_as_of
    left join features.customer_labels
        on customer_labels.customer_id = customer_population.customer_id
        and customer_labels.as_of_date = customer_population.as_of_date
        and customer_labels.known_as_of = %s
        and customer_labels.label_definition = %s
    where label_nights.run_id = %s
    group by 1, 2, 3, 4, 5
    order by 1, 3, 4, 5
"""


@dataclass(frozen=True)
class PanelNight:
    """One as-of date of a panel: its cut-off and how many eligible customers had which label."""

    as_of_date: date
    known_as_of: datetime
    label_statuses: dict[str, int]
    treated_count: int
    held_out_count: int
    trainable_count: int
    customer_count: int
    feature_count: int

    def describe(self) -> dict[str, Any]:
        """Return what the metrics of a model tell about the date, before any sampling."""
        return {
            "as_of_date": self.as_of_date.isoformat(),
            "known_as_of": self.known_as_of.isoformat(),
            "eligible_count": self.customer_count,
            "label_statuses": self.label_statuses,
            "treated_count": self.treated_count,
            "held_out_count": self.held_out_count,
        }


def read_nights(
    trainer: Connection, dataset: Dataset, run: Run, declared: PanelDeclaration
) -> list[PanelNight]:
    """Return the nights that `run` has labelled (``ops.label_nights``), oldest first."""
    rows = trainer.execute(_COUNTS, [run.known_as_of, dataset.label_definition, run.run_id]).fetchall()
    days = sorted({row[0] for row in rows})
    return [_night([row for row in rows if row[0] == day], declared) for day in days]


def _night(rows: Sequence[tuple[Any, ...]], declared: PanelDeclaration) -> PanelNight:
    statuses: Counter[str] = Counter()
    treatments: Counter[str] = Counter()
    trainable = 0
    for _, _, label_status, treatment_status, is_labelled, customer_count, _ in rows:
        if customer_count:
            statuses[label_status] += customer_count
        if is_labelled:
            treatments[treatment_status] += customer_count
            if declared.treated == "keep" or treatment_status != "treated":
                trainable += customer_count
    return PanelNight(
        as_of_date=rows[0][0],
        known_as_of=rows[0][1],
        label_statuses=dict(statuses),
        treated_count=treatments["treated"],
        held_out_count=treatments["held_out"],
        trainable_count=trainable,
        customer_count=sum(row[5] for row in rows),
        feature_count=sum(row[6] for row in rows),
    )


def check_nights(nights: Sequence[PanelNight], run: Run, spans: LabelSpans) -> None:
    """Refuse nights without a feature row per customer, and labels known before their window closed.

    Raises
    ------
    TrainingError
        The message holds the dates and counts.
    """
    lacking = [
        night for night in nights if night.feature_count != night.customer_count or not night.customer_count
    ]
    if lacking or not nights:
        found = "; ".join(
            f"{night.as_of_date} known as of {night.known_as_of.isoformat()}: {night.customer_count} "
            f"eligible, {night.feature_count} with features"
            for night in lacking
        )
        raise TrainingError(
            "Expected one feature row per eligible customer of every night in ops.label_nights, found "
            f"{found or 'no night'} for {run.run_id}. Build the panel "
            "(churn_ml.services.panels.build_panel) and train again."
        )
    early = [night.as_of_date for night in nights
             if night.trainable_count and spans.known_on(night.as_of_date) > run.as_of_date]  # fmt: skip
    if early:
        raise TrainingError(
            f"Expected labels known by {run.as_of_date} only, found some of {', '.join(map(str, early))}, "
            f"whose windows close {spans.closing_days} days later and wait {spans.late_allowance_days} days "
            "for late data: leaving would be known before staying is. Mend features.customer_labels."
        )
