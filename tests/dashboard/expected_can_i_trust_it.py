"""What the page on trust says."""

from collections.abc import Callable
from typing import Any


def expected(rows: Callable[..., list[tuple[Any, ...]]]) -> list[str]:
    """Return the texts, from the outcomes that the newest night states and from the checks that it passed."""
    [(ratio, lift, measured, churned, expected_churned, lost, low, high, currency)] = rows(
        "select observed_expected_ratio, top_decile_lift, measured_count, churned_count,"
        " expected_churned_count, value_lost_amount, expected_revenue_loss_low_amount,"
        " expected_revenue_loss_high_amount, currency from marts.model_performance"
    )
    [(left, warned)] = rows("select sum(customer_count), sum(flagged_count) from marts.lead_time")
    checks = rows(
        "select checks.gate, checks.suite, count(distinct"
        " (checks.tool, checks.suite, checks.check_name, checks.table_name, checks.column_name))"
        " from marts.run_checks as checks where checks.as_of_date = ("
        "select max(as_of_date) from marts.dim_scoring_run) group by 1, 2"
    )
    told = sum(count for *_, count in checks)
    return [
        f"Observed by expected\n{ratio:.2f}",
        f"Lift of the highest tenth\n{lift:.2f}",
        f"Share of leavers warned of\n{100 * warned / left:.1f} %",
        f"{warned} of {left} who left had been shown above low risk before",
        f"{churned} customers left where {expected_churned:.1f} were expected",
        f"30 October 2026\t\n{measured}\t\n{churned}\t\n{expected_churned:.2f}\t\n{ratio:.2f}",
        f"{_money(lost)} {currency} was lost; expected were {_money(low)} {currency}"
        f" to {_money(high)} {currency}",
        f"All {told} checks passed.",
    ]


def _money(amount: Any) -> str:
    return f"{amount:,.2f}" if amount < 1000 else f"{amount:,.0f}"
