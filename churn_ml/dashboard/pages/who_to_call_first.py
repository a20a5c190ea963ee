"""Who to call first: tonight's queue with reasons and actions, to filter and to take along."""

from collections.abc import Mapping
from functools import partial

import pandas as pd
import streamlit as st

from churn_ml.dashboard.asking import Parameter, ask
from churn_ml.dashboard.downloads import MOST_ROWS, csv_file
from churn_ml.dashboard.formats import NOT_KNOWN, show_day, signed
from churn_ml.dashboard.formats import show as show_value
from churn_ml.dashboard.groups import group_label
from churn_ml.dashboard.layout import finding, nothing, section, tile, tiles
from churn_ml.dashboard.links import STATUSES, go_to_customer, link_to_customer, literal
from churn_ml.dashboard.metrics import metric
from churn_ml.dashboard.nights import Night

_CARDS, _MOST_SHOWN = 10, 200
_DIVISIONS = {
    "risk_tier": "Tier", "queue_status": "Status", "segment": "Segment", "region": "Region", "plan": "Plan",
    "contract": "Contract",
}  # fmt: skip
_TIER_COLOURS = {"high": "red", "medium": "orange", "low": "blue"}
_SUMS = ("found_count", "found_to_treat_count", "found_profit_amount", "found_cost_amount")
_TABLE = {
    "queue_position": "#", "customer_id": "Customer", "risk_tier": "Tier",
    "churn_probability": "Churn probability", "risk_change_pts": "Change, points",
    "days_in_tier": "Days in tier", "expected_profit_amount": "Expected profit",
    "expected_cost_amount": "Expected cost", "expected_revenue_loss_amount": "Expected loss",
    "queue_status": "Status", "recommended_action": "Recommended action", "reason_1_sentence": "First reason",
    "reason_2_sentence": "Second reason", "reason_3_sentence": "Third reason", "segment": "Segment",
    "region": "Region", "plan": "Plan", "contract": "Contract",
}  # fmt: skip


def show(night: Night) -> None:
    """Draw the page."""
    summary = ask("call_summary", scoring_run_key=night.scoring_run_key).iloc[0]
    if not summary["is_kept"]:
        nothing(
            f"The queue of {show_day(night.as_of_date)} is no longer kept: whom to call is a question of the "
            "newest night. Pick that one at the side, or look a customer up on the page One customer."
        )
        return
    finding(_finding(summary, night.currency))
    if not summary["queue_count"]:
        nothing(f"{int(summary['scored_count']):,} customers were scored. {_why_short(summary)}")
        return
    _show_tiles(summary, night)
    st.caption(_budget(summary, night.currency) + " " + _why_short(summary))
    chosen = _choose(night)
    rows = ask("call_queue", **chosen, most=_MOST_SHOWN)
    if rows.empty:
        nothing("Nobody in tonight's queue fits these filters. Take one away to see more.")
        return
    _show_rows(rows, chosen, int(summary["queue_count"]), night)


def _finding(summary: pd.Series, currency: str) -> str:
    count, to_treat = int(summary["queue_count"]), int(summary["to_treat_count"])
    if not count:
        return "Nobody is to be called tonight"
    people = "customer is" if count == 1 else "customers are"
    if summary["no_campaign_count"] == count:
        return f"{count:,} {people} worth a call, and no campaign runs"
    earning = _money(summary["to_treat_profit_amount"], currency)
    if to_treat == count:
        return f"{count:,} {people} worth a call tonight, expected to earn {earning}"
    if not to_treat:
        return f"{count:,} {people} worth a call; tonight's budget reaches nobody"
    return f"{count:,} {people} worth a call; tonight's budget reaches {to_treat:,}, to earn {earning}"


def _show_tiles(summary: pd.Series, night: Night) -> None:
    places = tiles(4)
    tile(places[0], metric("queue_length"), summary["queue_count"],
         note=f"of {int(summary['scored_count']):,} scored")  # fmt: skip
    for place, key, amount, title, note in (
        (places[1], "queue_expected_profit", "expected_profit_amount", "Expected profit", "after all costs"),
        (places[2], "queue_expected_cost", "expected_cost_amount", "Expected cost", "contact and offer"),
        (
            places[3],
            "customer_expected_loss",
            "expected_revenue_loss_amount",
            "Expected loss",
            "without a call",
        ),
    ):
        tile(place, metric(key), summary[amount], currency=night.currency, title=title, note=note)


