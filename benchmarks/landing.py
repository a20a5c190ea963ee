"""Landing against a bare COPY of the same file into an all-text, unindexed table.

``python benchmarks/landing.py [--rows 1000000] [--rounds 5]`` starts an embedded server of its
own, writes synthetic files in the Telco shape and removes everything at the end. The two ways
alternate; each round gives one ratio, and the median of them is the figure. Then many small files
(the deliveries of 120 days of nine entities) and a table of the same server as a source.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from churn_ml.declarations import load_dataset
from churn_ml.landing.delivery import land_file, land_path
from churn_ml.landing.scan import RecordScan
from churn_ml.landing.tables import land_tables
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, admin_url, connect, connect_admin
from churn_ml.warehouse.copying import copy_in
from churn_ml.warehouse.provision import provision
from churn_ml.warehouse.sql import SQL, Identifier

AS_OF = date(2026, 10, 31)
KNOWN_AT = datetime(2026, 11, 1, 2, tzinfo=UTC)
BLOCK = 1024 * 1024
SHAPES = [
    ("Male", "DSL", "One year"),
    ("Female", "Fiber optic", "Month-to-month"),
    ("Female", "No", "Two year"),
]
TAILS = [
    f"{gender},{index % 2},Yes,No,{index % 73},Yes,No phone service,{internet},No,Yes,No,"
    f"No internet service,No,Yes,{contract},Yes,Bank transfer (automatic),"
    f"{20 + index * 7 % 9900 / 100:.2f},{index * 31 % 869000 / 100:.2f},No\n"
    for index, (gender, internet, contract) in enumerate(SHAPES * 4001)
]


def write_file(path: Path, columns: list[str], rows: int) -> None:
    """Write `rows` customers, a block of lines at a time."""
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(columns) + "\n")
        for start in range(0, rows, 10_000):
            numbers = range(start, min(start + 10_000, rows))
            file.writelines(f"{number:06d}-BENCH,{TAILS[number % len(TAILS)]}" for number in numbers)


def empty_tables(settings: Settings, columns: list[str]) -> None:
    """Leave nothing landed, and a new table for the bare COPY."""
    with connect(settings, Role.OWNER) as owner:
        owner.execute("truncate raw.customers, ops.landing_batches cascade")
        owner.execute("drop table if exists raw.bare")
        texts = SQL(", ").join(SQL("{} text").format(Identifier(column)) for column in columns)
        owner.execute(SQL("create table raw.bare ({})").format(texts))
    with connect(settings, Role.OWNER, autocommit=True) as owner:
        owner.execute("vacuum")


def land_seconds(settings: Settings, path: Path) -> float:
    """Land the file, connection and register entry included."""
    started = time.perf_counter()
    land_file(settings, path, "customers", as_of_date=AS_OF, known_at=KNOWN_AT)
    return time.perf_counter() - started


def bare_seconds(settings: Settings, path: Path) -> float:
    """COPY the file as it is, in blocks of the same size."""
    started = time.perf_counter()
    with connect(settings, Role.OWNER) as owner, path.open("rb") as file:
        statement = SQL("copy raw.bare from stdin (format csv, header true)").format()
        copy_in(owner, statement, iter(lambda: file.read(BLOCK), b""))
    return time.perf_counter() - started


def scan_seconds(path: Path) -> float:
    """Run the scan alone over the file's blocks."""
    scan, seconds = RecordScan(","), 0.0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            started = time.perf_counter()
            scan.feed(block)
            seconds += time.perf_counter() - started
    return seconds


def peak_memory(settings: Settings, *arguments: str) -> float:
    """Land in a process of its own and return its peak resident memory in MB."""
    source = settings.source_url.get_secret_value() if settings.source_url else ""
    environment = os.environ | {
        "CHURN_HOME": str(settings.home),
        "CHURN_DATASET": settings.dataset,
        "CHURN_PROJECT_DIR": str(settings.project_dir),
        "CHURN_SOURCE_URL": source,
    }
    result = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(result.stdout)


def land_and_print_peak(path: Path | None) -> None:
    """Be the process that `peak_memory` measures: land the file, or the tables."""
    if path is not None:
        land_seconds(Settings(_env_file=None), path)
    else:
        table_seconds(Settings(_env_file=None))
    # VmHWM is this program's own; ru_maxrss would still hold the parent's, from before exec.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024)


def compare(settings: Settings, path: Path, columns: list[str], rows: int, rounds: int) -> None:
    """Print each round and the median ratio."""
    ratios, landings = [], []
    for number in range(1, rounds + 1):
        empty_tables(settings, columns)
        if number % 2:
            bare, landing = bare_seconds(settings, path), land_seconds(settings, path)
        else:
            landing, bare = land_seconds(settings, path), bare_seconds(settings, path)
        ratios.append(bare / landing)
        landings.append(landing)
        print(f"round {number}: bare COPY {bare:.2f} s, landing {landing:.2f} s, ratio {bare / landing:.2f}")
    median = statistics.median(landings)
    print(f"median ratio of speeds {statistics.median(ratios):.2f} (at least 0.70 is asked)")
    print(f"landing {rows / median:,.0f} rows/s, {path.stat().st_size / median / 1e6:.0f} MB/s")
    scan = scan_seconds(path)
    print(f"the scan alone {scan:.2f} s, {scan / median:.0%} of a landing (it runs while Postgres works)")


