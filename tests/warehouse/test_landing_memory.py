"""Landing streams: ten times the rows must not need more memory."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

from pydantic import SecretStr

from churn_ml.declarations import load_dataset
from churn_ml.settings import Settings
from churn_ml.simulation.telco_shape import write_snapshot
from churn_ml.warehouse.connection import Role, admin_url, connect, connect_admin

MOST_GROWTH = 1.1
ROWS_AND_DAYS = ((20_000, date(2026, 9, 30)), (200_000, date(2026, 10, 31)))

LAND = """
import sys
from datetime import date
from pathlib import Path
from churn_ml.landing.delivery import land_path
from churn_ml.settings import Settings

land_path(Settings(_env_file=None), Path(sys.argv[1]), as_of_date=date.fromisoformat(sys.argv[2]))
# Not ru_maxrss: a child's begins with what its parent had when it forked.
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(peak)
"""


LAND_TABLES = """
import sys
from datetime import date
from churn_ml.landing.tables import land_tables
from churn_ml.settings import Settings

land_tables(Settings(_env_file=None), as_of_date=date.fromisoformat(sys.argv[1]), known_at=None)
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(peak)
"""


def peak_memory(settings: Settings, program: str, *arguments: str) -> int:
    """Land in a process of its own, and return its peak resident memory in kB."""
    environment = os.environ | {
        "CHURN_HOME": str(settings.home),
        "CHURN_DATABASE_PREFIX": settings.database_prefix,
        "CHURN_DATASET": settings.dataset,
        "CHURN_PROJECT_DIR": str(settings.project_dir),
        "CHURN_SOURCE_URL": settings.source_url.get_secret_value() if settings.source_url else "",
    }
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return int(result.stdout)


def test_peak_memory_does_not_grow_with_the_rows(settings: Settings, tmp_path: Path) -> None:
    peaks = []
    for rows, day in ROWS_AND_DAYS:
        path = tmp_path / f"{rows}.csv"
        write_snapshot(path, customers=rows, as_of_date=day, seed=2)
        peaks.append(peak_memory(settings, LAND, str(path), day.isoformat()))
    with connect(settings, Role.LOADER) as loader:
        landed = loader.execute("select _as_of_date, count(*) from raw.customers group by 1 order by 1")
        assert landed.fetchall() == [(day, rows) for rows, day in ROWS_AND_DAYS]
    small, large = peaks
    assert large < MOST_GROWTH * small, f"20,000 rows took {small} kB and 200,000 rows {large} kB"


def test_peak_memory_does_not_grow_with_the_rows_of_a_table(settings: Settings, tmp_path: Path) -> None:
    declared = (settings.project_dir / "datasets" / "telco.yml").read_text(encoding="utf-8")
    (tmp_path / "datasets").mkdir()
    path = tmp_path / "datasets" / "telco.yml"
    path.write_text(declared.replace("    key:", "    table: {name: customers}\n    key:"), encoding="utf-8")
    url = SecretStr(admin_url(settings).render_as_string(hide_password=False))
    reading = settings.model_copy(update={"project_dir": tmp_path, "source_url": url})
    columns = load_dataset(reading).entities["customers"].columns
    peaks = []
    with connect_admin(settings) as admin:
        for rows, day in ROWS_AND_DAYS:
            texts = ", ".join(f"'text of {n}' as \"{column}\"" for n, column in enumerate(columns))
            admin.execute("drop table if exists customers")
            admin.execute(f"create table customers as select {texts} from generate_series(1, {rows})")
            peaks.append(peak_memory(reading, LAND_TABLES, day.isoformat()))
        admin.execute("drop table customers")
    small, large = peaks
    assert large < MOST_GROWTH * small, f"20,000 rows took {small} kB and 200,000 rows {large} kB"
