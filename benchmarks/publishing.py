"""Publishing and un-publishing a night of many customers, and what a reader sees who polls all the while.

Run with ``python benchmarks/publishing.py [--customers 10000] [--publications 100]``. It starts an
embedded server of its own in a temporary folder and runs one small night through every room. Its rows
are multiplied by SQL into two runs of that night with as many customers as asked for, in every mart.

- publish, un-publish: the transaction that shows or hides the night, as the median of several.
- peer: a copy of every mart without row-level security that holds published rows only, with the same
  indexes: publishing deletes the night's rows and inserts the other run's, in one transaction.
- hash: what `bi_reader` sees of the run, hashed mart by mart once it is published.
- poll: a process that reads every mart as `bi_reader` in one snapshot, over and over, while the two runs
  are published in turn and un-published; numbers of rows and sums must be those of one of them.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from in_process import run_night, train_and_promote
from psycopg import sql

from churn_ml.landing.delivery import land_path
from churn_ml.publishing.fingerprints import marts_with_run_id, take_fingerprints
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.simulation.telco_shape import write_snapshot
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.provision import provision

DAY = date(2026, 10, 31)
SMALL = 400
REPEATS = 5
RUNS = ("published-a", "published-b")
Content = dict[str, dict[str, tuple[object, ...]]]


def main() -> None:
    """Build the two runs, measure, poll, and print what was found."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        settings = Settings(
            _env_file=None, home=Path(folder) / "home", inbox_dir=Path(folder) / "inbox",
            database_prefix="bench", dataset="telco", candidates="spline_logistic", search_trials=1,
        )  # fmt: skip
        start_postgres(settings)
        try:
            provision(settings)
            found = measure(settings, arguments.customers, arguments.publications)
            print(json.dumps(found, indent=2))
            if found["wrong_polls"]:
                raise SystemExit("a poll saw what no published night explains")
        finally:
            remove_postgres(settings)


def measure(settings: Settings, customers: int, publications: int) -> dict[str, Any]:
    """Return the seconds of publishing, of its peer and of hashing, and what the polls saw."""
    small = build_small_night(settings)
    started = time.monotonic()
    marts = multiply(settings, small, customers)
    print(f"{customers} customers in {len(marts)} marts, {time.monotonic() - started:.0f} s", flush=True)
    make_peer(settings, marts)
    whole = read_whole(settings, marts)
    rows = sum(int(str(told[RUNS[0]][0])) for told in whole.values() if RUNS[0] in told)
    publish, unpublish = measure_publishing(settings)
    peer_publish = median(lambda number: peer_show(settings, marts, RUNS[number % 2]), 2)
    peer_unpublish = timed(lambda: peer_hide(settings, marts))
    hashing = timed(lambda: take_fingerprints(settings, RUNS[0]))
    polls, wrong = poll_while_publishing(settings, marts, whole, publications)
    return {
        "customers": customers,
        "marts": len(marts),
        "rows_of_a_night": rows,
        "publish_seconds": round(publish, 5),
        "unpublish_seconds": round(unpublish, 5),
        "peer_publish_seconds": round(peer_publish, 3),
        "peer_unpublish_seconds": round(peer_unpublish, 3),
        "publish_against_peer": round(publish / peer_publish, 6),
        "unpublish_against_peer": round(unpublish / peer_unpublish, 6),
        "hash_seconds": round(hashing, 2),
        "publications": publications,
        "polls": polls,
        "wrong_polls": wrong,
    }


def build_small_night(settings: Settings) -> str:
    """Run a small night through every room and un-publish it; its rows are what is multiplied."""
    for day, seed in ((date(2026, 9, 30), 1), (DAY, 1)):
        folder = settings.inbox / day.isoformat()
        folder.mkdir(parents=True)
        write_snapshot(folder / "customers.csv", customers=2500, as_of_date=day, seed=seed)
        if day != DAY:
            land_path(settings, folder, first_load=True)
            train_and_promote(settings, day)
    run_id, _ = run_night(settings, DAY)
    with connect(settings, Role.PUBLISHER) as publisher:
        publisher.execute("select ops.unpublish_run(%s, 'benchmark')", [run_id])
    return run_id


