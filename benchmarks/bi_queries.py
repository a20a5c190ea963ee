"""Ten questions of a BI tool under row-level security against the same ones without it.

``python benchmarks/bi_queries.py [--customers 1000000] [--nights 30]`` starts an embedded server of
its own, runs two nights of a small simulated business, and multiplies the rows of the last one by
SQL into as many customers and consecutive published nights. Each question is asked three times, more
often where it is quick, as ``bi_reader`` and, as the peer, by the owner of the tables, who is under
no policy: all nights are published, and where BI sees the newest night only the peer is a view of
it. Printed per question: the median milliseconds of both, their ratio, the blocks read, and how each
table is found (under the policy). 1,000,000 x 30 takes about 20 GB, removed at the end.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator

from many_nights import END, many_nights

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect

ROUNDS, QUICK_ROUNDS, QUICK_SECONDS = 3, 15, 0.1

QUESTIONS = {
    "tonight's KPIs": "select * from marts.churn_kpis_daily where as_of_date = '{tonight}'",
    "revenue at risk by tier and segment, tonight": (
        "select risk_tier, segment, sum(revenue_at_risk_amount), sum(expected_revenue_loss_amount)"
        " from marts.revenue_at_risk_daily where as_of_date = '{tonight}'"
        " group by risk_tier, risk_tier_sort, segment order by risk_tier_sort, segment"
    ),
    "expected loss, 30 days": (
        "select as_of_date, sum(expected_revenue_loss_amount), sum(customer_count)"
        " from marts.revenue_at_risk_daily where as_of_date > date '{tonight}' - 30"
        " group by as_of_date order by as_of_date"
    ),
    "top 100 of the queue": (
        "select customer_id, risk_tier, expected_profit_amount from marts.retention_queue"
        " order by queue_position limit 100"
    ),
    "top 100 by expected loss": (
        "select customer_id, risk_tier, expected_revenue_loss_amount from marts.customer_churn_current"
        " where expected_revenue_loss_amount is not null"
        " order by expected_revenue_loss_amount desc limit 100"
    ),
    "one customer's history": (
        "select as_of_date, churn_probability, risk_tier from marts.fct_churn_score"
        " where customer_id = '{customer}' order by as_of_date"
    ),
    "one customer's history, by the relationship": (
        "select fact.as_of_date, fact.churn_probability from marts.fct_churn_score as fact"
        " inner join marts.dim_customer as customer on fact.customer_key = customer.customer_key"
        " where customer.customer_id = '{customer}' order by fact.as_of_date"
    ),
    "search by customer id, tonight": (
        "select * from marts.customer_churn_current where customer_id = '{customer}'"
    ),
    "tier transitions, 30 days": (
        "select * from marts.tier_transition_daily where as_of_date > date '{tonight}' - 30"
        " order by as_of_date"
    ),
    "risk distribution, tonight": (
        "select * from marts.risk_distribution_daily where as_of_date = '{tonight}'"
    ),
    "model performance over time": "select * from marts.model_performance order by as_of_date",
    "heatmap of contract and tenure, tonight": (
        "select contract, tenure_group, count(*), avg(churn_probability), sum(value_at_risk_amount)"
        " from marts.fct_churn_score where as_of_date = '{tonight}'"
        " group by contract, tenure_group, tenure_group_sort order by contract, tenure_group_sort"
    ),
    "heatmap, by the relationship to dim_date": (
        "select fact.contract, fact.tenure_group, count(*), avg(fact.churn_probability)"
        " from marts.fct_churn_score as fact"
        " inner join marts.dim_date as day on fact.as_of_date_key = day.date_key"
        " where day.date_day = '{tonight}' group by fact.contract, fact.tenure_group"
    ),
    "high risk by day, all nights": (
        "select as_of_date, count(*), sum(expected_revenue_loss_amount) from marts.fct_churn_score"
        " where risk_tier = 'high' group by as_of_date order by as_of_date"
    ),
}


def main() -> None:
    """Build the warehouse, ask, and remove it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--business", type=int, default=5_000, help="customers of the simulated business")
    arguments = parser.parse_args()
    with many_nights(arguments.customers, arguments.nights, arguments.business, full_nights) as settings:
        print(json.dumps(ask_all(settings), indent=2))