def _budget(summary: pd.Series, currency: str) -> str:
    """Say whom the budget reaches; budget and capacity themselves are the campaign's parameters."""
    to_treat, beyond = int(summary["to_treat_count"]), int(summary["beyond_budget_count"])
    told = []
    if to_treat:
        told.append(
            f"**Within budget and capacity: {to_treat:,}** by campaign {summary['campaign_id']} "
            f"({summary['treatment']}), at {_money(summary['to_treat_cost_amount'], currency)}."
        )
        told.append(f"{beyond:,} wait for budget." if beyond else "Nobody waits for budget.")
    elif beyond:
        told.append(f"Budget or capacity reaches nobody tonight: {beyond:,} wait.")
    if summary["no_campaign_count"]:
        told.append(f"{int(summary['no_campaign_count']):,} have no campaign.")
    if summary["profit_not_known_count"]:
        told.append(f"Of {int(summary['profit_not_known_count']):,} the profit is not known: they come last.")
    return " ".join(told)


def _why_short(summary: pd.Series) -> str:
    """Say where everyone else is."""
    others = int(summary["active_count"]) - int(summary["queue_count"])
    reasons = ["are not expected to repay a call"]
    unscored = int(summary["active_count"]) - int(summary["scored_count"])
    if unscored:
        reasons.append(f"have no score ({unscored:,})")
    if summary["resting_count"]:
        reasons.append(f"rest after an earlier campaign ({int(summary['resting_count']):,})")
    if summary["held_out_count"]:
        held_out = int(summary["held_out_count"])
        reasons.append(f"are held out tonight so that the effect can be measured ({held_out:,})")
    who = "The other" if summary["queue_count"] else "All"
    return f"{who} {others:,} active customers {', or '.join(reasons)}."


def _choose(night: Night) -> dict[str, Parameter]:
    """Draw the filters and return what is chosen as the parameters of the question."""
    choices = ask("call_choices", scoring_run_key=night.scoring_run_key)
    chosen: dict[str, Parameter] = {"scoring_run_key": night.scoring_run_key}
    with st.expander("Filter the queue", icon=":material/filter_alt:"):
        search, least = st.columns([2, 1])
        chosen["search"] = (search.text_input("Customer id contains", key="call_search") or "").strip()
        chosen["least_profit"] = least.number_input(
            f"Expected profit of at least ({night.currency})", value=None, step=5.0, key="call_least_profit"
        )
        places = [*st.columns(3), *st.columns(3)]
        for place, (division, title) in zip(places, _DIVISIONS.items(), strict=True):
            found = choices[choices["division"] == division]
            counts = dict(zip(found["choice"], found["customer_count"], strict=True))
            picked = place.multiselect(title, list(counts), key=f"call_{division}", placeholder="All",
                                       format_func=partial(_choice_label, division, counts))  # fmt: skip
            chosen[division] = tuple(picked) or None
    return chosen


def _choice_label(division: str, counts: Mapping[str, int], choice: str) -> str:
    name = STATUSES.get(choice, choice) if division == "queue_status" else group_label(choice)
    return f"{name} ({counts.get(choice, 0):,})"


def _show_rows(rows: pd.DataFrame, chosen: Mapping[str, Parameter], queued: int, night: Night) -> None:
    found = int(rows.iloc[0]["found_count"])
    heading, button = st.columns([3, 1], vertical_alignment="bottom")
    with heading:
        section(_told_found(rows.iloc[0], found, queued, night.currency))
    with button:
        _offer_file(chosen, found, night)
    for _, row in rows.head(_CARDS).iterrows():
        _show_card(row)
    if found > _CARDS:
        section("All of them in order", _table_note(found))
        _show_table(rows, night)