def write_deliveries(settings: Settings, days: int) -> int:
    """Write a folder per day with a small file of every entity; return the number of files."""
    entities = load_dataset(settings).entities
    for day in range(days):
        folder = settings.inbox / str(AS_OF - timedelta(days=day))
        folder.mkdir(parents=True)
        for name, entity in entities.items():
            lines = (",".join(f"{column}{day}x{row}" for column in entity.columns) for row in range(20))
            text = "\n".join([",".join(entity.columns), *lines, ""])
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return days * len(entities)


def measure_small_files(settings: Settings) -> None:
    """Print the cost of a small file that is new, and of one that landed before."""
    files = write_deliveries(settings, 120)
    for what in ("new", "landed before"):
        started = time.perf_counter()
        land_path(settings, settings.inbox, first_load=True)
        seconds = time.perf_counter() - started
        print(f"{files:,} small files, {what}: {seconds:.2f} s, {seconds / files * 1000:.2f} ms each")


def fill_source(settings: Settings, rows: int) -> None:
    """Let the source's table hold `rows` invoices, and the warehouse none."""
    with connect(settings, Role.OWNER) as owner:
        owner.execute("truncate raw.invoices, ops.landing_batches cascade")
    with connect_admin(settings) as admin:
        admin.execute("drop table if exists invoices")
        admin.execute(
            "create table invoices as select 'I' || n as invoice_id,"
            " timestamptz '2026-10-01' + n * interval '1 second' as event_at, 1 as revision,"
            " false as is_deleted, 'C' || n % 1000 as customer_id, 'S' || n % 1000 as subscription_id,"
            " date '2026-10-15' as due_date, 49.90::numeric(12, 2) as amount, 'USD' as currency,"
            " timestamptz '2026-10-01' + n * interval '1 second' as updated_at"
            f" from generate_series(1, {rows}) as n"
        )
        admin.execute("create index on invoices (updated_at)")


def table_seconds(settings: Settings, as_of_date: date = AS_OF) -> float:
    """Land what is new of the table."""
    started = time.perf_counter()
    land_tables(settings, as_of_date=as_of_date, known_at=KNOWN_AT)
    return time.perf_counter() - started


def declare_table(settings: Settings, folder: Path) -> Settings:
    """Return settings whose dataset reads its invoices from a table of the same server."""
    declared = (settings.project_dir / "datasets" / "subscriptions.yml").read_text(encoding="utf-8")
    files = '    files: ["invoices.csv", "invoices.csv.gz", "invoices.parquet"]\n'
    table = '    table: {name: "invoices", incremental_column: "updated_at"}\n'
    (folder / "datasets").mkdir()
    path = folder / "datasets" / "subscriptions.yml"
    path.write_text(declared.replace(files, files + table), encoding="utf-8")
    url = SecretStr(admin_url(settings).render_as_string(hide_password=False))
    return settings.model_copy(update={"project_dir": folder, "source_url": url})


def measure_table(settings: Settings, rows: int) -> None:
    """Print the speed and peak memory of a table as a source, and the cost of a second landing."""
    for count in (rows // 10, rows):
        fill_source(settings, count)
        print(f"peak memory of a table of {count:,} rows: {peak_memory(settings, '--land-tables'):.0f} MB")
    fill_source(settings, rows)
    seconds = table_seconds(settings)
    again = table_seconds(settings, AS_OF + timedelta(days=1))
    third = table_seconds(settings, AS_OF + timedelta(days=2))
    print(f"table of {rows:,} rows: {seconds:.1f} s, {rows / seconds:,.0f} rows/s")
    print(f"nothing new: {again:.2f} s, and {third:.2f} s the time after")


def measure(rows: int, rounds: int) -> None:
    """Run everything on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="churn-benchmark-") as folder:
        settings = Settings(
            _env_file=None, home=Path(folder) / "home", database_prefix="churn", dataset="telco"
        )
        columns = list(load_dataset(settings).entities["customers"].columns)
        try:
            start_postgres(settings)
            provision(settings)
            path = Path(folder) / "customers.csv"
            write_file(path, columns, rows)
            print(f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB")
            compare(settings, path, columns, rows, rounds)
            for count in (rows // 10, rows):
                write_file(path, columns, count)
                empty_tables(settings, columns)
                print(f"peak memory at {count:,} rows: {peak_memory(settings, '--land', str(path)):.0f} MB")
            dated = settings.model_copy(update={"dataset": "subscriptions"})
            provision(dated)
            measure_small_files(dated)
            measure_table(declare_table(dated, Path(folder)), rows)
        finally:
            remove_postgres(settings)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--land", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--land-tables", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.land or arguments.land_tables:
        land_and_print_peak(arguments.land)
    else:
        measure(arguments.rows, arguments.rounds)


if __name__ == "__main__":
    main()
