"""The rooms of a night as Airflow shows them: an asset each, and a group of tasks in the graph."""

import os

from airflow import sdk

DATASET = os.environ.get("CHURN_DATASET", "subscriptions")
_HOLDS = {
    "raw": "Every file and table row that was delivered, as text, with the time from which it is known.",
    "features": "What is known of each customer at the cut-off; training and scoring read nothing else.",
    "ml": "Model versions with their bytes, metrics and gates, and which one is champion at a cut-off.",
    "scores": "A probability, its interval and three reasons for every eligible customer, one set per run.",
    "marts": "Tiers, money and who to call first, per run; audited before anybody sees them.",
    "published": "Which run BI sees for an as-of date: the night that is out.",
}
ASSETS = {
    room: sdk.Asset(
        f"{DATASET}_{room}", f"churn://{DATASET}/{room}", group=DATASET, extra={"description": holds}
    )
    for room, holds in _HOLDS.items()
}


def group(room: str, tooltip: str) -> sdk.TaskGroup:
    """Return the group of the tasks that work for `room`; their ids stay as they are."""
    return sdk.TaskGroup(room, prefix_group_id=False, tooltip=tooltip)


def tell(outlet_events, room, run, **facts):
    """Let the asset event of `room` say which run wrote it, of which day, and `facts` such as `rows`."""
    from churn_ml.settings import load_settings
    from churn_ml.warehouse.runs import read_run

    night = read_run(load_settings(), run)
    told = {"as_of_date": night.as_of_date.isoformat(), "known_as_of": night.known_as_of.isoformat()}
    outlet_events[ASSETS[room]].extra = {"run_id": run} | told | facts
