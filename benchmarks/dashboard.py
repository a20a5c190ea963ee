"""Every page of the dashboard and every question it asks, over many customers and nights, against pandas.

``python benchmarks/dashboard.py [--customers 1000000] [--nights 30]`` builds the warehouse of
many_nights.py: everyone in `fct_churn_score` of all nights, and in the other marts of customers in the
newest night (their earlier nights hold the small business). Each page is opened with nothing kept, in
Streamlit's app test: all that the server does for it, without the browser. Printed per page: the median
seconds, and for each question asked the median milliseconds as `bi_reader`, its rows, and its share.
The peer is what a notebook does: `select *` of one night of `fct_churn_score`, of `--peer` customers at
most, grouped by contract and tenure in pandas. 1,000,000 x 30 takes about 25 GB, removed at the end.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import streamlit as st
from many_nights import many_nights
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from churn_ml.dashboard import asking, nights
from churn_ml.dashboard.shell import PAGES
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

ROUNDS = 3
WANTED_SECONDS = 2.0
APP = Path(asking.__file__).parent / "start" / "app.py"
Asked = dict[tuple[str, tuple[tuple[str, Any], ...]], list[float]]


def main() -> None:
    """Build the warehouse, open every page, ask the peer, and remove it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--business", type=int, default=5_000, help="customers of the simulated business")
    parser.add_argument("--peer", type=int, default=200_000, help="rows that pandas is given at most")
    arguments = parser.parse_args()
    with many_nights(arguments.customers, arguments.nights, arguments.business, full_nights) as settings:
        serve(settings)
        results: dict[str, Any] = {page: measure(page) for page in PAGES}
        results["peer"] = ask_pandas(settings, arguments.peer)
        slow = [page for page in PAGES if results[page]["seconds"] > WANTED_SECONDS]
        print(json.dumps(results | {f"slower than {WANTED_SECONDS:g} s": slow}, indent=2))


def full_nights(mart: str) -> int | None:
    """Keep everyone of all nights in the scores, and of the newest in the other marts of customers."""
    return None if mart == "fct_churn_score" else 1


def serve(settings: Settings) -> None:
    """Let the pages read `settings`, and load what the first page loads once."""
    for name in ("home", "dataset", "database_prefix"):
        os.environ[f"CHURN_{name.upper()}"] = str(getattr(settings, name))
    open_page(next(iter(PAGES)))


def open_page(page: str) -> None:
    """Open `page` with nothing kept."""
    st.cache_data.clear()
    app = AppTest.from_file(str(APP), default_timeout=600)
    app._page_hash = calc_hash(page)
    if page == "one_customer":
        app.query_params["customer_id"] = some_customer()
    app.run()
    problems = [str(one.value) for one in (*app.exception, *app.error)]
    if problems:
        raise SystemExit(f"{page} does not open: {problems}")


def some_customer() -> str:
    """Return a customer of the newest night."""
    found = asking.read("call_first_ids", {"scoring_run_key": nights.published_nights()[0].scoring_run_key})
    return str(found.iat[0, 0])


def measure(page: str) -> dict[str, Any]:
    """Return the median seconds of the page and of each question it asks."""
    asked: Asked = {}
    rows: dict[str, int] = {}
    seconds = []
    with patch.object(asking, "read", listening(asked, rows)), patch.object(nights, "read", asking.read):
        for _ in range(ROUNDS):
            started = time.perf_counter()
            open_page(page)
            seconds.append(time.perf_counter() - started)
    questions = {}
    for (name, _), times in asked.items():
        questions[name] = {"ms": round(1000 * statistics.median(times), 1), "rows": rows[name]}
    result = {"seconds": round(statistics.median(seconds), 2), "questions": questions}
    print(f"{page:<20} {result['seconds']:>6.2f} s, slowest "
          f"{max(questions, key=lambda name: questions[name]['ms'])}", flush=True)  # fmt: skip
    return result


def listening(asked: Asked, rows: dict[str, int]) -> Callable[..., pd.DataFrame]:
    """Return `asking.read` that also notes how long each question took, connection included."""
    answer = asking.read

    def read(name: str, parameters: Any = None) -> pd.DataFrame:
        started = time.perf_counter()
        found = answer(name, parameters)
        key = (name, tuple(sorted((one, str(value)) for one, value in (parameters or {}).items())))
        asked.setdefault(key, []).append(time.perf_counter() - started)
        rows[name] = len(found)
        return found

    return read


def ask_pandas(settings: Settings, most: int) -> dict[str, Any]:
    """Group one night in pandas after `select *`, and in Postgres, both of at most `most` customers."""
    night = "select * from marts.fct_churn_score where scoring_run_key = %(key)s limit %(most)s"
    grouped = (
        "select contract, tenure_group, count(*), sum(churn_probability), sum(value_at_risk_amount)"
        f" from ({night}) as night where churn_probability is not null group by contract, tenure_group"
    )
    with connect(settings, Role.READER) as reader:
        given = {"key": reader.execute("select max(scoring_run_key) from marts.dim_scoring_run").fetchone(),
                 "most": most}  # fmt: skip
        given["key"] = given["key"][0]  # type: ignore[index]
        here = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            groups = len(reader.execute(grouped.encode(), given).fetchall())
            here.append(time.perf_counter() - started)
        started = time.perf_counter()
        cursor = reader.execute(night.encode(), given)
        frame = pd.DataFrame(cursor.fetchall(), columns=[one.name for one in cursor.description or ()])
        frame["value_at_risk_amount"] = frame["value_at_risk_amount"].astype(float)
        scored = frame.dropna(subset=["churn_probability"])
        told = scored.groupby(["contract", "tenure_group"]).agg(
            {"customer_id": "size", "churn_probability": "sum", "value_at_risk_amount": "sum"}
        )
        there = time.perf_counter() - started
    if len(told) != groups:
        raise SystemExit(f"The peer answers otherwise: {len(told)} groups, expected {groups}")
    return {
        "rows": len(frame),
        "pandas_ms": round(1000 * there, 1),
        "postgres_ms": round(1000 * statistics.median(here), 1),
        "ratio": round(there / statistics.median(here), 1),
    }


if __name__ == "__main__":
    main()
