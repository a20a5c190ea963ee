"""A published night in a few figures, as BI sees them."""

from dataclasses import dataclass
from decimal import Decimal

from churn_ml.errors import PublishingError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

_QUERY = """
    select
        kpis.scored_customer_count,
        (
            select coalesce(sum(tiers.customer_count), 0)::bigint from marts.revenue_at_risk_daily as tiers
            where tiers.run_id = kpis.run_id and tiers.risk_tier = 'high'
        ),
        kpis.expected_revenue_loss_amount,
        kpis.expected_revenue_loss_low_amount,
        kpis.expected_revenue_loss_high_amount,
        kpis.currency
    from marts.churn_kpis_daily as kpis
    where kpis.run_id = %s
"""


@dataclass(frozen=True)
class NightSummary:
    """What a night says in one breath.

    The amounts are None where the dataset gives customers no value, the ends of the 90 % interval also
    where the model gives none.
    """

    scored_customer_count: int
    high_risk_customer_count: int
    expected_revenue_loss_amount: Decimal | None
    expected_revenue_loss_low_amount: Decimal | None
    expected_revenue_loss_high_amount: Decimal | None
    currency: str | None

    def headline(self) -> dict[str, object]:
        """Return the figures as JSON; amounts are text, so that no digit is lost."""
        return {
            name: str(value) if isinstance(value, Decimal) else value for name, value in vars(self).items()
        }


def summarise_night(settings: Settings, run_id: str) -> NightSummary:
    """Read the figures of the published run `run_id` as ``bi_reader``.

    Raises
    ------
    PublishingError
        If BI does not see that run.
    """
    with connect(settings, Role.READER) as reader:
        row = reader.execute(_QUERY, [run_id]).fetchone()
    if row is None:
        raise PublishingError(
            f"Expected BI to see run {run_id} in marts.churn_kpis_daily, found no row of it. "
            "Run `churn-ml run list` for which run is published."
        )
    return NightSummary(*row)
