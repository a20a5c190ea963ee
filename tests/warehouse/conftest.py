"""What several files of this folder begin with."""

from collections.abc import Iterator

import pytest
from clones import clone_warehouse, drop_warehouse

from churn_ml.settings import Settings


@pytest.fixture(scope="session")
def champion_template(server: Settings) -> Iterator[Settings]:
    from scored_customers import make_champion

    template = make_champion(server)
    yield template
    drop_warehouse(template)


@pytest.fixture
def champion(champion_template: Settings) -> Iterator[Settings]:
    """A warehouse with features of one night, a model trained on them, and its deployment."""
    cloned = clone_warehouse(champion_template)
    yield cloned
    drop_warehouse(cloned)
