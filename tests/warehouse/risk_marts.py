"""What the tests of risk share: the marts that they build, and the rows of one of them."""

from datetime import date
from typing import Any

from telco_nights import CUT_OFF, DAY, rows
from untested import NO_TESTS

from churn_ml.services.dbt import run_dbt
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run

BUILT = ["customer_churn_current", "customer_tier_history", "tier_transition_daily",
         "risk_distribution_daily", "fct_churn_reason"]  # fmt: skip


def cut_off(day: date) -> Any:
    return CUT_OFF - (DAY - day)


def choose_bases(settings: Settings, run: Run) -> None:
    with connect(settings, Role.SCORER) as scorer:
        scorer.execute("select ops.choose_bases(%s)", [run.run_id])


def build_marts(settings: Settings, run: Run, *, tested: bool = False) -> None:
    """Build the marts of risk and what they are built on; the others are none of this file's."""
    selection = [f"+{mart},path:models/marts" for mart in BUILT]
    options = ["--indirect-selection", "buildable", "--exclude-resource-type", "unit_test", "--quiet"]
    options += [] if tested else NO_TESTS
    run_dbt(settings, ["build", "--select", *selection, *options], run.run_id)


def facts(settings: Settings, run: Run, columns: str, mart: str = "fct_churn_score") -> dict[str, Any]:
    found = rows(settings, f"select customer_id, {columns} from marts.{mart} where run_id = %s", [run.run_id])
    return {str(name): values for name, *values in found}
