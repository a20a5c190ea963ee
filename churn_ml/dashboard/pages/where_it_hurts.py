"""Where it hurts: which customers leave, by contract and tenure, and by one division at a time."""

import pandas as pd
import streamlit as st

from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.charts import Field, bars_with_interval, field
from churn_ml.dashboard.charts_outcomes import cells, happened_and_expected
from churn_ml.dashboard.formats import show as show_value
from churn_ml.dashboard.formats import show_day
from churn_ml.dashboard.groups import (
    DIVISIONS,
    FEW_CUSTOMERS,
    feature_label,
    group_label,
    in_sentence,
    wilson_interval,
)
from churn_ml.dashboard.layout import draw, finding, nothing, section, table, tile, tiles
from churn_ml.dashboard.matured import choose_matured, why_no_outcome
from churn_ml.dashboard.metrics import metric
from churn_ml.dashboard.nights import Night

_CHURN, _LOSS = "Expected churn", "Expected loss"


def show(night: Night) -> None:
    """Draw the page."""
    groups = ask("where_groups", scoring_run_key=night.scoring_run_key)
    if groups.empty:
        nothing(
            f"Nobody was scored in the night of {show_day(night.as_of_date)}: there is no group to compare.",
            "churn-ml run list",
        )
        return
    groups = groups.assign(label=groups["customer_group"].map(group_label))
    contracts = groups[groups["division"] == "contract"]
    finding(_finding(contracts, night.currency))
    _show_tiles(contracts, night)
    _show_cells(night)
    _show_division(groups, night)
    _show_reasons(night)


def _finding(contracts: pd.DataFrame, currency: str) -> str:
    """Say which contract costs most, or where no value is known, loses most customers."""
    losses = contracts["expected_revenue_loss_amount"]
    by, what = ("expected_revenue_loss_amount", "of the expected loss")
    if losses.isna().all() or losses.sum() == 0:
        by, what = ("expected_churned_count", "of those expected to leave")
    worst = contracts.sort_values(by, na_position="first").iloc[-1]
    share = worst[by] / contracts[by].sum()
    contract = in_sentence(worst["customer_group"]).capitalize()
    told = f"{contract} contracts make {show_value(share, 'percent')} {what}"
    if by == "expected_revenue_loss_amount":
        told += f": {show_value(worst[by], 'currency', currency)}"
    return (
        f"{told}, with {show_value(worst['customer_count'] / contracts['customer_count'].sum(), 'percent')} "
        "of the customers"
    )


def _show_tiles(contracts: pd.DataFrame, night: Night) -> None:
    count, leavers = contracts["customer_count"].sum(), contracts["expected_churned_count"].sum()
    places = tiles(3)
    tile(places[0], metric("customers_scored"), count)
    tile(
        places[1],
        metric("mean_churn_probability"),
        contracts["expected_churned_count"].sum() / count,
        note=f"{show_value(leavers, 'integer')} customers expected to leave",
    )
    tile(
        places[2],
        metric("expected_revenue_loss"),
        contracts["expected_revenue_loss_amount"].sum(min_count=1),
        currency=night.currency,
    )


def _show_cells(night: Night) -> None:
    data = ask("where_cells", scoring_run_key=night.scoring_run_key)
    data = data.assign(
        contract=data["contract"].map(group_label),
        tenure_group=data["tenure_group"].map(group_label),
        is_few=data["customer_count"] < FEW_CUSTOMERS,
    ).sort_values(["tenure_group_sort", "contract"])
    section(
        "By contract and tenure",
        f"Grey with a dashed edge: fewer than {FEW_CUSTOMERS} customers, "
        "too few for the number to be a finding.",
    )
    chosen = st.segmented_control(
        "Shown in the cells",
        [_CHURN, _LOSS],
        default=_CHURN,
        required=True,
        key="where_measure",
        label_visibility="collapsed",
    )
    share = field(metric("group_expected_churn"), "expected_churn_share")
    loss = field(metric("group_expected_loss"), currency=night.currency)
    value, other = (share, loss) if chosen == _CHURN else (loss, share)
    x, y = Field("contract", "Contract"), Field("tenure_group", "Tenure")
    draw(
        cells(data, x, y, value, field(metric("group_customers")), is_few="is_few", tooltip=[other]),
        f"{value.title} by contract and tenure. {_hottest(data, value)}",
    )
    st.caption(_hottest(data, value))


def _hottest(data: pd.DataFrame, value: Field) -> str:
    known = data[~data["is_few"] & data[value.column].notna()]
    if known.empty:
        return "No cell has enough customers to be compared."
    worst = known.sort_values(value.column).iloc[-1]
    contract = worst["contract"].lower().replace(" ", "-")
    return (
        f"Highest: {contract} contracts, tenure {worst['tenure_group'].lower()}: "
        f"{show_value(worst[value.column], value.format, value.currency)} "
        f"({show_value(worst['customer_count'], 'integer')} customers)."
    )


