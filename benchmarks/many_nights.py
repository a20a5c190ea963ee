"""A warehouse of many customers and consecutive published nights, multiplied in SQL from a small real one.

An embedded server of its own runs two nights of a small simulated business; the rows of the last one are
repeated into as many customers and nights as asked. Sums of the marts without customers stay those of
the small business.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from in_process import run_night, train_and_promote

from churn_ml.landing.delivery import land_path
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.simulation.business import write_business
from churn_ml.warehouse.connection import Connection, connect_admin
from churn_ml.warehouse.provision import provision

END = date(2026, 10, 31)
SEED = 7
CURRENT_NIGHTS = 5
"""Nights that a mart of current rows keeps."""
TASKS = 30
"""Measured tasks of a night on Airflow, about."""

FullNights = Callable[[str], int | None]
"""For a mart of customers: of how many of the newest nights everyone is kept; None is all of them."""


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


@contextmanager
def many_nights(customers: int, nights: int, business: int, full_nights: FullNights) -> Iterator[Settings]:
    """Build the warehouse, yield its settings, and remove it."""
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        settings = Settings(
            _env_file=None, home=Path(folder) / "home", inbox_dir=Path(folder) / "inbox",
            database_prefix="bench", candidates="base_rate,spline_logistic", search_trials=1,
            reader_timeout_seconds=3600,
        )  # fmt: skip
        start_postgres(settings)
        try:
            provision(settings)
            run_id = run_small_nights(settings, Path(folder), business)
            multiply(settings, run_id, customers, nights, full_nights)
            yield settings
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


def multiply(settings: Settings, run_id: str, customers: int, nights: int, full_nights: FullNights) -> None:
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
            rows = generate_mart(admin, mart, run_id, generated, copies, full_nights(mart))
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
        insert_like(admin, "ops", "validation_results", run_id, night)
        measure_tasks(admin, night)
        admin.execute(
            "insert into ops.published_runs (as_of_date, run_id, known_as_of) values (%s, %s, %s)",
            [night.day, night.run_id, night.day + timedelta(days=1)],
        )
    return generated


def measure_tasks(admin: Connection, night: Night) -> None:
    """Insert as many measured tasks as a night on Airflow has."""
    admin.execute(
        "insert into ops.task_measurements (run_id, task_id, verdict, started_at, finished_at, seconds,"
        " cpu_seconds, peak_memory_mb, is_peak_of_process, rows_out)"
        " select %(run_id)s, case n when 1 then 'score' else 'task_' || n end, 'succeeded',"
        " %(at)s + n * interval '1 minute', %(at)s + (n + 1) * interval '1 minute', 60, 50, 300, true, 1000"
        " from generate_series(1, %(tasks)s) as n",
        {"run_id": night.run_id, "at": night.day + timedelta(days=1), "tasks": TASKS},
    )


def insert_like(admin: Connection, schema: str, table: str, run_id: str, night: Night) -> int:
    """Insert the rows of `run_id` again as those of `night`."""
    values = {
        "run_id": f"'{night.run_id}'",
        "run_number": str(night.key),
        "scoring_run_key": str(night.key),
        "as_of_date": f"date '{night.day}'",
        "as_of_date_key": f"{night.day:%Y%m%d}",
    }
    columns = [column for column in columns_of(admin, schema, table) if not column.endswith("_result_id")]
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


def generate_mart(
    admin: Connection, mart: str, run_id: str, nights: list[Night], copies: Copies, full_nights: int | None
) -> int:
    """Replace the rows of `mart` by those of `run_id`, once per night; return their number.

    A mart of customers has everyone in its `full_nights` newest nights, and the small business before.
    """
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
    shown = nights[-CURRENT_NIGHTS:] if is_current else nights
    full = shown if full_nights is None else shown[len(shown) - min(full_nights, len(shown)) :]
    rows = 0
    for night in shown:
        per_customer = "customer_key" in columns and night in full
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
