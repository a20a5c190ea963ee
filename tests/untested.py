"""Layers built without dbt's data tests, which are a third of a build.

For nights that a test only needs to be there. What the data tests say has nights of its own, built with
`tested=True` or by the product's own functions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from churn_ml.services import dbt
from churn_ml.services.dbt_results import LayerSummary
from churn_ml.services.dbt_selection import Layer
from churn_ml.settings import Settings
from churn_ml.warehouse.runs import Run

NO_TESTS = ["--exclude-resource-type", "test"]


def build_layer(
    settings: Settings, run_id: str, layer: Layer, try_number: int = 1, *, tested: bool = False
) -> LayerSummary:
    with data_tests(kept=tested):
        return dbt.build_layer(settings, run_id, layer, try_number)


def build_labels(settings: Settings, run: Run, *, tested: bool = False) -> LayerSummary:
    with data_tests(kept=tested):
        return dbt.build_labels(settings, run)


@contextmanager
def data_tests(*, kept: bool) -> Iterator[None]:
    """Let dbt's data tests run in here, or leave them out."""
    with patch.object(dbt, "_NEVER_BUILT", [*dbt._NEVER_BUILT, *([] if kept else NO_TESTS)]):
        yield
