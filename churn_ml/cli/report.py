"""The result of a demonstration, read as ``bi_reader`` sees it."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_ml.cli.output import print_fields, print_table
from churn_ml.errors import PublishingError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect

if TYPE_CHECKING:
    from churn_ml.publishing.outcomes import MaturedNight
    from churn_ml.services.airflow import AirflowEndpoint
    from churn_ml.services.dashboard import DashboardEndpoint
    from churn_ml.services.nights import DagRun

_CALL_FIRST = 10
_METRICS = ("roc_auc", "log_loss", "brier", "observed_expected_ratio", "observed_expected_money_ratio")


@dataclass(frozen=True)
class Demonstration:
    """One published night and where to look at it."""

    run_id: str
    as_of_date: date
    model_version: str
    family: str
    customers: dict[str, int]
    tiers: list[tuple[Any, ...]]
    expected_revenue_loss_amount: Decimal | None
    currency: str
    call_first: list[tuple[Any, ...]]
    metrics: dict[str, float]
    validation: str
    nights: list[tuple[Any, ...]]
    matured_nights: "list[MaturedNight]"
    seconds: list[tuple[str, float]]
    dashboard_url: str
    airflow_url: str
    airflow_user: str
    airflow_password_file: Path
    night_url: str
    data_docs: Path


def read_demonstration(
    settings: Settings,
    endpoint: "AirflowEndpoint",
    pages: "DashboardEndpoint",
    night: "DagRun",
    seconds: list[tuple[str, float]],
) -> Demonstration:
    """Read the night's own run; every figure of customers and money comes from the marts.

    Raises
    ------
    PublishingError
        If BI sees no row of that run: its snapshot was published by another night already.
    """
    from churn_ml.models.registry import show_version
    from churn_ml.publishing.outcomes import read_matured_nights

    with connect(settings, Role.READER) as reader:
        as_of_date, version, currency, *counts = _read_run(reader, night.run_id)
        tiers = _read_tiers(reader, night.run_id)
        call_first = _read_call_first(reader, night.run_id)
        nights = _read_nights(reader)
    model = show_version(settings, version)
    losses = [loss for _, _, _, loss in tiers if loss is not None]
    return Demonstration(
        run_id=night.run_id,
        as_of_date=as_of_date,
        model_version=version,
        family=str(model["family"]),
        customers=dict(zip(("known", "active", "scored"), counts, strict=True)),
        tiers=tiers,
        expected_revenue_loss_amount=sum(losses, Decimal(0)) if losses else None,
        currency=currency,
        call_first=call_first,
        metrics={name: model["metrics"][name] for name in _METRICS if model["metrics"].get(name) is not None},
        validation=str(model["validation"]),
        nights=nights,
        matured_nights=read_matured_nights(settings),
        seconds=seconds,
        dashboard_url=pages.url,
        airflow_url=endpoint.url,
        airflow_user=endpoint.user,
        airflow_password_file=endpoint.password_file,
        night_url=night.url,
        data_docs=settings.home / "data_docs" / "index.html",
    )


def _read_run(reader: Connection, run_id: str) -> tuple[Any, ...]:
    row = reader.execute(
        "select as_of_date, model_version, (select max(currency) from marts.revenue_at_risk_daily"
        " where run_id = runs.run_id), customer_count, active_count, scored_count"
        " from marts.dim_scoring_run as runs where run_id = %s",
        [run_id],
    ).fetchone()
    if row is None:
        raise PublishingError(
            f"Expected BI to see run {run_id}, found no row of it in marts.dim_scoring_run: its snapshot was "
            "published by another night. Run `churn-ml run list` for which one."
        )
    return row


def _read_tiers(reader: Connection, run_id: str) -> list[tuple[Any, ...]]:
    return reader.execute(
        "select risk_tier, sum(customer_count)::bigint, sum(revenue_at_risk_amount),"
        " sum(expected_revenue_loss_amount) from marts.revenue_at_risk_daily where run_id = %s"
        " group by risk_tier, risk_tier_sort order by risk_tier_sort desc",
        [run_id],
    ).fetchall()


def _read_nights(reader: Connection) -> list[tuple[Any, ...]]:
    """Return every published night: who was scored, who at high risk, what was expected."""
    return reader.execute(
        "select runs.as_of_date, runs.scored_count,"
        " sum(daily.customer_count) filter (where daily.risk_tier = 'high'),"
        " sum(daily.mean_churn_probability * daily.customer_count) / sum(daily.customer_count),"
        " sum(daily.expected_revenue_loss_amount)"
        " from marts.dim_scoring_run as runs inner join marts.revenue_at_risk_daily as daily using (run_id)"
        " group by runs.as_of_date, runs.scored_count order by runs.as_of_date"
    ).fetchall()


def _read_call_first(reader: Connection, run_id: str) -> list[tuple[Any, ...]]:
    return reader.execute(
        "select scores.customer_id, scores.risk_tier, scores.churn_probability,"
        " scores.value_at_risk_amount, scores.expected_revenue_loss_amount, explained.reason_1_sentence,"
        " explained.recommended_action from marts.fct_churn_score as scores"
        " left join marts.customer_churn_current as explained using (run_id, customer_id)"
        " where run_id = %s and scores.is_active and scores.churn_probability is not null"
        " order by scores.expected_revenue_loss_amount desc nulls last, scores.churn_probability desc,"
        " customer_id limit %s",
        [run_id, _CALL_FIRST],
    ).fetchall()


def print_demonstration(night: Demonstration) -> None:
    """Print what a person wants to know first."""
    print()
    print_table(
        f"Risk tiers on {night.as_of_date} ({night.currency})",
        ["tier", "customers", "revenue at risk", "expected revenue loss"],
        night.tiers,
    )
    print_table(
        "The ten customers to call first",
        ["customer", "tier", "churn probability", "value at risk", "expected revenue loss",
         "first reason", "recommended action"],
        night.call_first,
    )  # fmt: skip
    if len(night.nights) > 1:
        _print_history(night)
    print_table(
        "Seconds per step",
        ["step", "seconds"],
        [(step, f"{seconds:7.1f}") for step, seconds in night.seconds],
    )
    print_fields(
        {
            "Customers scored": "{scored:,} of {known:,} known ({active:,} active)".format(**night.customers),
            "Expected revenue loss": _money(night.expected_revenue_loss_amount, night.currency),
            "Model": f"{night.model_version} ({night.family})",
            "Out of time" if night.validation == "out_of_time" else "Out of fold": ", ".join(
                f"{name} {value:.3f}" for name, value in night.metrics.items()
            ),
            "Run": night.run_id,
            "Dashboard": night.dashboard_url,
            "Airflow": night.airflow_url,
            "Airflow sign-in": f"user {night.airflow_user}, password in {night.airflow_password_file}",
            "This night": night.night_url,
            "Data Docs": night.data_docs.as_uri(),
            "Warehouse": ".venv/bin/churn-ml warehouse psql",
            "Stop": "make down",
        }
    )


def _money(amount: Decimal | None, currency: str) -> str:
    return "not known: the dataset declares no value" if amount is None else f"{amount:,.2f} {currency}"


def _print_history(night: Demonstration) -> None:
    print_table(
        "Published nights",
        ["as-of date", "scored", "high risk", "mean churn probability", "expected revenue loss"],
        [(day, scored, high or 0, f"{mean:.4f}", loss) for day, scored, high, mean, loss in night.nights],
    )
    print_table(
        "Nights whose outcome is known: expected against observed",
        ["as-of date", "customers", "churned: expected", "observed", "revenue loss: expected",
         "90 % interval", "observed"],
        [
            (matured.as_of_date, matured.customer_count, f"{matured.expected_count:.1f}",
             matured.observed_count, matured.expected_revenue_loss_amount, _interval(matured),
             matured.observed_revenue_loss_amount)
            for matured in night.matured_nights
        ],
    )  # fmt: skip


def _interval(matured: "MaturedNight") -> str:
    low, high = matured.expected_revenue_loss_low_amount, matured.expected_revenue_loss_high_amount
    return "none" if low is None or high is None else f"{low:,.2f} to {high:,.2f}"
