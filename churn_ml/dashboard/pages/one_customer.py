"""One customer: who it is, how the risk went and why, what it is worth, and what was done about it."""

from typing import Any

import pandas as pd
import streamlit as st

from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.charts import Field, bars_with_interval, field
from churn_ml.dashboard.customer_past import (
    reason_for_no_score,
    show_campaigns,
    show_history,
    show_outcomes,
    show_tiers,
)
from churn_ml.dashboard.formats import NOT_KNOWN, show_day, signed
from churn_ml.dashboard.formats import show as show_value
from churn_ml.dashboard.groups import feature_label, group_label
from churn_ml.dashboard.layout import draw, finding, nothing, section, table, tile, tiles
from churn_ml.dashboard.links import STATUSES, literal
from churn_ml.dashboard.metrics import metric
from churn_ml.dashboard.nights import Night
from churn_ml.dashboard.palette import SKY, VERMILION
from churn_ml.dashboard.words import TIERS, interval

_PARAMETER = "customer_id"
_RAISES, _LOWERS = "Raises the risk", "Lowers the risk"
_PROFILE = {
    "segment": "Segment", "region": "Region", "plan": "Plan", "contract": "Contract",
    "tenure_group": "Time since joining",
}  # fmt: skip


def show(night: Night) -> None:
    """Draw the page."""
    customer = _find(_search(), night)
    if customer is None:
        return
    rows = ask("customer_night", scoring_run_key=night.scoring_run_key, customer_key=customer)
    if rows.empty:
        _show_absent(customer, night)
    else:
        _show_customer(rows.iloc[0], customer, night)


def _search() -> str:
    """Draw the search, which the address holds too."""
    return st.text_input(
        "Customer id",
        key=_PARAMETER,
        bind="query-params",
        placeholder="The id, or how it begins or ends",
        icon=":material/search:",
    ).strip()


def _show_absent(customer: int, night: Night) -> None:
    """Show what is known of a customer whom the night no longer lists, or does not list yet."""
    day = show_day(night.as_of_date)
    seen = ask("customer_history", customer_key=customer, as_of_date=night.as_of_date)
    if seen.empty:
        nothing(f"The night of {day} does not know this customer yet. Pick a later one at the side.")
        return
    finding(f"No longer a customer on {day}: last listed on {show_day(seen.iloc[-1]['as_of_date'])}")
    left, right = st.columns(2, gap="large")
    with left:
        show_history(customer, night)
    with right:
        show_tiers(customer, night)
        show_campaigns(ask("customer_campaigns", customer_key=customer, as_of_date=night.as_of_date))
        show_outcomes(customer, night)


def _show_customer(now: pd.Series, customer: int, night: Night) -> None:
    campaigns = ask("customer_campaigns", customer_key=customer, as_of_date=night.as_of_date)
    finding(_finding(now))
    _show_standing(now, campaigns)
    _show_tiles(now, night)
    left, right = st.columns(2, gap="large")
    with left:
        _show_reasons(now, customer, night)
    with right:
        show_history(customer, night)
        _show_change(now)
    left, right = st.columns(2, gap="large")
    with left:
        _show_profile(now, night)
    with right:
        show_tiers(customer, night)
        show_campaigns(campaigns)
        show_outcomes(customer, night)


def _find(search: str, night: Night) -> int | None:
    """Return the key of the customer that is looked for, or say whom there is instead."""
    if not search:
        nothing("Type a customer's id, or pick one of those to call first.")
        _offer(ask("call_first_ids", scoring_run_key=night.scoring_run_key))
        return None
    found = ask("customer_found", search=search)
    if found.empty:
        st.warning(
            f"No customer has the id {literal(search)}, and no id begins or ends like it. Ids are those of "
            "the source.",
            icon=":material/person_off:",
        )
        return None
    first = found.iloc[0]
    if first["is_exact"] or len(found) == 1:
        return int(first["customer_key"])
    st.info(f"No customer has the id {literal(search)}. The first that begin or end like it:")
    _offer(found)
    return None


def _offer(customers: pd.DataFrame) -> None:
    """Draw a button for each customer; choosing one writes it into the address, and so into the search."""
    for customer_id in customers.to_dict("list").get("customer_id", []):
        st.button(literal(customer_id), key=f"choose_{customer_id}", on_click=_choose, args=(customer_id,))


def _choose(customer_id: str) -> None:
    st.session_state[_PARAMETER] = customer_id


def _finding(now: pd.Series) -> str:
    customer_id = literal(now["customer_id"])
    if not now["is_active"]:
        return f"{customer_id} has left"
    if pd.isna(now["churn_probability"]):
        return f"{customer_id} has no score: {reason_for_no_score(now)}"
    probability = show_value(now["churn_probability"], "percent")
    told = f"{customer_id} is at {now['risk_tier']} risk: {probability} to leave"
    if pd.isna(now["expected_revenue_loss_amount"]):
        return told
    loss = show_value(now["expected_revenue_loss_amount"], "currency", now["currency"])
    return f"{told}, an expected loss of {loss}"


