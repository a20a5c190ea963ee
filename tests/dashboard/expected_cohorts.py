"""What the page of cohorts says; the little world has lifetimes, and no month of signup to follow yet."""

from collections.abc import Callable
from typing import Any


def expected(rows: Callable[..., list[tuple[Any, ...]]]) -> list[str]:
    """Return the texts, from what the newest night knows of lifetimes."""
    lives = rows(
        "select survival.contract, sum(survival.ended_count),"
        " max(survival.survival_share) filter (where survival.lifetime_months = 3)"
        " from marts.customer_survival as survival inner join marts.dim_scoring_run as runs"
        " on survival.scoring_run_key = runs.scoring_run_key"
        " where runs.as_of_date = (select max(as_of_date) from marts.dim_scoring_run) group by 1"
    )
    assert len(lives) > 1
    assert not rows("select 1 from marts.cohort_retention limit 1")
    return [
        *(f"{_label(contract)} {ended} " for contract, ended, _ in lives),
        *(f"{100 * share:.1f} %" for *_, share in lives if share is not None),
        "No month of signup can be followed yet",
    ]


def _label(contract: str) -> str:
    return "All contracts" if contract == "all" else contract.replace("_", " ").capitalize()
