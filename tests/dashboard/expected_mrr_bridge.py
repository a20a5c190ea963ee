"""What the bridge of monthly recurring revenue says."""

from collections.abc import Callable
from typing import Any


def expected(rows: Callable[..., list[tuple[Any, ...]]]) -> list[str]:
    """Return the texts, from the newest night and the one before it."""
    movements = (
        "unnest(array[mrr_restatement_amount, mrr_currency_amount, mrr_new_amount, mrr_reactivation_amount,"
        " mrr_expansion_amount, mrr_contraction_amount, mrr_churn_amount]) as m"
    )
    [(opening, closing, gained, lost, gross, net, currency)] = rows(
        "select mrr_opening_amount, mrr_closing_amount,"
        f" (select coalesce(sum(m), 0) from {movements} where m > 0),"
        f" (select coalesce(-sum(m), 0) from {movements} where m < 0), gross_revenue_retention_28d_share,"
        " net_revenue_retention_28d_share, currency"
        " from marts.churn_kpis_daily order by as_of_date desc limit 1"
    )
    return [
        f"fell by {opening - closing:,.2f} {currency} to {closing:,.2f} {currency} since 30 October 2026",
        f"MRR at opening\n{opening:,.2f} {currency}",
        f"{gained:,.2f} {currency} came in and {lost:,.2f} {currency} went out",
        f"Gross retention\n{gross:.1%}".replace("%", " %"),
        f"Net retention\n{net:.1%}".replace("%", " %"),
    ]
