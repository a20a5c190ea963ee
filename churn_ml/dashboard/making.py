"""How a night was made: campaigns, checks, costs and the model, as parts of the page on trust."""

from collections.abc import Hashable
from typing import Any

import pandas as pd
import streamlit as st

from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.charts import Field, bars_with_interval, field, line_with_interval
from churn_ml.dashboard.formats import NOT_KNOWN, show_day, signed
from churn_ml.dashboard.formats import show as show_value
from churn_ml.dashboard.groups import group_label
from churn_ml.dashboard.layout import draw, nothing, section, table
from churn_ml.dashboard.metrics import metric
from churn_ml.dashboard.nights import Night

_VERDICTS = {
    "works": "works",
    "no_effect_seen": "no effect seen",
    "harms": "harms",
    "too_small": "too small to tell",
}
# Failed checks that are told in full; the table counts the others.
_TOLD = 20


def show_campaigns(night: Night) -> None:
    """Draw what campaigns were worth, treated against held out."""
    campaigns = ask("trust_campaigns", scoring_run_key=night.scoring_run_key)
    section(
        "What campaigns were worth",
        "Customers who left among the treated against those held out by chance. The interval holds for one "
        "look: whoever reads it every night until it says works finds effects that are not there.",
    )
    if campaigns.empty:
        nothing("No campaign runs on this dataset.")
        return
    data = campaigns.assign(
        campaign=campaigns["campaign_id"].map(group_label),
        told=campaigns["verdict"].map(_VERDICTS),
        uplift=[
            _between(row["uplift_pts"], row["uplift_pts_low"], row["uplift_pts_high"])
            for row in campaigns.to_dict("records")
        ],
    )
    table(
        data,
        {
            "campaign": "Campaign",
            "told": "Verdict",
            "treated_count": ("Treated", "integer"),
            "held_out_count": ("Held out", "integer"),
            "treated_left_share": ("Treated who left", "percent"),
            "held_out_left_share": ("Held out who left", "percent"),
            "uplift": "Uplift in points (90 %)",
            "saved_revenue_amount": ("Revenue saved", "currency"),
            "cost_amount": ("Cost", "currency"),
        },
        night.currency,
    )


def _between(value: float, low: float, high: float) -> str:
    if value != value:
        return NOT_KNOWN
    return f"{signed(value, 'decimal')} ({signed(low, 'decimal')} to {signed(high, 'decimal')})"


def show_checks(checks: pd.DataFrame) -> None:
    """Draw the gates: failed checks first, each with its reason and owner, then the counts."""
    section("The gates that the night passed", "A check that blocks keeps a night from being published.")
    if checks.empty:
        nothing("No check of this night is on record.")
        return
    failed = checks[checks["verdict"] != "pass"]
    for check in failed.head(_TOLD).to_dict("records"):
        _tell_failed(check)
    if failed.empty:
        st.success(f"All {len(checks)} checks passed.", icon=":material/check_circle:")
    counted = (
        checks.assign(place=[_place(row) for row in checks.to_dict("records")])
        .groupby("place", sort=False)
        .apply(_counts)
        .reset_index()
        .sort_values("first")
    )
    table(
        counted,
        {
            "place": "Where",
            "checks": ("Checks", "integer"),
            "passed": ("Passed", "integer"),
            "warned": ("Warned", "integer"),
            "blocked": ("Blocked", "integer"),
        },
    )


def _counts(rows: pd.DataFrame) -> pd.Series:
    failed = rows["verdict"] != "pass"
    blocks = rows["severity"] == "block"
    return pd.Series(
        {
            "checks": len(rows),
            "passed": int((~failed).sum()),
            "warned": int((failed & ~blocks).sum()),
            "blocked": int((failed & blocks).sum()),
            "first": rows["recorded_at"].min(),
        }
    )


def _place(check: dict[Hashable, Any]) -> str:
    if not check["gate"]:
        return f"dbt's tests of {check['suite']}"
    return "Gate of raw data" if check["gate"] == "raw" else f"Gate of {check['gate']}"


