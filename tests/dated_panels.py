"""A generated panel of a subscription business, as dbt leaves its ``features`` tables."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pandas as pd
from psycopg import sql

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.copying import copy_in

MONTH_ENDS = [
    date(2025, 11, 30), date(2025, 12, 31), date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31),
    date(2026, 4, 30), date(2026, 5, 31), date(2026, 6, 30), date(2026, 7, 31), date(2026, 8, 31),
    date(2026, 9, 30), date(2026, 10, 31),
]  # fmt: skip
TRAINING_CUT_OFF = datetime(2026, 12, 20, 2, tzinfo=UTC)
SPANS = (7, 30, 7, 3)
LABEL = "subscriptions_30d"

_COUNTS = [f"{kind}_{days}d" for kind in ("sessions", "minutes", "tickets", "contacts", "payments_failed",
           "payments_late", "searches", "exports", "plan_changes") for days in (7, 28, 90)]  # fmt: skip
FEATURES = {
    "tenure_days": "integer",
    "monthly_price_amount": "numeric",
    "discount_share": "double precision",
    "usage_trend": "double precision",
    "last_csat": "integer",
    "days_to_term_end": "integer",
    **dict.fromkeys(_COUNTS, "integer"),
    **dict.fromkeys(["contract", "plan_tier", "region", "acquisition_channel", "customer_type"], "text"),
    **dict.fromkeys(["is_auto_renewal", "has_discount", "has_usage_90d"], "boolean"),
}
_KEY = "customer_id text, as_of_date date, known_as_of timestamptz"
_TABLES = {
    "customer_population": f"{_KEY}, is_active boolean, is_eligible boolean, exclusion_reason text",
    "customer_features": f"{_KEY}, " + ", ".join(f"{name} {kind}" for name, kind in FEATURES.items()),
    "customer_labels": f"{_KEY}, label_definition text, churned boolean, label_status text, churn_date date,"
    " value_lost_amount numeric, treatment_status text",
    "customer_values": f"{_KEY}, monthly_value_amount numeric(18,2), currency text, value_status text",
    "customer_retention": f"{_KEY}, label_definition text, retained_days double precision,"
    " is_censored boolean, churn_date date",
    "customer_attributes": f"{_KEY}, segment text, region text, plan text, contract text, tenure_group text,"
    " tenure_group_sort integer",
    "decision_parameters": "dataset text, label_definition text, valid_from date, valid_to date,"
    " tier_medium_from numeric, tier_high_from numeric, value_horizon_months integer, margin_share numeric,"
    " contact_cost_amount numeric, offer_cost_amount numeric, acceptance_share numeric, currency text,"
    " max_age_days integer",
    "label_definition": "dataset text, label_definition text, gap_days integer, horizon_days integer,"
    " grace_days integer, late_allowance_days integer, is_involuntary_included boolean",
    "feature_contract": "feature_name text, data_type text, feature_window text, unit text, sensitivity text,"
    " leakage_class text, is_actionable boolean default false, position integer",
}


def cut_off(day: date) -> datetime:
    """The nightly cut-off of an as-of date."""
    return datetime.combine(day + timedelta(days=1), time(2), UTC)


def observations(
    customer_count: int, days: Sequence[date], *, seed: int = 3, log_odds: float = -4.0
) -> pd.DataFrame:
    """Return one row per customer and date until they leave: features, treatment, outcome and value."""
    rng = np.random.default_rng(seed)
    lives = pd.DataFrame({"customer_id": [f"C{number:08d}" for number in range(customer_count)]})
    lives["joined"] = rng.integers(30, 1500, customer_count)
    lives["monthly_price_amount"] = rng.choice([9.0, 19.0, 49.0], customer_count)
    lives["contract"] = rng.choice(
        ["month_to_month", "one_year", "two_year"], customer_count, p=[0.6, 0.3, 0.1]
    )
    for name, words in {
        "plan_tier": "basic standard premium", "region": "north south east west",
        "acquisition_channel": "web store partner referral", "customer_type": "consumer small_business",
    }.items():  # fmt: skip
        lives[name] = rng.choice(words.split(), customer_count)
    activity = rng.gamma(2.0, 1.0, customer_count)
    here = np.ones(customer_count, bool)
    nights = []
    for day in days:
        frame = lives.assign(
            as_of_date=day, **_behaviour(rng, activity, (day - days[0]).days, lives["joined"])
        )
        odds = log_odds + 2.0 * (frame["contract"] == "month_to_month") - 0.6 * np.minimum(activity, 3)
        odds += 0.9 * frame["tickets_28d"] - 1.2 * frame["usage_trend"].fillna(0)
        frame["churned"] = rng.random(customer_count) < 1 / (1 + np.exp(-odds))
        frame["treatment_status"] = rng.choice(
            ["none", "treated", "held_out"], customer_count, p=[0.9, 0.07, 0.03]
        )
        nights.append(frame[here])
        here &= ~frame["churned"].to_numpy()
    return pd.concat(nights, ignore_index=True).drop(columns="joined")


def _behaviour(
    rng: np.random.Generator, activity: np.ndarray, days_gone: int, joined: pd.Series
) -> dict[str, object]:
    count = len(activity)
    values: dict[str, object] = {
        "tenure_days": joined + days_gone,
        "discount_share": np.where(rng.random(count) < 0.8, 0.0, 0.2),
        "usage_trend": np.where(rng.random(count) < 0.2, np.nan, rng.normal(0, 0.5, count)),
        "last_csat": pd.array(np.where(rng.random(count) < 0.8, None, rng.integers(1, 6, count)), "Int64"),
        "days_to_term_end": pd.array(
            np.where(rng.random(count) < 0.6, None, rng.integers(0, 365, count)), "Int64"
        ),
    }
    for name in _COUNTS:
        window = int(name.rsplit("_", 1)[1][:-1])
        busy = name.startswith(("sessions", "minutes", "searches", "exports"))
        values[name] = rng.poisson(activity * window / 7 if busy else window / 120, count)
    for name, share in {"is_auto_renewal": 0.7, "has_discount": 0.2, "has_usage_90d": 0.95}.items():
        values[name] = rng.random(count) < share
    return values


def create_dated_tables(settings: Settings) -> None:
    """Create the empty tables, the contract and the label definition, as dbt's role."""
    with connect(settings, Role.TRANSFORMER) as transformer:
        for name, columns in _TABLES.items():
            transformer.execute(f"create table features.{name} ({columns})")
        transformer.execute(
            "insert into features.label_definition values ('subscriptions', %s, %s, %s, %s, %s, true)",
            [LABEL, *SPANS],
        )
        transformer.execute(
            "insert into features.decision_parameters values ('subscriptions', %s, '2015-01-01', null, 0.05,"
            " 0.15, 12, 0.6, 3, 30, 0.3, 'USD', 2)",
            [LABEL],
        )
    contract = pd.DataFrame({"name": list(FEATURES), "type": list(FEATURES.values()), "window": "point",
                             "unit": "none", "sensitivity": "none", "leakage": "safe"})  # fmt: skip
    _load(settings, "feature_contract", contract.assign(actionable=False, position=range(len(FEATURES))))


