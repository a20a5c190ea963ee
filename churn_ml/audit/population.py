"""Exactly one row per customer: the population against a second reading, scores and marts against it."""

from dataclasses import dataclass

from churn_ml.audit.comparison import LISTED, Difference
from churn_ml.audit.sample import end_of
from churn_ml.services.dated_nights import Night
from churn_ml.warehouse.connection import Connection

_OPEN_CUSTOMERS = """
    select customer_id
    from (
        select distinct on (customer_id, subscription_id) customer_id, change_type
        from staging.stg_subscriptions__subscriptions
        where reject_reason is null and not is_deleted and event_at < %(end)s and known_at <= %(known_as_of)s
            and (superseded_at is null or superseded_at > %(known_as_of)s)
        order by customer_id, subscription_id, event_at desc, change_id collate "C" desc
    ) as newest
    where change_type not in ('end_voluntary', 'end_involuntary')
    group by customer_id
"""
_THIS_NIGHT = "where as_of_date = %(as_of_date)s and known_as_of = %(known_as_of)s"
_WRONG = f"""
    with active as ({_OPEN_CUSTOMERS}),
    population as (
        select customer_id, count(*) as row_count, bool_or(is_active) as is_active,
            bool_or(is_eligible) as is_eligible
        from features.customer_population {_THIS_NIGHT} group by 1
    ),
    required as (
        select 'features.customer_population' as relation, customer_id, '(rows)' as item, '1' as expected,
            coalesce(population.row_count, 0)::text as found
        from active full join population using (customer_id)
        union all
        select 'features.customer_population', customer_id, 'is_active',
            (active.customer_id is not null)::text, population.is_active::text
        from population left join active using (customer_id)
        union all
        select 'features.customer_features', customer_id, '(rows)', '1', count(features.customer_id)::text
        from population
        left join (select customer_id from features.customer_features {_THIS_NIGHT}) as features
            using (customer_id)
        where population.is_eligible
        group by customer_id
    )
    select relation, customer_id, item, expected, found from required
    where found is distinct from expected
    order by 1, 2, 3
    limit {LISTED}
"""  # noqa: S608 - no value comes from outside
_WRONGLY_SCORED = f"""
    with population as (
        select customer_id, bool_or(is_eligible) as is_eligible, bool_or(is_active) as is_active
        from features.customer_population {_THIS_NIGHT} group by 1
    ),
    found as (
        select 'scores.customer_scores' as relation, customer_id from scores.customer_scores
        where run_id = %(run_id)s
        union all
        select 'marts.fct_churn_score', customer_id from marts.fct_churn_score where run_id = %(run_id)s
        union all
        select 'marts.customer_churn_current', customer_id from marts.customer_churn_current
        where run_id = %(run_id)s
    ),
    required as (
        select 'scores.customer_scores' as relation, customer_id from population where is_eligible
        union all
        select 'marts.fct_churn_score', customer_id from population
        union all
        select 'marts.customer_churn_current', customer_id from population where is_active
    ),
    counted as (
        select relation, customer_id, count(*) as row_count from found group by 1, 2
    )
    select relation, customer_id, '(rows)', (required.customer_id is not null)::integer::text,
        coalesce(row_count, 0)::text
    from required full join counted using (relation, customer_id)
    where coalesce(row_count, 0) <> (required.customer_id is not null)::integer
    order by relation, customer_id collate "C"
    limit {LISTED}
"""  # noqa: S608
_COUNTS = f"""
    select (select count(*) from ({_OPEN_CUSTOMERS}) as active),
        count(*), count(*) filter (where is_eligible)
    from features.customer_population {_THIS_NIGHT}
"""  # noqa: S608


@dataclass(frozen=True)
class Counts:
    """Customers active by the histories, rows of the population, and eligible ones among them."""

    active: int
    population: int
    eligible: int


def find_wrong_customers(connection: Connection, night: Night) -> tuple[Counts, list[Difference]]:
    """Return the counts of `night` and what differs from one row per active customer.

    `then` of a difference is what was expected and `now` what was found.
    """
    values = {"as_of_date": night.as_of_date, "known_as_of": night.known_as_of, "end": end_of(night)}
    [counts] = connection.execute(_COUNTS, values).fetchall()
    return Counts(*counts), [Difference(*row) for row in connection.execute(_WRONG, values).fetchall()]


def find_unscored_customers(
    connection: Connection, night: Night, run_id: str
) -> tuple[int, int, list[Difference]]:
    """Return the scores and mart rows of `run_id` and what differs from one per customer of `night`.

    Eligible customers have a score, all have a row of the mart, and active ones one of the current mart.
    """
    values = {"as_of_date": night.as_of_date, "known_as_of": night.known_as_of, "run_id": run_id}
    [(scores, mart_rows)] = connection.execute(
        "select (select count(*) from scores.customer_scores where run_id = %(run_id)s),"
        " (select count(*) from marts.fct_churn_score where run_id = %(run_id)s)",
        values,
    ).fetchall()
    wrong = connection.execute(_WRONGLY_SCORED, values).fetchall()
    return scores, mart_rows, [Difference(*row) for row in wrong]