def _show_standing(now: pd.Series, campaigns: pd.DataFrame) -> None:
    """Say whether the customer is to be called, and if not, what stands against it."""
    binding: list[dict[Any, Any]] = [row for row in campaigns.to_dict("records") if row["is_binding"]]
    held_out = next((row for row in binding if row["is_held_out"]), None)
    if held_out:
        st.warning(
            f"**Held out of campaign {literal(held_out['campaign_id'])} until "
            f"{show_day(held_out['cooldown_until_date'])}: do not call.** Only who is left alone shows what "
            "the campaign changes.",
            icon=":material/do_not_disturb_on:",
        )
    elif not pd.isna(now["queue_position"]):
        st.info(_told_place(now), icon=":material/call:")
    elif binding:
        until = show_day(binding[0]["cooldown_until_date"])
        st.info(f"Treated, and not to be called again before {until}.", icon=":material/hourglass:")
    elif now["is_explained"] and now["expected_profit_amount"] <= 0:
        profit = show_value(now["expected_profit_amount"], "currency", now["currency"])
        st.info(
            f"Not in tonight's queue: a call is not expected to repay its cost (expected profit {profit}).",
            icon=":material/phone_disabled:",
        )


def _told_place(now: pd.Series) -> str:
    status = STATUSES.get(now["queue_status"], now["queue_status"]).lower()
    profit = show_value(now["expected_profit_amount"], "currency", now["currency"])
    action = literal(now["recommended_action"] or "None of its reasons can be acted on.")
    place = int(now["queue_position"])
    return f"**Place {place:,} in tonight's queue**, {status}; expected profit of a call {profit}. {action}"


def _show_tiles(now: pd.Series, night: Night) -> None:
    places = tiles(4)
    before = now["previous_as_of_date"]
    since = f"{before.day} {before:%b}" if before else ""
    ends = interval(now["churn_probability_low"], now["churn_probability_high"], "percent")
    months = now["value_horizon_months"]
    over = None if pd.isna(months) else f"what leaving would cost, over {int(months)} months"
    tier = TIERS.get(now["risk_tier"], "Not scored")
    tile(
        places[0],
        metric("churn_probability"),
        now["churn_probability"],
        before=now["previous_churn_probability"],
        against=since,
        note=ends,
    )
    tile(
        places[1],
        metric("customer_expected_loss"),
        now["expected_revenue_loss_amount"],
        currency=night.currency,
        title="Expected loss",
        note="probability x value at risk",
    )
    tile(
        places[2],
        metric("value_at_risk"),
        now["value_at_risk_amount"],
        currency=night.currency,
        note=over,
    )
    tile(
        places[3],
        metric("days_in_tier"),
        now["days_in_tier"],
        note=f"{tier} since {show_day(now['tier_since_date'])}",
    )


def _show_reasons(now: pd.Series, customer: int, night: Night) -> None:
    section(
        "What moves the score most",
        "Against the average customer, in percentage points. A reason says what moved the model, not what "
        "would keep the customer.",
        help=metric("reason_points").help,
    )
    reasons = ask("customer_reasons", scoring_run_key=night.scoring_run_key, customer_key=customer)
    if reasons.empty:
        nothing("There is no reason: the customer has no score, or nothing sets it apart from the average.")
        return
    reasons = reasons.assign(
        label=reasons["feature_name"].map(feature_label),
        effect=[_RAISES if points > 0 else _LOWERS for points in reasons["reason_points"]],
    )
    chart = bars_with_interval(
        reasons,
        Field("label", "Reason"),
        field(metric("reason_points")),
        colour=Field("effect", "Effect", colours=((_RAISES, VERMILION), (_LOWERS, SKY))),
        tooltip=(Field("reason_value", "Value"), Field("reason_percentile", "Percentile", "integer")),
    )
    draw(chart, "The reasons of the score in percentage points")
    if not now["is_explained"]:
        st.caption("Reasons in words are kept for the newest night.")
        return
    told = filter(None, (now[f"reason_{rank}_sentence"] for rank in (1, 2, 3)))
    st.markdown("\n".join(f"{rank}. {literal(sentence)}" for rank, sentence in enumerate(told, 1)))


def _show_change(now: pd.Series) -> None:
    """Split the last change into what a new model did and what became of the customer."""
    change, model, customer = (
        now[name] for name in ("risk_change_pts", "risk_change_model_pts", "risk_change_customer_pts")
    )
    if pd.isna(change):
        st.caption("There is no earlier score to compare with.")
        return
    told = f"**{signed(float(change), 'points')}** since {show_day(now['previous_as_of_date'])}"
    if pd.isna(model) or pd.isna(customer):
        st.markdown(f"{told}; how much of it a new model did is not known.")
        return
    st.markdown(
        f"{told}: {signed(float(model), 'points')} by a change of model, "
        f"{signed(float(customer), 'points')} by what became of the customer."
    )


def _show_profile(now: pd.Series, night: Night) -> None:
    section("Who it is")
    facts = {title: group_label(now[column]) for column, title in _PROFILE.items()}
    facts["Signed up"] = show_value(now["signup_date"], "date")
    facts["Monthly value"] = show_value(now["monthly_value_amount"], "currency", night.currency)
    if now["source_currency"] != now["currency"]:
        facts["Billed per month"] = show_value(
            now["source_monthly_value_amount"], "currency", now["source_currency"]
        )
    if now["value_status"] != "known":
        facts["Value"] = group_label(now["value_status"])
    facts["Model"] = now["model_version"] or NOT_KNOWN
    table(pd.DataFrame(facts.items(), columns=["fact", "value"]), {"fact": "What", "value": "Value"})
