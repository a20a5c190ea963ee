"""The rows a model of a dated dataset learns from: many dated observations per customer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from churn_ml.declarations import Dataset, PanelDeclaration
from churn_ml.errors import TrainingError
from churn_ml.features.stream import read_table
from churn_ml.settings import Settings
from churn_ml.training.folds import DateArray, LabelSpans
from churn_ml.training.panel import (
    LEAST_OF_EACH_OUTCOME,
    LEAST_ROWS,
    LabelledRows,
    PanelColumns,
    read_columns,
)
from churn_ml.training.panel_customers import LABELLED_POPULATION, SAMPLE_GROUPS, sample_customers
from churn_ml.training.panel_nights import PanelNight, check_nights, read_nights
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run
from churn_ml.warehouse.sql import SQL

CUSTOMER_GROUPS = 3

_OWN_TYPES = {
    "as_of_date": pa.date32(),
    "customer_id": pa.string(),
    "customer_group": pa.int16(),
    "churned": pa.bool_(),
    "monthly_value_amount": pa.float64(),
}
# Labels as the training knows them.
_OBSERVATIONS = f"""
    {LABELLED_POPULATION}
    join features.customer_labels
        on customer_labels.customer_id = customer_population.customer_id
        and customer_labels.as_of_date = customer_population.as_of_date
        and customer_labels.known_as_of = %s
        and customer_labels.label_definition = %s
        and customer_labels.churned is not null
    where label_nights.run_id = %s
        and label_nights.as_of_date = any(%s)
        and (%s or customer_labels.treatment_status is distinct from 'treated')
"""
_CUSTOMERS = f"""
    select
        ml.customer_fold(customer_population.customer_id, %s, {SAMPLE_GROUPS}) as sample_group,
        count(distinct customer_population.customer_id) as customer_count
    {_OBSERVATIONS}
    group by 1
    order by 1