def load_panel(
    settings: Settings, run_id: str, rows: pd.DataFrame, labelled: datetime = TRAINING_CUT_OFF
) -> None:
    """Fill the tables: each date at its own cut-off, labels as known at `labelled`; all are eligible."""
    cut_offs = rows["as_of_date"].map(lambda day: cut_off(day).isoformat())
    key = rows[["customer_id", "as_of_date"]].assign(known_as_of=cut_offs)
    statuses = np.where(
        rows["churned"].eq(True), "churned", np.where(rows["churned"].isna(), "immature", "retained")
    )
    labels = key.assign(known_as_of=labelled.isoformat(), label=LABEL, churned=rows["churned"],
                        status=rows.get("label_status", pd.Series(statuses, rows.index)), churn_date=None,
                        value_lost=None, treatment_status=rows["treatment_status"])  # fmt: skip
    _load(settings, "customer_population", key.assign(active=True, eligible=True, reason=None))
    _load(settings, "customer_features", key.join(rows[list(FEATURES)]))
    _load(settings, "customer_labels", labels)
    _load(settings, "customer_values",
          key.assign(value=rows["monthly_price_amount"], currency="USD", status="known"))  # fmt: skip
    described = rows[["customer_type", "region", "plan_tier", "contract"]]
    _load(settings, "customer_attributes", key.join(described)
          .assign(tenure_group=np.where(rows["tenure_days"] < 366, "up_to_12_months", "over_12_months"),
                  sort=np.where(rows["tenure_days"] < 366, 1, 2)))  # fmt: skip
    name_nights(settings, run_id, sorted(set(rows["as_of_date"])))


def name_nights(settings: Settings, run_id: str, days: Sequence[date]) -> None:
    """State which nights the run labels."""
    with connect(settings, Role.TRANSFORMER) as transformer:
        for day in days:
            transformer.execute(
                "insert into ops.label_nights values (%s, %s, %s)", [run_id, day, cut_off(day)]
            )


def _load(settings: Settings, table: str, frame: pd.DataFrame) -> None:
    statement = sql.SQL("copy {} from stdin (format csv)").format(sql.Identifier("features", table))
    with connect(settings, Role.TRANSFORMER) as transformer:
        copy_in(transformer, statement, [frame.to_csv(index=False, header=False).encode()])
        transformer.execute(sql.SQL("analyze {}").format(sql.Identifier("features", table)))
