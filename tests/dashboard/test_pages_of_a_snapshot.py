"""A dataset of snapshots has no outcomes and no cohorts: its pages say so and show what they have."""

import pytest
from app_pages import open_page, texts

from churn_ml.settings import Settings

TOLD = {
    "where_it_hurts": (
        "one snapshot per customer and no dates of leaving",
        "What raises the probability of customers at risk",
    ),
    "cohorts": (
        "the curves compare contracts and are no forecast",
        "This dataset has no cohorts: its customers carry no date of signup",
    ),
    "can_i_trust_it": (
        "Checked but not proven: no outcome is known",
        "one snapshot per customer and no dates of leaving",
        "cross-sectional: on other customers of the same snapshot",
        "No task of this night is on record",
    ),
}


def test_pages_say_what_a_snapshot_cannot_tell(monkeypatch: pytest.MonkeyPatch, published: Settings) -> None:
    for name, expected in TOLD.items():
        page = open_page(monkeypatch, published, name)
        assert not page.exception, name
        said = "\n".join([texts(page), *(str(table.value.to_dict()) for table in page.table)])
        missing = [told for told in expected if told not in said]
        assert not missing, f"{name}: {missing}\n\n{said}"