def _tell_failed(check: dict[Hashable, Any]) -> None:
    blocks = check["severity"] == "block"
    expected = "" if check["expected"] == check["reason"] else f"Expected: {check['expected']}. "
    told = (
        f"**{'Blocked' if blocks else 'Warning'}: {group_label(str(check['check_name'])).lower()}** "
        f"({_place(check)}, {check['table_name']}). {expected}Found: {check['observed'] or NOT_KNOWN}.\n\n"
        f"{check['reason']} Owner: {check['owner']}."
    )
    (st.error if blocks else st.warning)(told, icon=":material/cancel:" if blocks else ":material/warning:")


def show_costs(night: Night) -> None:
    """Draw what each task of the night took, its rows and memory, and the time of earlier nights."""
    tasks = ask("trust_tasks", scoring_run_key=night.scoring_run_key)
    if tasks.empty:
        section("How long the night took")
        nothing("No task of this night is on record.")
        return
    runs = ask("trust_run_times", as_of_date=night.as_of_date).sort_values("as_of_date")
    longest = tasks.sort_values("seconds").iloc[-1]
    whole = _duration(runs.loc[runs["as_of_date"] == night.as_of_date, "seconds"].max())
    most = f"{longest['task_id']} with {_duration(longest['seconds'])}"
    section(
        f"The night took {whole}; the longest task was {most}",
        "From the begin of the first task to the end of the last one; tasks may run side by side.",
    )
    draw(
        bars_with_interval(
            tasks,
            Field("task_id", "Task"),
            field(metric("task_seconds")),
            tooltip=[
                field(metric("task_rows_in"), "rows_in"),
                field(metric("task_rows_out"), "rows_out"),
                field(metric("task_peak_memory")),
            ],
        ),
        "Seconds of each task of the night.",
    )
    with st.expander("Rows and memory of each task"):
        table(
            tasks,
            {
                "task_id": "Task",
                "seconds": ("Seconds", "decimal"),
                "rows_in": ("Rows read", "integer"),
                "rows_out": ("Rows written", "integer"),
                "peak_memory_mb": ("Peak memory, MB", "integer"),
                "try_number": ("Tries", "integer"),
            },
        )
    if len(runs) > 1:
        draw(
            line_with_interval(
                runs,
                Field("as_of_date", "Night", "date"),
                Field("seconds", "Seconds of the whole night", "integer"),
                tooltip=[Field("customer_count", "Customers scored", "integer")],
                height=220,
            ),
            "Seconds that each night took.",
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def show_model(night: Night) -> None:
    """Draw which model gave the scores, and its dates."""
    section("The model that gave the scores")
    models = ask("trust_model", scoring_run_key=night.scoring_run_key)
    if models.empty:
        nothing("No model gave scores in this night: nobody was eligible.")
        return
    model = models.iloc[0]
    validated = {
        "out_of_time": "out of time: on later months than it was trained on",
        "cross_sectional": "cross-sectional: on other customers of the same snapshot",
    }
    facts = {
        "Version": str(model["model_version"]),
        "Kind": group_label(str(model["family"])),
        "Calibrated by": group_label(str(model["calibration"])),
        "Validated": validated.get(str(model["validation"]), str(model["validation"])),
        "Predicts": str(model["label_definition"]),
        "Trained as of": _day(model["trained_as_of_date"]),
        "Age on the night": show_value(model["age_days"], "days"),
        "Registered": _day(model["registered_date"]),
        "Trained on": f"{show_value(model['training_row_count'], 'integer')} rows, of which "
        f"{show_value(model['training_churned_count'], 'integer')} left",
    }
    table(
        pd.DataFrame({"what": list(facts), "told": list(facts.values())}), {"what": "Model", "told": "Fact"}
    )


def _day(day: object) -> str:
    return NOT_KNOWN if day is None or day != day else show_day(day)  # type: ignore[arg-type]