def _told_found(sums: pd.Series, found: int, queued: int, currency: str) -> str:
    first = f"The first {_CARDS} and why" if found > _CARDS else "Whom to call, and why"
    if found == queued:
        return first
    profit, cost = (_money(sums[name], currency) for name in ("found_profit_amount", "found_cost_amount"))
    return f"{first}: {found:,} of {queued:,} fit the filter, expected profit {profit} at a cost of {cost}"


def _money(amount: object, currency: str) -> str:
    return show_value(amount, "currency", currency)


def _table_note(found: int) -> str:
    cut = f"The first {_MOST_SHOWN} of {found:,}. " if found > _MOST_SHOWN else ""
    return f"{cut}Tick a row to see the customer."


def _offer_file(chosen: Mapping[str, Parameter], found: int, night: Night) -> None:
    held = f"the first {MOST_ROWS:,} of {found:,} customers" if found > MOST_ROWS else f"{found:,} customers"
    st.download_button(
        "Download CSV",
        data=partial(csv_file, "call_queue", {**chosen, "most": MOST_ROWS}, _SUMS),
        file_name=f"who_to_call_first_{night.as_of_date}.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        width="stretch",
        help=f"{held} as filtered, UTF-8, at most {MOST_ROWS:,} rows; `churn-ml export retention_queue` has "
        "no limit. Text that a spreadsheet would take for a formula begins with an apostrophe.",
    )


def _show_card(row: pd.Series) -> None:
    with st.container(border=True):
        who, why, money = st.columns([3, 5, 3], gap="medium")
        with who:
            link_to_customer(row["customer_id"], f"{row['queue_position']} · {row['customer_id']}")
            st.badge(f"{group_label(row['risk_tier'] or 'not scored')} risk",
                     color=_TIER_COLOURS.get(row["risk_tier"], "gray"))  # type: ignore[arg-type]  # fmt: skip
            st.markdown(f"**{show_value(row['churn_probability'], 'percent')}** churn probability  \n"
                        f"{_told_change(row)}")  # fmt: skip
        with why:
            sentences = [row[f"reason_{rank}_sentence"] for rank in (1, 2, 3)]
            told = "\n".join(f"- {literal(sentence)}" for sentence in sentences if sentence)
            st.markdown(told or "No reason sets it apart from the average customer.")
        with money:
            st.markdown(_told_money(row))
            if row["recommended_action"]:
                st.markdown(f":material/task_alt: {literal(row['recommended_action'])}")


def _told_change(row: pd.Series) -> str:
    days = int(row["days_in_tier"])
    since = "new in this tier" if not days else f"{show_value(days, 'days')} in this tier"
    change = row["risk_change_pts"]
    if pd.isna(change):
        return f"not scored the night before · {since}"
    return f"{signed(float(change), 'points')} since the night before · {since}"


def _told_money(row: pd.Series) -> str:
    profit, cost = (
        _money(row[name], row["currency"]) for name in ("expected_profit_amount", "expected_cost_amount")
    )
    status = STATUSES.get(row["queue_status"], row["queue_status"])
    return f"Expected profit **{profit}**, cost {cost}  \n{status}"


def _show_table(rows: pd.DataFrame, night: Night) -> None:
    shown = rows[list(_TABLE)].assign(
        risk_tier=[group_label(tier) for tier in rows["risk_tier"]],
        queue_status=[STATUSES.get(status, status) for status in rows["queue_status"]],
        churn_probability=100 * rows["churn_probability"].astype(float),
        **{column: rows[column].map(group_label) for column in ("segment", "region", "contract")},
    )
    money = st.column_config.NumberColumn(format="%.2f", help=f"In {night.currency}.")
    places = {
        "Churn probability": st.column_config.NumberColumn(format="%.1f %%"),
        "Change, points": st.column_config.NumberColumn(format="%+.1f"),
        "Expected profit": money, "Expected cost": money, "Expected loss": money,
    }  # fmt: skip
    picked = st.dataframe(
        shown.rename(columns=_TABLE), hide_index=True, column_config=places, on_select="rerun",
        selection_mode="single-row", key="call_table", placeholder=NOT_KNOWN,
        alt="The queue in order, as far as it is shown",
    )  # fmt: skip
    if picked.selection.rows:
        go_to_customer(str(rows.iloc[picked.selection.rows[0]]["customer_id"]))
