"""``land`` and ``simulate``."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from churn_ml.cli.options import parse_date
from churn_ml.cli.output import JsonOption, print_json, print_table
from churn_ml.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(land)
    app.command()(simulate)


def land(
    path: Annotated[Path, typer.Argument(help="A CSV (also gzip) or Parquet file, or a folder of them.")],
    *,
    as_of: Annotated[
        date | None,
        typer.Option(
            parser=parse_date, help="The day the rows describe, where no YYYY-MM-DD/ folder says it."
        ),
    ] = None,
    first_load: Annotated[
        bool,
        typer.Option(
            help="A bulk history: known from each delivery's own date. Refused after the first night."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Land files in raw as text, exactly as delivered; the same file again changes nothing."""
    from churn_ml.landing.delivery import land_path

    files = land_path(load_settings(), path, as_of_date=as_of, first_load=first_load)
    if as_json:
        print_json(files)
        return
    rows = [
        (f.file_name, f.rows_in_file, f.rows_landed, f.rows_quarantined,
         "already landed" if f.is_unchanged else "landed")
        for f in files
    ]  # fmt: skip
    print_table("Landing", ["file", "rows in file", "landed", "quarantined", "result"], rows)


def simulate(
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    *,
    as_of: Annotated[date, typer.Option(parser=parse_date, help="The day the snapshot describes.")],
    customers: Annotated[int, typer.Option(min=100, help="How many customers.")] = 4000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same customers.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Write a seeded synthetic snapshot in the shape of the IBM Telco file."""
    from churn_ml.simulation.telco_shape import write_snapshot

    summary = write_snapshot(out, customers=customers, as_of_date=as_of, seed=seed)
    if as_json:
        print_json({"file": out, "summary": summary})
    else:
        print(f"{out}: {summary}")
