"""What the retention summary says."""

from collections.abc import Callable
from typing import Any


def expected(rows: Callable[..., list[tuple[Any, ...]]]) -> list[str]:
    """Return the texts, from the marts of the newest night."""
    [(active, churn, target, mrr, retention, loss, low, high, currency)] = rows(
        "select customer_closing_count, logo_churn_28d_share, logo_churn_28d_target_share,"
        " mrr_closing_amount, gross_revenue_retention_28d_share, expected_revenue_loss_amount,"
        " expected_revenue_loss_low_amount,"
        " expected_revenue_loss_high_amount, currency"
        " from marts.churn_kpis_daily order by as_of_date desc limit 1"
    )
    [(at_high_risk,)] = rows(
        "select coalesce(sum(customer_count), 0) from marts.revenue_at_risk_daily where risk_tier = 'high'"
        " and as_of_date = (select max(as_of_date) from marts.dim_scoring_run)"
    )
    return [
        f"{loss:,.2f} {currency} is expected to be lost to churn",
        f"Active customers\n{active}\n",
        f"{churn:.1%}".replace("%", " %"),
        f"Target: at most {target:.1%}".replace("%", " %"),
        f"{mrr:,.2f} {currency}",
        f"{retention:.1%}".replace("%", " %"),
        f"90 % interval: {low:,.2f} to {high:,.2f} {currency}",
        f"Customers at high risk\n{at_high_risk}\n",
    ]
