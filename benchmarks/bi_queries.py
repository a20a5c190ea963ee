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
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from in_process import run_night, train_and_promote

from churn_ml.landing.delivery import land_path
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.simulation.business import write_business
from churn_ml.warehouse.connection import Connection, Role, connect, connect_admin
from churn_ml.warehouse.provision import provision

END = date(2026, 10, 31)
SEED = 7
ROUNDS, QUICK_ROUNDS, QUICK_SECONDS = 3, 15, 0.1
CURRENT_NIGHTS = 5
"""Nights that a mart of current rows keeps."""

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


@dataclass(frozen=True)
class Night:
    """One generated night."""

    run_id: str
    key: int
    day: date


@dataclass(frozen=True)
class Copies:
    """How often each customer is repeated, and how far apart the keys of two copies are."""

    count: int
    stride: int


def main() -> None:
    """Build the warehouse, ask, and remove it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--business", type=int, default=5_000, help="customers of the simulated business")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        settings = Settings(
            _env_file=None, home=Path(folder) / "home", inbox_dir=Path(folder) / "inbox",
            database_prefix="bench", candidates="base_rate,spline_logistic", search_trials=1,
            reader_timeout_seconds=3600,
        )  # fmt: skip
        start_postgres(settings)
        try:
            provision(settings)
            run_id = run_small_nights(settings, Path(folder), arguments.business)
            multiply(settings, run_id, arguments.customers, arguments.nights)
            print(json.dumps(ask_all(settings), indent=2))
        finally:
            remove_postgres(settings)


def run_small_nights(settings: Settings, folder: Path, customers: int) -> str:
    """Train on a small business and run two nights; the second states the outcomes of the first."""
    nights = [END - timedelta(days=61), END]
    write_business(
        settings.inbox, truth=folder / "truth", customers=customers, start=END - timedelta(days=420), end=END,
        seed=SEED, truth_dates=set(),
    )  # fmt: skip
    land_path(settings, settings.inbox, first_load=True)
    train_and_promote(settings, nights[0])
    return [run_night(settings, night)[0] for night in nights][-1]


def multiply(settings: Settings, run_id: str, customers: int, nights: int) -> None:
    """Leave in every mart the rows of `run_id`, once per night and, per customer, as often as needed."""
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        for parameter in ("fsync", "full_page_writes", "synchronous_commit"):
            admin.execute(f"alter system set {parameter} = off")
        admin.execute("select pg_reload_conf()")
        # The keys of generated rows agree by construction; to look each up would take hours.
        admin.execute("set session_replication_role = replica")
        admin.execute("set maintenance_work_mem = '1GB'")
        generated = generate_runs(admin, run_id, nights)
        copies = generate_customers(admin, customers)
        for mart in marts_of_runs(admin):
            started = time.monotonic()
            rows = generate_mart(admin, mart, run_id, generated, copies)
            print(f"{mart:<28} {rows:>12,} rows {time.monotonic() - started:8.1f} s", flush=True)
        admin.execute("checkpoint")


def generate_runs(admin: Connection, run_id: str, nights: int) -> list[Night]:
    """Publish `nights` runs on consecutive days, like `run_id`, and take back the simulated ones."""
    admin.execute("delete from ops.published_runs")
    [(last,)] = admin.execute("select max(run_number) from ops.pipeline_runs").fetchall()
    generated = [
        Night(f"night-{n:03d}", last + n, END - timedelta(days=nights - n)) for n in range(1, nights + 1)
    ]
    for night in generated:
        insert_like(admin, "ops", "pipeline_runs", run_id, night)
        admin.execute(
            "insert into ops.published_runs (as_of_date, run_id, known_as_of) values (%s, %s, %s)",
            [night.day, night.run_id, night.day + timedelta(days=1)],
        )
    return generated


def insert_like(admin: Connection, schema: str, table: str, run_id: str, night: Night) -> int:
    """Insert the rows of `run_id` again as those of `night`."""
    values = {
        "run_id": f"'{night.run_id}'",
        "run_number": str(night.key),
        "scoring_run_key": str(night.key),
        "as_of_date": f"date '{night.day}'",
        "as_of_date_key": f"{night.day:%Y%m%d}",
    }
    columns = columns_of(admin, schema, table)
    chosen = ", ".join(values.get(column, f"source.{column}") for column in columns)
    overriding = "overriding system value " if "run_number" in columns else ""
    return admin.execute(
        f"insert into {schema}.{table} ({', '.join(columns)}) {overriding}"
        f"select {chosen} from {schema}.{table} as source where run_id = %s",
        [run_id],
    ).rowcount


def generate_customers(admin: Connection, customers: int) -> Copies:
    """Repeat dim_customer until it has `customers` rows."""
    [(known,)] = admin.execute("select max(customer_key) from marts.dim_customer").fetchall()
    copies = -(-customers // int(known))
    admin.execute(
        "insert into marts.dim_customer (customer_key, customer_id, dataset)"
        " select customer_key + copy * %(known)s, customer_id || '-' || copy, dataset"
        " from marts.dim_customer, generate_series(1, %(last)s) as copy",
        {"known": known, "last": copies - 1},
    )
    admin.execute("analyze marts.dim_customer")
    return Copies(copies, int(known))


def marts_of_runs(admin: Connection) -> list[str]:
    """Return the marts whose rows carry their run, those of customers last."""
    return [str(mart) for (mart,) in admin.execute(
        "select relname from pg_class join pg_attribute on attrelid = pg_class.oid"
        " where relnamespace = 'marts'::regnamespace and relkind = 'r' and attname = 'run_id'"
        " order by relname = 'fct_churn_score', relname"
    ).fetchall()]  # fmt: skip


def generate_mart(admin: Connection, mart: str, run_id: str, nights: list[Night], copies: Copies) -> int:
    """Replace the rows of `mart` by those of `run_id`, once per night; return their number."""
    columns = columns_of(admin, "marts", mart)
    admin.execute(f"create temporary table source as select * from marts.{mart} where run_id = %s", [run_id])
    indexes = set_indexes_aside(admin, mart)
    admin.execute(f"delete from marts.{mart}")
    admin.execute(f"vacuum marts.{mart}")
    policy = admin.execute(
        "select polname from pg_policy where polrelid = %s::regclass and polname = 'published_runs'"
        " and pg_get_expr(polqual, polrelid) like '%%current_run_id%%'",
        [f"marts.{mart}"],
    ).fetchone()
    is_current = policy is not None
    # What nobody asks here stays small: the reasons alone are three rows per customer and night.
    per_customer = "customer_key" in columns and any(f"marts.{mart} " in q for q in QUESTIONS.values())
    rows = 0
    for night in nights[-CURRENT_NIGHTS:] if is_current else nights:
        values = {
            "run_id": f"'{night.run_id}'",
            "scoring_run_key": str(night.key),
            "scored_run_key": str(night.key),
            "scored_run_id": f"'{night.run_id}'",
            "as_of_date": f"date '{night.day}'",
            "as_of_date_key": f"{night.day:%Y%m%d}",
            "known_as_of": f"timestamptz '{night.day + timedelta(days=1)} 02:00+00'",
        }
        if per_customer:
            values |= {
                "customer_key": f"source.customer_key + copy * {copies.stride}",
                "customer_id": "case copy when 0 then source.customer_id"
                " else source.customer_id || '-' || copy end",
                "priority_rank": "source.priority_rank + copy * (select count(*) from source)::integer",
                "queue_position": "source.queue_position + copy * (select count(*) from source)::integer",
            }
        chosen = ", ".join(values.get(column, f"source.{column}") for column in columns)
        series = f"generate_series(0, {copies.count - 1 if per_customer else 0}) as copy"
        rows += admin.execute(
            f"insert into marts.{mart} ({', '.join(columns)}) select {chosen} from {series}, source"
        ).rowcount
    for definition in indexes:
        admin.execute(definition)
    admin.execute("drop table source")
    admin.execute(f"vacuum (analyze) marts.{mart}")
    if is_current:
        show_newest(admin, mart, nights[-1])
    return rows


def show_newest(admin: Connection, mart: str, night: Night) -> None:
    """Make the peer of a mart of which BI sees the newest night: a view without a policy."""
    admin.execute("create schema if not exists plain authorization churn_transformer")
    admin.execute(f"create view plain.{mart} as select * from marts.{mart} where run_id = '{night.run_id}'")
    admin.execute(f"alter view plain.{mart} owner to churn_transformer")


def set_indexes_aside(admin: Connection, mart: str) -> list[str]:
    """Drop the indexes of `mart` that hang on no other table, and return how to make them again."""
    made_again = []
    for name, definition in admin.execute(
        "select conname, pg_get_constraintdef(oid) from pg_constraint as own"
        " where conrelid = %s::regclass and contype in ('p', 'u')"
        " and not exists (select from pg_constraint as other where other.confrelid = own.conrelid)",
        [f"marts.{mart}"],
    ).fetchall():
        admin.execute(f'alter table marts.{mart} drop constraint "{name}"')
        made_again.append(f'alter table marts.{mart} add constraint "{name}" {definition}')
    for name, definition in admin.execute(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index"
        " where indrelid = %s::regclass"
        " and not exists (select from pg_constraint where conindid = indexrelid)",
        [f"marts.{mart}"],
    ).fetchall():
        admin.execute(f"drop index {name}")
        made_again.append(definition)
    return made_again


def columns_of(admin: Connection, schema: str, table: str) -> list[str]:
    """Return the columns of a table that can be inserted, in order."""
    return [str(name) for (name,) in admin.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
        " and attgenerated = '' order by attnum",
        [f"{schema}.{table}"],
    ).fetchall()]  # fmt: skip


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
