"""What the page on where it hurts says."""

from collections.abc import Callable
from typing import Any


def expected(rows: Callable[..., list[tuple[Any, ...]]]) -> list[str]:
    """Return the texts, from the scores of the newest night and from the outcomes that it states."""
    [(scored, probability, leavers, loss, currency)] = rows(
        "select count(*), avg(churn_probability), sum(churn_probability), sum(expected_revenue_loss_amount),"
        " max(currency) from marts.fct_churn_score where churn_probability is not null"
        " and as_of_date = (select max(as_of_date) from marts.dim_scoring_run)"
    )
    contracts = rows(
        "select scores.contract, count(*), count(*) filter (where outcomes.churned),"
        " sum(outcomes.churn_probability)"
        " from marts.fct_score_outcome as outcomes inner join marts.fct_churn_score as scores"
        " on outcomes.scored_run_key = scores.scoring_run_key and outcomes.customer_key = scores.customer_key"
        " where outcomes.churned is not null and outcomes.treatment_status <> 'treated' group by 1"
    )
    assert contracts
    return [
        f"Customers scored\n{scored}",
        f"Mean churn probability\n{_percent(probability)}",
        f"{leavers:.0f} customers expected to leave",
        f"Expected revenue loss\n{loss:,.2f} {currency}",
        *(
            f"{_label(contract)}\t\n{measured}\t\n{left}\t\n{expected:.2f}\t\n{_percent(left / measured)}"
            for contract, measured, left, expected in contracts
        ),
    ]


def _label(code: str) -> str:
    return code.replace("_", " ").capitalize()


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if 0 < share < 0.01 else f"{100 * share:.1f} %"