def multiply(settings: Settings, run_id: str, customers: int) -> list[str]:
    """Write two runs of `customers` into every mart, each customer a copy of one of the small night."""
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "create table ops.copied_customers as select (number + most)::integer as customer_key,"
            " 'bench-' || number as customer_id,"
            " (number - 1) %% %s + 1 as place"
            " from generate_series(1, %s) as number"
            " cross join (select max(customer_key) as most from marts.dim_customer) as keyed",
            [SMALL, customers],
        )
        owner.execute(
            "create table ops.template_customers as"
            " select customer_key, row_number() over (order by customer_key) as place"
            " from marts.fct_churn_score where run_id = %s and churn_probability is not null limit %s",
            [run_id, SMALL],
        )
        insert(owner, "dim_customer", None, run_id)
        marts = sorted(marts_with_run_id(owner), key=lambda mart: mart != "dim_scoring_run")
        for name in RUNS:
            open_copy(owner, run_id, name)
            for mart in marts:
                insert(owner, mart, name, run_id)
    with connect(settings, Role.OWNER, autocommit=True) as owner:
        owner.execute("set role churn_transformer")
        for mart in marts:
            owner.execute(sql.SQL("vacuum analyze {}").format(sql.Identifier("marts", mart)))
    return marts


def open_copy(owner: Connection, run_id: str, name: str) -> None:
    """Open run `name` of the same night as `run_id`, audited."""
    owner.execute(
        "insert into ops.pipeline_runs (run_id, run_kind, dataset, as_of_date, known_as_of, status,"
        " model_version, code_version, configuration_sha256, label_definition, marts_begun_at)"
        " select %s, run_kind, dataset, as_of_date, known_as_of, 'running', model_version, code_version,"
        " configuration_sha256, label_definition, clock_timestamp() from ops.pipeline_runs where run_id = %s",
        [name, run_id],
    )
    owner.execute(
        "insert into ops.validation_results (run_id, gate, suite, check_name, table_name, severity, verdict,"
        " expected, owner, reason)"
        " values (%s, 'marts', 'benchmark', 'none', 'none', 'block', 'pass', '', '', '')",
        [name],
    )


def insert(owner: Connection, mart: str, name: str | None, run_id: str) -> None:
    """Copy the rows of `run_id` in `mart` for run `name`, once per customer where they have one."""
    columns = [
        str(column)
        for (column,) in owner.execute(
            "select column_name from information_schema.columns"
            " where table_schema = 'marts' and table_name = %s",
            [mart],
        ).fetchall()
    ]
    given = {"customer_key": "copies.customer_key", "customer_id": "copies.customer_id"}
    given |= {"run_id": "runs.run_id", "scoring_run_key": "runs.run_number"} if name else {}
    values = [sql.SQL(given.get(column, f'"rows"."{column}"')) for column in columns]
    joins = []
    if "customer_key" in columns:
        joins.append(
            "inner join ops.template_customers as templates on rows.customer_key = templates.customer_key"
            " inner join ops.copied_customers as copies on templates.place = copies.place"
        )
    if name:
        joins.append("inner join ops.pipeline_runs as runs on runs.run_id = {name}")
    statement = sql.SQL(
        'insert into {mart} ({columns}) select {values} from {mart} as "rows" ' + " ".join(joins)
        + (" where rows.run_id = {run_id}" if name else "")
    )  # fmt: skip
    owner.execute(
        statement.format(
            mart=sql.Identifier("marts", mart), columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            values=sql.SQL(", ").join(values), name=sql.Literal(name), run_id=sql.Literal(run_id),
        )
    )  # fmt: skip


def make_peer(settings: Settings, marts: list[str]) -> None:
    """Make an empty copy of every mart, with its indexes and without policies."""
    with connect(settings, Role.OWNER) as owner:
        owner.execute("create schema peer")
        for mart in marts:
            owner.execute(
                sql.SQL("create table {} (like {} including indexes)").format(
                    sql.Identifier("peer", mart), sql.Identifier("marts", mart)
                )
            )


def peer_show(settings: Settings, marts: list[str], run_id: str) -> None:
    """Put the rows of `run_id` in the place of the night's, in one transaction."""
    with connect(settings, Role.OWNER) as owner:
        for mart in marts:
            names = {"peer": sql.Identifier("peer", mart), "mart": sql.Identifier("marts", mart)}
            owner.execute(
                sql.SQL("delete from {peer} where as_of_date = {day}").format(day=sql.Literal(DAY), **names)
            )
            owner.execute(
                sql.SQL("insert into {peer} select * from {mart} where run_id = {run_id}").format(
                    run_id=sql.Literal(run_id), **names
                )
            )