"""
_QUERY = SQL(
    """
    with observations as (
        select
            customer_population.customer_id,
            customer_population.as_of_date,
            customer_population.known_as_of,
            customer_labels.churned
    """
    + _OBSERVATIONS
    + """
    )
    select
        observations.as_of_date,
        observations.customer_id,
        ml.customer_fold(observations.customer_id, %s, %s) as customer_group,
        observations.churned,
        case
            when customer_values.value_status = 'known' then customer_values.monthly_value_amount
        end as monthly_value_amount,
        {columns}
    from observations
    join features.customer_features using (customer_id, as_of_date, known_as_of)
    left join features.customer_values using (customer_id, as_of_date, known_as_of)
    left join features.customer_attributes using (customer_id, as_of_date, known_as_of)
    where ml.customer_fold(observations.customer_id, %s, %s) < %s
    order by observations.as_of_date, observations.customer_id collate "C"
    """
)


@dataclass(frozen=True)
class DatedPanel(LabelledRows):
    """Labelled observations in the order of (as_of_date, customer_id).

    `customer_groups` (0 to `CUSTOMER_GROUPS` - 1) is a seeded hash of the customer, the same on every
    date. `nights` are all that the run has labelled, those too young to be learned from included;
    `customer_count` is the number of customers before the sample.
    """

    spans: LabelSpans
    nights: Sequence[PanelNight]
    customer_count: int
    customer_groups: npt.NDArray[np.int16]
    as_of_dates: DateArray

    @cached_property
    def customer_codes(self) -> npt.NDArray[np.int64]:
        """A number per customer, the same on every date; shape (n_rows,)."""
        codes = self.customer_ids.combine_chunks().dictionary_encode().indices
        return np.asarray(codes.to_numpy(), np.int64)

    @property
    def dates(self) -> list[date]:
        """The as-of dates that have rows, oldest first."""
        days: list[date] = np.unique(self.as_of_dates).tolist()
        return days

    @property
    def known_as_of(self) -> dict[date, datetime]:
        """The cut-off of each night."""
        return {night.as_of_date: night.known_as_of for night in self.nights}


def read_dated_panel(settings: Settings, dataset: Dataset, run: Run, seed: int) -> DatedPanel:
    """Read the labelled observations of the nights that `run` has labelled (``ops.label_nights``).

    Features are those of each night's own cut-off, labels those of the run's. The rows keep the base
    rate at which they occurred. Above `most_customers` of the declaration, a seeded sample of
    customers is read with all their dates.

    Raises
    ------
    TrainingError
        If a night has no features, a label is known too early, or there is too little to learn
        from; the message holds the counts.
    """
    declared = _declaration(dataset)
    with connect(settings, Role.TRAINER) as trainer:
        columns = read_columns(trainer, dataset)
        spans = _read_spans(trainer, dataset)
        nights = read_nights(trainer, dataset, run, declared)
        check_nights(nights, run, spans)
        days = [night.as_of_date for night in nights if night.trainable_count][-declared.most_dates :]
        selection = [run.known_as_of, dataset.label_definition, run.run_id, days, declared.treated == "keep"]
        counts = trainer.execute(_CUSTOMERS, [seed, *selection]).fetchall()
        sample = sample_customers(counts, declared.most_customers)
        groups = [seed, CUSTOMER_GROUPS, seed, SAMPLE_GROUPS, sample.limit]
        query = _QUERY.format(columns=columns.select_list())
        table = read_table(trainer, query, [*selection, *groups], _OWN_TYPES | columns.types)
    panel = _panel(table, columns, spans, nights, sample.total)
    _check_enough(panel, declared, run, dataset.label_definition)
    return panel


def _panel(
    table: pa.Table,
    columns: PanelColumns,
    spans: LabelSpans,
    nights: Sequence[PanelNight],
    customer_count: int,
) -> DatedPanel:
    return DatedPanel(
        contract=columns.contract,
        customer_ids=table.column("customer_id"),
        frame=columns.contract.to_frame(table.select(columns.contract.names)),
        churned=table.column("churned").to_numpy(),
        monthly_values=table.column("monthly_value_amount").to_numpy(),
        attributes=columns.attributes(table),
        sensitive=columns.groups(table),
        spans=spans,
        nights=nights,
        customer_count=customer_count,
        customer_groups=table.column("customer_group").to_numpy(),
        as_of_dates=table.column("as_of_date").to_numpy(),
    )


def _declaration(dataset: Dataset) -> PanelDeclaration:
    if dataset.panel is None:
        raise TrainingError(
            f"Expected a dated dataset, found {dataset.dataset!r} of kind {dataset.kind!r}: it has one row "
            "per customer. Use churn_ml.training.panel.read_panel."
        )
    return dataset.panel


def _read_spans(trainer: Connection, dataset: Dataset) -> LabelSpans:
    rows = trainer.execute(
        "select gap_days, horizon_days, grace_days, late_allowance_days from features.label_definition"
        " where dataset = %s and label_definition = %s",
        [dataset.dataset, dataset.label_definition],
    ).fetchall()
    if len(rows) != 1:
        raise TrainingError(
            f"Expected one row for {dataset.label_definition!r} of {dataset.dataset!r} in "
            f"features.label_definition, found {len(rows)}. Add it to the dbt seed label_definitions and "
            "build the features."
        )
    return LabelSpans(*rows[0])


def _check_enough(panel: DatedPanel, declared: PanelDeclaration, run: Run, label_definition: str) -> None:
    churned = int(panel.churned.sum())
    stayed = panel.row_count - churned
    dates = panel.dates
    if (
        len(dates) >= declared.least_dates
        and panel.row_count >= LEAST_ROWS
        and min(churned, stayed) >= LEAST_OF_EACH_OUTCOME
    ):
        return
    raise TrainingError(
        f"Expected at least {declared.least_dates} as-of dates with known labels and {LEAST_ROWS} rows, "
        f"{LEAST_OF_EACH_OUTCOME} of them churned and {LEAST_OF_EACH_OUTCOME} stayed; found {len(dates)} "
        f"dates{f' from {dates[0]} to {dates[-1]}' if dates else ''}, {panel.row_count} rows, {churned} "
        f"churned, {stayed} stayed for {run.run_id} known as of {run.known_as_of.isoformat()} (label "
        f"{label_definition}). Land more history, or train at a later cut-off."
    )
