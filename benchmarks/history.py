"""What a night costs as history grows, and one night of many customers from end to end.

Run with ``python benchmarks/history.py growth [--customers 200000] [--months 18]`` or
``python benchmarks/history.py night [--customers 1000000] [--months 4] [--trained-on 20000]``. Each
starts an embedded server of its own in a temporary folder and simulates its business there.

- growth: half of the history is landed and the features of its month ends are built, then one
  further night; then the other half and one further night again. The ratios are a night's cost to
  that of the full build, and to itself at half the history.
- night: a model is trained on a smaller business of the same kind and promoted, the history is
  landed and staged, and one further night is landed, validated, built, scored, audited and published.

Peak memory is that of this process within the step; the server's is not counted.
"""

import argparse
import json
import tempfile
import time
from calendar import monthrange
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from in_process import FEATURE_LAYERS, run_night, train_and_promote

from churn_ml.landing.delivery import land_inbox, land_path
from churn_ml.services.dbt import build_layer
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.simulation.business import continue_business, write_business
from churn_ml.warehouse.provision import provision
from churn_ml.warehouse.runs import night_cut_off, open_run

END = date(2026, 10, 31)
SEED = 7


class Measurements:
    """Seconds and peak memory of each step, printed as they come."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure one step; a name that comes again adds up."""
        Path("/proc/self/clear_refs").write_text("5")
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self.seconds[name] = self.seconds.get(name, 0) + seconds
        self.peak_mb[name] = max(self.peak_mb.get(name, 0), peak_mb())
        print(f"{name:<40} {seconds:8.1f} s  peak {self.peak_mb[name]:6.0f} MB", flush=True)


def main() -> None:
    """Run one of the two measurements."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        settings = Settings(
            _env_file=None,
            home=Path(folder) / "home",
            inbox_dir=Path(folder) / "inbox",
            database_prefix="bench",
        )
        start_postgres(settings)
        try:
            provision(settings)
            measure = {"growth": measure_growth, "night": measure_night}[arguments.what]
            print(json.dumps(measure(settings, Path(folder), arguments), indent=2))
        finally:
            remove_postgres(settings)


def measure_growth(settings: Settings, folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Build all features of a growing history and one further night at half and at full length."""
    steps, half = Measurements(), arguments.months // 2
    ends = month_ends(arguments.months + 1)
    start, middle, last = ends[0] + timedelta(days=1), ends[half], ends[-1]
    truth = folder / "truth"
    with steps.step("simulate"):
        write_business(
            settings.inbox, truth=truth, customers=arguments.customers, start=start, end=middle, seed=SEED,
            truth_dates=set(),
        )  # fmt: skip
    first = build_history(settings, steps, ends[1 : half + 1], ends[0])
    first_night = further_night(settings, steps, truth, middle + timedelta(days=1), "half")
    with steps.step("simulate"):
        continue_business(settings.inbox, truth=truth, until=last)
    second = build_history(settings, steps, ends[half + 1 :], middle + timedelta(days=1))
    second_night = further_night(settings, steps, truth, last + timedelta(days=1), "full")
    return {
        "customers": arguments.customers,
        "as_of_dates": arguments.months,
        "full_build_seconds": round(first + second, 1),
        "night_at_half_seconds": round(first_night, 1),
        "night_at_full_seconds": round(second_night, 1),
        "night_share_of_full_build": round(second_night / (first + second), 4),
        "night_against_half_history": round(second_night / first_night, 3),
    }


def build_history(settings: Settings, steps: Measurements, dates: list[date], after: date) -> float:
    """Land the deliveries after `after` as a first load, stage them, and build the features of `dates`."""
    before = sum(steps.seconds.values())
    with steps.step("first load"):
        for folder in sorted(settings.inbox.iterdir()):
            if folder.name > after.isoformat():
                land_path(settings, folder, first_load=True)
    for place, day in enumerate(dates):
        run_id = open_run(settings, "night", night_cut_off(day)).run_id
        if place == 0:
            with steps.step("stage the history"):
                build_layer(settings, run_id, "staging")
        with steps.step("features of a month end"):
            build_layer(settings, run_id, "intermediate")
            build_layer(settings, run_id, "features")
    return sum(steps.seconds.values()) - before


def further_night(settings: Settings, steps: Measurements, truth: Path, day: date, length: str) -> float:
    """Deliver one more day and land, stage and build its night."""
    continue_business(settings.inbox, truth=truth, until=day)
    before = sum(steps.seconds.values())
    run_id = open_run(settings, "night", night_cut_off(day)).run_id
    with steps.step(f"night at {length} history: land"):
        land_inbox(settings, run_id)
    for layer in FEATURE_LAYERS:
        with steps.step(f"night at {length} history: {layer}"):
            build_layer(settings, run_id, layer)
    return sum(steps.seconds.values()) - before


def measure_night(settings: Settings, folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Run one night of many customers with a model that was trained on a smaller business."""
    from churn_ml.audit.champions import copy_champion

    steps = Measurements()
    small = train_small(folder, settings, arguments.trained_on, steps)
    truth, start = folder / "truth", END - timedelta(days=30 * arguments.months)
    with steps.step("simulate"):
        write_business(
            settings.inbox, truth=truth, customers=arguments.customers, start=start, end=END, seed=SEED,
            truth_dates=set(),
        )  # fmt: skip
    with steps.step("first load"):
        land_path(settings, settings.inbox, first_load=True)
    copy_champion(small, settings)
    run_id = open_run(settings, "night", night_cut_off(END)).run_id
    with steps.step("stage the history"):
        build_layer(settings, run_id, "staging")
    night_day = END + timedelta(days=1)
    continue_business(settings.inbox, truth=truth, until=night_day)
    _, scored = run_night(settings, night_day, steps.step)
    night = [seconds for name, seconds in steps.seconds.items() if name.startswith("night")]
    return {"customers": arguments.customers, "scored": scored, "night_seconds": round(sum(night), 1)}


def train_small(folder: Path, settings: Settings, customers: int, steps: Measurements) -> Settings:
    """Train and promote a model on a business of `customers`, in a database of its own."""
    small = settings.model_copy(update={"database_prefix": "small", "inbox_dir": folder / "small_inbox"})
    provision(small)
    write_business(
        small.inbox, truth=folder / "small_truth", customers=customers,
        start=END - timedelta(days=365), end=END, seed=SEED + 1, truth_dates=set(),
    )  # fmt: skip
    land_path(small, small.inbox, first_load=True)
    train_and_promote(small, END, steps.step)
    return small


def month_ends(count: int) -> list[date]:
    """Return the last `count` month ends up to END, oldest first."""
    year, month, ends = END.year, END.month, []
    for _ in range(count):
        ends.append(date(year, month, monthrange(year, month)[1]))
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    return ends[::-1]


def peak_mb() -> float:
    """Return the most memory this process held since the counter was cleared, in MB."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["growth", "night"])
    parser.add_argument("--customers", type=int)
    parser.add_argument("--months", type=int)
    parser.add_argument("--trained-on", type=int, default=20_000)
    arguments = parser.parse_args()
    customers, months = {"growth": (200_000, 18), "night": (1_000_000, 4)}[arguments.what]
    arguments.customers = arguments.customers or customers
    arguments.months = arguments.months or months
    return arguments


if __name__ == "__main__":
    main()
