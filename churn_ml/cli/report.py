"""The result of a demonstration, read as ``bi_reader`` sees it."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

from churn_ml.cli.output import print_fields, print_table
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect

if TYPE_CHECKING:
    from churn_ml.services.airflow import AirflowEndpoint
    from churn_ml.services.nights import DagRun

_CALL_FIRST = 10
_METRICS = ("roc_auc", "log_loss", "brier", "observed_expected_ratio", "expected_observed_revenue_ratio")


@dataclass(frozen=True)
class Demonstration:
    """One published night and where to look at it."""

    run_id: str
    as_of_date: date
    model_version: str
    family: str
    customers: dict[str, int]
    tiers: list[tuple[object, ...]]
    expected_revenue_loss_amount: Decimal
    currency: str
    call_first: list[tuple[object, ...]]
    metrics: dict[str, float]
    seconds: list[tuple[str, float]]
    airflow_url: str
    airflow_user: str
    airflow_password_file: Path
    night_url: str
    data_docs: Path


def read_demonstration(
    settings: Settings, endpoint: "AirflowEndpoint", night: "DagRun", seconds: list[tuple[str, float]]
) -> Demonstration:
    """Read the published night; every figure of customers and money comes from the marts."""
    from churn_ml.models.registry import show_version

    with connect(settings, Role.READER) as reader:
        run_id, as_of_date, version, *counts = _one(
            reader,
            "select run_id, as_of_date, model_version, customer_count, active_count, scored_count"
            " from marts.dim_scoring_run order by as_of_date desc limit 1",
        )
        tiers = reader.execute(
            "select risk_tier, sum(customer_count)::bigint, sum(revenue_at_risk_amount),"
            " sum(expected_revenue_loss_amount) from marts.revenue_at_risk_daily where run_id = %s"
            " group by risk_tier, risk_tier_sort order by risk_tier_sort desc",
            [run_id],
        ).fetchall()
        loss, currency = _one(
            reader,
            "select sum(expected_revenue_loss_amount), max(currency) from marts.customer_churn_current",
        )
        call_first = reader.execute(
            "select customer_id, risk_tier, churn_probability, value_at_risk_amount,"
            " expected_revenue_loss_amount, segment, contract, tenure_group from marts.customer_churn_current"
            " where churn_probability is not null"
            " order by expected_revenue_loss_amount desc, customer_id limit %s",
            [_CALL_FIRST],
        ).fetchall()
    model = show_version(settings, str(version))
    return Demonstration(
        run_id=str(run_id),
        as_of_date=as_of_date,
        model_version=str(version),
        family=str(model["family"]),
        customers=dict(zip(("known", "active", "scored"), counts, strict=True)),
        tiers=tiers,
        expected_revenue_loss_amount=loss,
        currency=str(currency),
        call_first=call_first,
        metrics={name: model["metrics"][name] for name in _METRICS},
        seconds=seconds,
        airflow_url=endpoint.url,
        airflow_user=endpoint.user,
        airflow_password_file=endpoint.password_file,
        night_url=night.url,
        data_docs=settings.home / "data_docs" / "index.html",
    )


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
         "segment", "contract", "tenure"],
        night.call_first,
    )  # fmt: skip
    print_table(
        "Seconds per step",
        ["step", "seconds"],
        [(step, f"{seconds:7.1f}") for step, seconds in night.seconds],
    )
    print_fields(
        {
            "Customers scored": "{scored:,} of {known:,} known ({active:,} active)".format(**night.customers),
            "Expected revenue loss": f"{night.expected_revenue_loss_amount:,.2f} {night.currency}",
            "Model": f"{night.model_version} ({night.family})",
            "Out of fold": ", ".join(f"{name} {value:.3f}" for name, value in night.metrics.items()),
            "Run": night.run_id,
            "Airflow": night.airflow_url,
            "Airflow sign-in": f"user {night.airflow_user}, password in {night.airflow_password_file}",
            "This night": night.night_url,
            "Data Docs": night.data_docs.as_uri(),
            "Warehouse": 'psql "$(.venv/bin/churn-ml warehouse url --role bi_reader)"',
            "Stop": "make down",
        }
    )


def _one(reader: Connection, statement: LiteralString) -> tuple[Any, ...]:
    [row] = reader.execute(statement).fetchall()
    return row
