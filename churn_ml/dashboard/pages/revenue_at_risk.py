"""Revenue at risk: what leaving would cost, what is expected to be lost, and what was lost in the end."""

import pandas as pd

from churn_ml.dashboard import palette
from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.charts import Field, bars_with_interval, field
from churn_ml.dashboard.formats import short_day
from churn_ml.dashboard.formats import show as show_value
from churn_ml.dashboard.layout import draw, finding, nothing, section, table, tile, tiles
from churn_ml.dashboard.metrics import metric
from churn_ml.dashboard.nights import Night
from churn_ml.dashboard.words import TIERS, counted, interval, last_two

_LOW, _HIGH = "expected_revenue_loss_low_amount", "expected_revenue_loss_high_amount"


def show(night: Night) -> None:
    """Draw the page."""
    nights = ask("kpis_by_night", as_of_date=night.as_of_date)
    groups = ask("risk_by_tier_and_segment", scoring_run_key=night.scoring_run_key)
    now, _ = last_two(nights)
    if pd.isna(now["revenue_at_risk_amount"]):
        finding("Revenue at risk is not known: no customer of this night has a value")
        nothing("The dataset declares no value definition, or nobody was scored.")
    else:
        _show_finding(night, now)
        _show_tiles(night, nights, groups)
        _show_groups(night, groups)
    _show_realised(night)


def _show_finding(night: Night, now: pd.Series) -> None:
    at_risk, loss = now["revenue_at_risk_amount"], now["expected_revenue_loss_amount"]
    finding(
        f"Of {night.money(at_risk)} at risk, {night.money(loss)}"
        f" ({show_value(loss / at_risk, 'percent')}) is expected to be lost"
        if at_risk
        else "Nothing is at risk: the values of all scored customers add up to 0"
    )


def _show_tiles(night: Night, nights: pd.DataFrame, groups: pd.DataFrame) -> None:
    first, second, third = tiles(3)
    now, before = last_two(nights)
    since = short_day(night.previous_as_of_date) if night.previous_as_of_date else ""
    ends = interval(now[_LOW], now[_HIGH], "currency", night.currency)
    valued = f"of {now['valued_customer_count']:,.0f} customers whose value is known"
    for place, key, note in ((first, "revenue_at_risk", valued), (second, "night_expected_loss", ends)):
        told = metric(key)
        tile(place, told, now[told.column_name], before=before[told.column_name], currency=night.currency,
             against=since, note=note, history=nights[told.column_name])  # fmt: skip
    tiers = ask("tiers_by_night", as_of_date=night.as_of_date)
    high = tiers[tiers["risk_tier"] == "high"].set_index("as_of_date")["revenue_at_risk_amount"]
    amounts = [high.get(day, 0.0) for day in nights["as_of_date"]]
    tile(third, metric("high_risk_revenue"), amounts[-1], before=amounts[-2] if len(amounts) > 1 else None,
         currency=night.currency, against=since, history=amounts,
         note=f"{groups.loc[groups['risk_tier'] == 'high', 'customer_count'].sum():,} customers")  # fmt: skip


def _show_groups(night: Night, groups: pd.DataFrame) -> None:
    loss = metric("expected_revenue_loss")
    shown = groups.assign(
        tier=groups["risk_tier"].map(TIERS), segment=groups["segment"].str.replace("_", " ").str.capitalize()
    )
    by_segment = shown.groupby("segment")["expected_revenue_loss_amount"].sum().sort_values()
    part = by_segment.iloc[-1] / by_segment.sum() if by_segment.sum() else 0
    section(
        f"Segment {by_segment.index[-1]} carries {show_value(part, 'percent')} of the expected loss",
        "Expected loss by segment and tier with 90\N{NO-BREAK SPACE}% intervals, which do not add up.",
        help=loss.help,
    )
    draw(
        bars_with_interval(
            shown, Field("segment", "Segment"), field(loss, currency=night.currency), low=_LOW, high=_HIGH,
            colour=Field("tier", "Risk tier", colours=tuple((TIERS[k], v) for k, v in palette.TIERS.items())),
            side_by_side=True,
            tooltip=(
                field(metric("customers_scored")),
                field(metric("revenue_at_risk"), currency=night.currency),
            ),
        ),
        "Expected revenue loss by segment and risk tier, with intervals",
    )  # fmt: skip
    _show_table(night, shown)


def _show_table(night: Night, shown: pd.DataFrame) -> None:
    told = shown.assign(interval=pd.Series([_interval(row) for _, row in shown.iterrows()], dtype=object))
    section(
        "The same in numbers",
        f"Amounts in {night.currency}. * Little is expected: covers up to 97\N{NO-BREAK SPACE}%.",
    )
    table(told, {
        "segment": "Segment", "tier": "Tier", "customer_count": ("Customers", "integer"),
        "mean_churn_probability": ("Mean risk", "percent"),
        "revenue_at_risk_amount": ("At risk", "currency"),
        "expected_revenue_loss_amount": ("Expected loss", "currency"),
        "interval": "90\N{NO-BREAK SPACE}% interval",
    })  # fmt: skip


def _interval(row: pd.Series) -> str | None:
    if pd.isna(row[_LOW]):
        return None
    ends = f"{show_value(row[_LOW], 'currency')} to {show_value(row[_HIGH], 'currency')}"
    return f"{ends} *" if row["is_interval_approximate"] is True else ends


def _show_realised(night: Night) -> None:
    months = ask("loss_expected_and_realised", as_of_date=night.as_of_date)
    told = metric("matured_value_lost")
    known = months.dropna(subset=["value_lost_amount"])
    if known.empty:
        section("What was lost in the end is not known yet", help=told.help)
        nothing(
            "A loss is known once the label window of a published night has closed and a later night has "
            "stated its outcomes. Datasets of one row per customer (telco, bank) have no later truth."
        )
        return
    within = int((known["is_value_lost_within_interval"] == True).sum())  # noqa: E712 - null is not true
    section(
        f"What was lost lay within its interval in {within} of {counted(len(known), 'month')}",
        "Of customers who were not treated. Per month its newest scored night whose outcome is known.",
        help=f"{metric('matured_expected_loss').help} {told.help}",
    )
    kept = ["scored_month", "scored_as_of_date"]
    expected = known[[*kept, "expected_revenue_loss_amount", _LOW, _HIGH]].assign(kind="Expected").rename(
        columns={"expected_revenue_loss_amount": "amount"})  # fmt: skip
    realised = (
        known[[*kept, "value_lost_amount"]]
        .assign(kind="Lost")
        .rename(columns={"value_lost_amount": "amount"})
    )
    both = pd.concat([expected, realised], ignore_index=True).sort_values(["scored_month", "kind"])
    both["month"] = [show_value(day, "month") for day in both["scored_month"]]
    draw(
        bars_with_interval(
            both, Field("month", "Month"), Field("amount", "Revenue loss", "currency", night.currency),
            low=_LOW, high=_HIGH, side_by_side=True,
            colour=Field("kind", "Loss", colours=(("Expected", palette.SKY), ("Lost", palette.BLUE))),
            tooltip=(Field("scored_as_of_date", "Scored night", "date"),),
        ),
        "Expected and realised revenue loss by month, with the interval of what was expected",
    )  # fmt: skip
    table(known, {
        "scored_as_of_date": ("Scored night", "date"), "measured_count": ("Customers measured", "integer"),
        "expected_churned_count": ("Expected to leave", "decimal"), "churned_count": ("Left", "integer"),
        "expected_revenue_loss_amount": ("Expected loss", "currency"),
        "value_lost_amount": ("Lost", "currency"),
    }, night.currency)  # fmt: skip
