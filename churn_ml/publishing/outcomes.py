"""What published nights expected against what happened, once their label windows closed."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

# Of each night the newest labels; customers whose outcome is not known are on neither side.
_QUERY = """
    with closed as (
        select distinct on (labels.as_of_date, labels.customer_id)
            labels.as_of_date,
            labels.customer_id,
            labels.churned,
            labels.value_lost_amount
        from features.customer_labels as labels
        inner join ops.published_runs as published using (as_of_date)
        inner join ml.model_versions as models using (label_definition)
        inner join ops.pipeline_runs as runs
            on published.run_id = runs.run_id and models.model_version = runs.model_version
        where labels.label_status in ('churned', 'retained') and labels.treatment_status <> 'treated'
        order by labels.as_of_date, labels.customer_id, labels.known_as_of desc
    )

    select
        scores.as_of_date,
        scores.run_id,
        max(scores.model_version),
        count(*),
        sum(scores.churn_probability),
        count(*) filter (where closed.churned),
        coalesce(sum(scores.expected_revenue_loss_amount), 0),
        coalesce(sum(closed.value_lost_amount), 0),
        max(scores.currency)
    from ops.published_runs as published
    inner join marts.fct_churn_score as scores using (run_id)
    inner join closed
        on scores.as_of_date = closed.as_of_date and scores.customer_id = closed.customer_id
    where scores.churn_probability is not null
    group by scores.as_of_date, scores.run_id
    order by scores.as_of_date
"""


@dataclass(frozen=True)
class MaturedNight:
    """One published night whose label window has closed: scored customers with a known outcome."""

    as_of_date: date
    run_id: str
    model_version: str
    customer_count: int
    expected_count: float
    observed_count: int
    expected_revenue_loss_amount: Decimal
    observed_revenue_loss_amount: Decimal
    currency: str


def read_matured_nights(settings: Settings) -> list[MaturedNight]:
    """Return the published nights with known outcomes, oldest first.

    Customers treated within the window are left out: the score is of what happens by itself.
    """
    with connect(settings, Role.AUDITOR) as auditor:
        return [MaturedNight(*row) for row in auditor.execute(_QUERY).fetchall()]
