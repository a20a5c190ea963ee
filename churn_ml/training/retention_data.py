"""The rows a value model learns from: how long customers who did not leave at once went on to stay."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from churn_ml.declarations import Dataset
from churn_ml.errors import TrainingError
from churn_ml.features.contract import FeatureContract, read_contract
from churn_ml.features.stream import read_table
from churn_ml.settings import Settings
from churn_ml.training.folds import DateArray
from churn_ml.training.panel_customers import LABELLED_POPULATION, SAMPLE_GROUPS, sample_customers
from churn_ml.training.survival import BoolArray, FloatArray
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.runs import Run
from churn_ml.warehouse.sql import SQL

CUSTOMER_GROUPS = 5
MOST_ROWS = 100_000
DAYS_PER_MONTH = 365.25 / 12

_OWN_TYPES = {
    "as_of_date": pa.date32(),
    "customer_id": pa.string(),
    "customer_group": pa.int16(),
    "retained_days": pa.float64(),
    "is_censored": pa.bool_(),
}
# What became of the customers as the training knows it.
_OBSERVATIONS = f"""
    {LABELLED_POPULATION}
    join features.customer_retention
        on customer_retention.customer_id = customer_population.customer_id
        and customer_retention.as_of_date = customer_population.as_of_date
        and customer_retention.known_as_of = %s
        and customer_retention.label_definition = %s
    join features.customer_labels
        on customer_labels.customer_id = customer_retention.customer_id
        and customer_labels.as_of_date = customer_retention.as_of_date
        and customer_labels.known_as_of = customer_retention.known_as_of
        and customer_labels.label_definition = customer_retention.label_definition
    where label_nights.run_id = %s
        and (%s or customer_labels.treatment_status is distinct from 'treated')
"""
_COUNTS = f"""
    select
        ml.customer_fold(customer_population.customer_id, %s, {SAMPLE_GROUPS}) as sample_group,
        count(*) as row_count
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
            customer_retention.retained_days,
            customer_retention.is_censored
    """
    + _OBSERVATIONS
    + """
    )
    select
        observations.as_of_date,
        observations.customer_id,
        ml.customer_fold(observations.customer_id, %s, %s) as customer_group,
        observations.retained_days,
        observations.is_censored,
        {columns}
    from observations
    join features.customer_features using (customer_id, as_of_date, known_as_of)
    where ml.customer_fold(observations.customer_id, %s, %s) < %s
    order by observations.as_of_date, observations.customer_id collate "C"
    """
)


@dataclass(frozen=True)
class RetentionPanel:
    """Retained observations in the order of (as_of_date, customer_id); one entry per row in each array.

    `retained_months` counts from the opening of the label window (as-of date and gap) to the end, or
    where `is_censored` to the last moment that is known; a month is 365.25 / 12 days. `customers`
    numbers the customers, `customer_groups` (0 to `CUSTOMER_GROUPS` - 1) is a seeded hash of the
    customer. `total_row_count` is the number of rows before the sample.
    """

    contract: FeatureContract
    horizon_months: int
    frame: pd.DataFrame
    customers: npt.NDArray[np.int64]
    customer_groups: npt.NDArray[np.int16]
    as_of_dates: DateArray
    retained_months: FloatArray
    is_censored: BoolArray
    total_row_count: int

    @property
    def row_count(self) -> int:
        """Number of observations."""
        return len(self.frame)

    @property
    def has_ended(self) -> BoolArray:
        """Whether each row is known to have left within the horizon."""
        return ~self.is_censored & (self.retained_months < self.horizon_months)

    @property
    def dates(self) -> list[date]:
        """The as-of dates that have rows, oldest first."""
        days: list[date] = np.unique(self.as_of_dates).tolist()
        return days

    def count_customers(self, rows: BoolArray) -> int:
        """Return how many customers have one of the rows."""
        return len(np.unique(self.customers[rows]))


def read_retention_panel(settings: Settings, dataset: Dataset, run: Run, seed: int) -> RetentionPanel:
    """Read how long the retained customers of the nights that `run` has labelled are known to have stayed.

    Above `MOST_ROWS` rows, a seeded sample of customers is read with all their dates. Customers
    treated within the label window count as the panel's declaration says.

    Raises
    ------
    TrainingError
        If the horizon is not declared, or a night's features are missing.
    """
    is_treated_kept = dataset.panel is not None and dataset.panel.treated == "keep"
    selection = [run.known_as_of, dataset.label_definition, run.run_id, is_treated_kept]
    with connect(settings, Role.TRAINER) as trainer:
        contract = read_contract(trainer, dataset)
        horizon_months = _read_horizon(trainer, dataset, run)
        counts = trainer.execute(_COUNTS, [seed, *selection]).fetchall()
        sample = sample_customers(counts, MOST_ROWS)
        groups = [seed, CUSTOMER_GROUPS, seed, SAMPLE_GROUPS, sample.limit]
        query = _QUERY.format(columns=contract.select_list("customer_features"))
        table = read_table(trainer, query, [*selection, *groups], _OWN_TYPES | contract.arrow_types)
    if table.num_rows != sample.kept:
        raise TrainingError(
            f"Expected features of all {sample.kept} rows of features.customer_retention that {run.run_id} "
            f"learns from, found {table.num_rows}. Build the panel "
            "(churn_ml.services.panels.build_panel) and train again."
        )
    customers = table.column("customer_id").combine_chunks().dictionary_encode().indices
    return RetentionPanel(
        contract=contract,
        horizon_months=horizon_months,
        frame=contract.to_frame(table.select(contract.names)),
        customers=customers.to_numpy().astype(np.int64),
        customer_groups=table.column("customer_group").to_numpy(),
        as_of_dates=table.column("as_of_date").to_numpy(),
        retained_months=table.column("retained_days").to_numpy() / DAYS_PER_MONTH,
        is_censored=table.column("is_censored").to_numpy(),
        total_row_count=sample.total,
    )


def _read_horizon(trainer: Connection, dataset: Dataset, run: Run) -> int:
    rows = trainer.execute(
        "select value_horizon_months from features.decision_parameters"
        " where dataset = %s and label_definition = %s"
        " and valid_from <= %s and (%s < valid_to or valid_to is null)",
        [dataset.dataset, dataset.label_definition, run.as_of_date, run.as_of_date],
    ).fetchall()
    if len(rows) != 1 or rows[0][0] is None:
        found = "no months" if len(rows) == 1 else f"{len(rows)} rows"
        raise TrainingError(
            f"Expected value_horizon_months of {dataset.label_definition!r} in one row of "
            f"features.decision_parameters that holds on {run.as_of_date}, found {found}. Mend "
            "dbt_project/seeds/decision_parameters.csv and build the features."
        )
    return int(rows[0][0])