def full_nights(mart: str) -> int | None:
    """Keep everyone in the marts that a question reads; the reasons alone are three rows per customer."""
    return None if any(f"marts.{mart} " in question for question in QUESTIONS.values()) else 0


def ask_all(settings: Settings) -> dict[str, object]:
    """Ask every question whose mart there is, in both roles."""
    results: dict[str, object] = {}
    with connect(settings, Role.READER) as reader, connect(settings, Role.TRANSFORMER) as owner:
        [(customer,)] = reader.execute("select max(customer_id) from marts.customer_churn_current").fetchall()
        [(size,)] = owner.execute("select pg_size_pretty(pg_database_size(current_database()))").fetchall()
        results["database"] = size
        results["fct_churn_score"] = owner.execute("select count(*) from marts.fct_churn_score").fetchone()
        for name, template in QUESTIONS.items():
            question = template.format(tonight=END, customer=customer)
            table = question.split("marts.")[1].split()[0]
            if owner.execute("select to_regclass(%s)", [f"marts.{table}"]).fetchone() == (None,):
                results[name] = f"marts.{table} is not there"
                continue
            results[name] = compare(reader, owner, question, peer_of(owner, question, table))
            print(f"{name:<46} {results[name]}", flush=True)
    return results


def peer_of(owner: Connection, question: str, mart: str) -> str:
    """Return the question of the newest night's view where the mart shows only that night."""
    has_view = owner.execute("select to_regclass(%s)", [f"plain.{mart}"]).fetchone() != (None,)
    return question.replace(f"marts.{mart} ", f"plain.{mart} ") if has_view else question


def compare(reader: Connection, owner: Connection, question: str, peer: str) -> dict[str, object]:
    """Return times, ratio, blocks and the scans of one question."""
    here, there = median_milliseconds(reader, question), median_milliseconds(owner, peer)
    rows = reader.execute(question).rowcount
    if owner.execute(peer).rowcount != rows:
        raise SystemExit(f"The peer answers otherwise: {peer}")
    [(plans,)] = reader.execute(f"explain (analyze, buffers, timing off, format json) {question}").fetchall()
    plan = plans[0]["Plan"]
    return {
        "ms": round(here, 2),
        "without_policy_ms": round(there, 2),
        "ratio": round(here / there, 2),
        "rows": rows,
        "blocks": plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        "scans": sorted(set(scans(plan))),
    }


def median_milliseconds(connection: Connection, question: str) -> float:
    """Ask once to warm up, then three times, and more often what is quick."""
    rounds = QUICK_ROUNDS if ask_once(connection, question) < QUICK_SECONDS else ROUNDS
    return 1000 * statistics.median(ask_once(connection, question) for _ in range(rounds))


def ask_once(connection: Connection, question: str) -> float:
    """Return the seconds until all rows of the answer are here."""
    started = time.perf_counter()
    connection.execute(question).fetchall()
    return time.perf_counter() - started


def scans(plan: dict[str, object]) -> Iterator[str]:
    """Yield how each table is found, with the index that finds it."""
    kind = str(plan["Node Type"])
    if "Scan" in kind and kind not in {"Function Scan", "CTE Scan", "Subquery Scan"}:
        index = f" by {plan['Index Name']}" if "Index Name" in plan else ""
        relation = f" of {plan['Relation Name']}" if "Relation Name" in plan else ""
        yield f"{kind}{relation}{index}"
    children = plan.get("Plans", [])
    for child in children if isinstance(children, list) else []:
        yield from scans(child)


if __name__ == "__main__":
    main()