def peer_hide(settings: Settings, marts: list[str]) -> None:
    """Delete the night's rows from every copy."""
    with connect(settings, Role.OWNER) as owner:
        for mart in marts:
            owner.execute(
                sql.SQL("delete from {} where as_of_date = {}").format(
                    sql.Identifier("peer", mart), sql.Literal(DAY)
                )
            )


def show(publisher: Connection, run_id: str) -> None:
    """Publish `run_id`, in the place of the other where that is published."""
    publisher.execute("select ops.publish_run(%s, 'benchmark')", [run_id])


def hide(publisher: Connection, run_id: str) -> None:
    """Un-publish `run_id`."""
    publisher.execute("select ops.unpublish_run(%s, 'benchmark')", [run_id])


def measure_publishing(settings: Settings) -> tuple[float, float]:
    """Return the median seconds of publishing and of un-publishing; ends with the first run shown."""
    with connect(settings, Role.PUBLISHER, autocommit=True) as publisher:
        show(publisher, RUNS[0])
        shown = median(lambda number: show(publisher, RUNS[(number + 1) % 2]), 2 * REPEATS)
        hidden = []
        for _ in range(REPEATS):
            show(publisher, RUNS[0])
            hidden.append(timed(lambda: hide(publisher, RUNS[0])))
        show(publisher, RUNS[0])
    return shown, statistics.median(hidden)


def contents(connection: Connection, marts: list[str]) -> Content:
    """Return of each mart, by run, the number of rows and the sums of its exact numbers."""
    found: Content = {}
    for mart in marts:
        summed = [
            sql.SQL("sum({})").format(sql.Identifier(str(column)))
            for (column,) in connection.execute(
                "select column_name from information_schema.columns where table_schema = 'marts'"
                " and table_name = %s and data_type in ('numeric', 'integer', 'bigint') order by column_name",
                [mart],
            ).fetchall()
        ]
        told = connection.execute(
            sql.SQL("select run_id, {} from {} group by run_id").format(
                sql.SQL(", ").join([sql.SQL("count(*)"), *summed]), sql.Identifier("marts", mart)
            )
        ).fetchall()
        found[mart] = {str(run_id): tuple(sums) for run_id, *sums in told}
    return found


def read_whole(settings: Settings, marts: list[str]) -> Content:
    """Return what each of the two runs holds."""
    with connect(settings, Role.AUDITOR) as auditor:
        return {
            mart: {run_id: sums for run_id, sums in told.items() if run_id in RUNS}
            for mart, told in contents(auditor, marts).items()
        }


def poll_while_publishing(
    settings: Settings, marts: list[str], whole: Content, publications: int
) -> tuple[int, int]:
    """Publish and un-publish in turn while another process polls; return its polls and the wrong ones."""
    context = multiprocessing.get_context("spawn")
    stop, polls, wrong = context.Event(), context.Value("q", 0), context.Value("q", 0)
    poller = context.Process(target=poll, args=(settings, marts, whole, stop, polls, wrong))
    poller.start()
    publisher = connect(settings, Role.PUBLISHER, autocommit=True)
    try:
        done = 0
        while poller.is_alive() and (done < publications or polls.value < 3):
            show(publisher, RUNS[done % 2])
            if done % 3 == 2:
                hide(publisher, RUNS[done % 2])
            done += 1
            target = polls.value + (1 if done % 10 == 0 else 0)
            while poller.is_alive() and polls.value < target:
                time.sleep(0.01)
    finally:
        stop.set()
        publisher.close()
        poller.join()
    return polls.value, wrong.value


def poll(settings: Settings, marts: list[str], whole: Content, stop: Event, polls: Any, wrong: Any) -> None:
    """Read every mart in one snapshot until told to stop; all must tell one whole run, or none."""
    with connect(settings, Role.READER, autocommit=True) as reader:
        while not stop.is_set():
            with reader.transaction():
                reader.execute("set transaction isolation level repeatable read")
                found = contents(reader, marts)
            shown = set(found["dim_scoring_run"])
            due = {
                mart: {run_id: told[run_id] for run_id in shown & told.keys()} for mart, told in whole.items()
            }
            if len(shown) > 1 or found != due:
                wrong.value += 1
            polls.value += 1


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median(work: Callable[[int], object], repeats: int) -> float:
    """Return the median seconds of `work`, which is given its number."""
    return statistics.median([timed(lambda number=number: work(number)) for number in range(repeats)])


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--publications", type=int, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    main()
