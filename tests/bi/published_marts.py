"""What the tests of BI share: a warehouse with published marts."""

from dataclasses import dataclass

from churn_ml.settings import Settings
from churn_ml.warehouse.runs import Run

Rows = list[tuple[object, ...]]


@dataclass(frozen=True)
class Marts:
    """The warehouse, its published runs, and keys and indexes of the marts after each run of them."""

    settings: Settings
    runs: tuple[Run, Run]
    keys_and_indexes: tuple[Rows, Rows, Rows]