def _show_division(groups: pd.DataFrame, night: Night) -> None:
    outcomes = ask("where_outcomes", as_of_date=night.as_of_date)
    if outcomes.empty:
        section(
            "By one division: what is expected",
            f"{why_no_outcome(night)} Shown is what is expected of everyone.",
        )
    else:
        section(
            "By one division: what happened beside what was expected",
            "Of customers whose outcome is known and who were not treated. Black line: 90 % interval of what "
            "happened (Wilson), the chance of the sample.",
        )
    division = st.segmented_control(
        "Divided by",
        list(DIVISIONS),
        default="contract",
        required=True,
        format_func=DIVISIONS.__getitem__,
        key="where_division",
    )
    if outcomes.empty:
        _draw_expected(groups[groups["division"] == division], DIVISIONS[division], night)
        return
    scored = choose_matured(outcomes, key="where_matured")
    chosen = outcomes[(outcomes["division"] == division) & (outcomes["scored_run_key"] == scored)]
    _draw_outcomes(chosen, DIVISIONS[division])


def _draw_expected(groups: pd.DataFrame, title: str, night: Night) -> None:
    share = field(metric("group_expected_churn"), "expected_churn_share")
    loss = field(metric("group_expected_loss"), currency=night.currency)
    draw(
        bars_with_interval(
            groups, Field("label", title), share, tooltip=[field(metric("group_customers")), loss]
        ),
        f"Customers expected to leave by {title.lower()}.",
    )
    table(
        groups,
        {
            "label": title,
            "customer_count": ("Customers", "integer"),
            "expected_churned_count": ("Expected to leave", "decimal"),
            "expected_churn_share": ("Share", "percent"),
            "expected_revenue_loss_amount": ("Expected loss", "currency"),
        },
        night.currency,
    )


def _draw_outcomes(chosen: pd.DataFrame, title: str) -> None:
    intervals = [
        wilson_interval(int(left), int(count))
        for left, count in zip(chosen["churned_count"], chosen["measured_count"], strict=True)
    ]
    data = chosen.assign(
        label=chosen["customer_group"].map(group_label),
        churned_share=chosen["churned_count"] / chosen["measured_count"],
        expected_share=chosen["expected_churned_count"] / chosen["measured_count"],
        low=[low for low, _ in intervals],
        high=[high for _, high in intervals],
    )
    data["interval"] = [
        f"{show_value(low, 'percent')} to {show_value(high, 'percent')}" for low, high in intervals
    ]
    data["judged"] = [
        _judged(int(count), *shares)
        for count, *shares in data[["measured_count", "expected_share", "low", "high"]].itertuples(
            index=False
        )
    ]
    draw(
        happened_and_expected(
            data,
            Field("label", title),
            field(metric("group_observed_churn"), "churned_share"),
            Field("expected_share", "Share expected to leave", "percent"),
            low="low",
            high="high",
            tooltip=[
                field(metric("group_measured")),
                field(metric("group_churned")),
            ],
        ),
        f"Share of customers who left by {title.lower()}, beside the share that was expected.",
    )
    table(
        data,
        {
            "label": title,
            "measured_count": ("Measured", "integer"),
            "churned_count": ("Left", "integer"),
            "expected_churned_count": ("Expected", "decimal"),
            "churned_share": ("Share left", "percent"),
            "interval": "90 % interval",
            "expected_share": ("Share expected", "percent"),
            "judged": "By chance?",
        },
    )


def _judged(count: int, expected: float, low: float, high: float) -> str:
    """Say whether chance explains what happened beside what was expected."""
    if count < FEW_CUSTOMERS:
        return "too few to say"
    if low <= expected <= high:
        return "within chance"
    return "more left" if expected < low else "fewer left"


def _show_reasons(night: Night) -> None:
    section(
        "The most common reasons tonight",
        "What raises the probability of customers at risk, among the three reasons of each. Reasons tell "
        "what the model reads from the data, not what makes a customer leave.",
    )
    tier = st.segmented_control(
        "Customers of",
        ["high", "medium"],
        default="high",
        required=True,
        format_func=lambda tier: f"{group_label(tier)} risk",
        key="where_tier",
    )
    reasons = ask("where_reasons", scoring_run_key=night.scoring_run_key, risk_tier=tier)
    if reasons.empty:
        nothing(f"No customer is at {tier} risk in this night, or the model gives no reasons.")
        return
    count = int(reasons["tier_customer_count"].max())
    reasons = reasons.assign(
        label=reasons["feature_name"].map(feature_label),
        share=reasons["customer_count"] / count,
        can_act=[
            "can be acted on" if is_actionable else "cannot be acted on"
            for is_actionable in reasons["is_actionable"]
        ],
    )
    share = Field("share", f"Share of the {show_value(count, 'integer')} customers at {tier} risk", "percent")
    draw(
        bars_with_interval(
            reasons,
            Field("label", "Reason"),
            share,
            colour=Field("can_act", "The business"),
            tooltip=[
                Field("customer_count", "Customers", "integer"),
                Field("mean_reason_points", "Adds on average", "points"),
            ],
        ),
        f"The most common reasons of customers at {tier} risk.",
    )
    if count < FEW_CUSTOMERS:
        st.caption(f"Only {count} customers are at {tier} risk tonight: read it as a list, not as a pattern.")
