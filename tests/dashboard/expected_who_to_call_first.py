"""What the queue of the newest night says."""

from collections.abc import Callable
from typing import Any


def expected(rows: Callable[..., list[tuple[Any, ...]]]) -> list[str]:
    """Return the texts: the sums, and the first customer with what is told of them."""
    [(count, profit, cost, loss, currency)] = rows(
        "select count(*), sum(expected_profit_amount), sum(expected_cost_amount),"
        " sum(expected_revenue_loss_amount), max(currency) from marts.retention_queue"
    )
    if not count:
        [(active, scored)] = rows(
            "select active_count, scored_count from marts.dim_scoring_run order by as_of_date desc limit 1"
        )
        return [
            "Nobody is to be called tonight",
            f"{scored:,} customers were scored",
            f"All {active:,} active customers are not expected to repay a call",
        ]
    [(customer_id, probability, first_profit, first_cost, action)] = rows(
        "select customer_id, churn_probability, expected_profit_amount, expected_cost_amount,"
        " recommended_action from marts.retention_queue where queue_position = 1"
    )
    return [
        f"Customers in the queue\n{count:,}",
        f"Expected profit\n{profit:,.2f} {currency}",
        f"Expected cost\n{cost:,.2f} {currency}",
        f"Expected loss\n{loss:,.2f} {currency}",
        f"1 · {customer_id}",
        f"{probability:.1%} churn probability".replace("%", " %"),
        f"Expected profit {first_profit:,.2f} {currency}, cost {first_cost:,.2f} {currency}",
        *([action] if action else []),
    ]
