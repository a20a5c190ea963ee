"""What the page of revenue at risk says."""

from collections.abc import Callable
from typing import Any


def expected(rows: Callable[..., list[tuple[Any, ...]]]) -> list[str]:
    """Return the texts, from the newest night and from the outcomes that it states."""
    [(at_risk, loss, currency)] = rows(
        "select revenue_at_risk_amount, expected_revenue_loss_amount, currency"
        " from marts.churn_kpis_daily order by as_of_date desc limit 1"
    )
    groups = rows(
        "select customer_count, expected_revenue_loss_amount, expected_revenue_loss_low_amount,"
        " expected_revenue_loss_high_amount from marts.revenue_at_risk_daily"
        " where as_of_date = (select max(as_of_date) from marts.dim_scoring_run)"
    )
    [(measured, churned, expected_loss, lost, is_within)] = rows(
        "select measured_count, churned_count, expected_revenue_loss_amount, value_lost_amount,"
        " is_value_lost_within_interval from marts.model_performance"
    )
    return [
        f"Of {_money(at_risk)} {currency} at risk, {_money(loss)} {currency}",
        *(f"{count}\t" for count, *_ in groups),
        *(f"{_money(amount)}\t\n{_money(low)} to {_money(high)}" for _, amount, low, high in groups),
        f"within its interval in {int(is_within)} of 1 month",
        f"30 October 2026\t\n{measured}\t",
        f"{churned}\t\n{_money(expected_loss)} {currency}\t\n{_money(lost)} {currency}",
    ]


def _money(amount: Any) -> str:
    return f"{amount:,.2f}" if amount < 1000 else f"{amount:,.0f}"
