"""What published nights expected against what happened, once their label windows closed."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

_QUERY = """
    select
        scored_as_of_date,
        scored_run_id,
        model_version,
        measured_count,
        expected_churned_count,
        churned_count,
        coalesce(expected_revenue_loss_amount, 0),
        expected_revenue_loss_low_amount,
        expected_revenue_loss_high_amount,
        coalesce(value_lost_amount, 0),
        currency,
        roc_auc
    from marts.model_performance
    where measured_count > 0
    order by scored_as_of_date
"""


@dataclass(frozen=True)
class MaturedNight:
    """One published night whose label window has closed: scored customers with a known outcome.

    The ends of the 90 % interval of the loss are None where the model gives none, `roc_auc` where all
    customers came to the same.
    """

    as_of_date: date
    run_id: str
    model_version: str
    customer_count: int
    expected_count: float
    observed_count: int
    expected_revenue_loss_amount: Decimal
    expected_revenue_loss_low_amount: Decimal | None
    expected_revenue_loss_high_amount: Decimal | None
    observed_revenue_loss_amount: Decimal
    currency: str
    roc_auc: float | None


def read_matured_nights(settings: Settings) -> list[MaturedNight]:
    """Return the published nights with known outcomes as BI sees them, oldest first.

    Customers treated within the window are left out: the score is of what happens by itself.
    """
    with connect(settings, Role.READER) as reader:
        return [MaturedNight(*row) for row in reader.execute(_QUERY).fetchall()]
