"""Landing streams: ten times the rows must not need more memory."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

from churn_ml.settings import Settings
from churn_ml.simulation.telco_shape import write_snapshot
from churn_ml.warehouse.connection import Role, connect

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


def peak_memory(settings: Settings, path: Path, as_of_date: date) -> int:
    """Land the file in a process of its own, and return its peak resident memory in kB."""
    environment = os.environ | {
        "CHURN_HOME": str(settings.home),
        "CHURN_DATABASE_PREFIX": settings.database_prefix,
    }
    result = subprocess.run(
        [sys.executable, "-c", LAND, str(path), as_of_date.isoformat()],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return int(result.stdout)


def test_peak_memory_does_not_grow_with_the_rows(settings: Settings, tmp_path: Path) -> None:
    peaks = []
    for rows, day in ROWS_AND_DAYS:
        path = tmp_path / f"{rows}.csv"
        write_snapshot(path, customers=rows, as_of_date=day, seed=2)
        peaks.append(peak_memory(settings, path, day))
    with connect(settings, Role.LOADER) as loader:
        landed = loader.execute("select _as_of_date, count(*) from raw.customers group by 1 order by 1")
        assert landed.fetchall() == [(day, rows) for rows, day in ROWS_AND_DAYS]
    small, large = peaks
    assert large < MOST_GROWTH * small, f"20,000 rows took {small} kB and 200,000 rows {large} kB"
