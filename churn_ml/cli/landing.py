"""``land`` and ``land-tables``."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_ml.cli.options import parse_date
from churn_ml.cli.output import JsonOption, print_json, print_table
from churn_ml.settings import load_settings

if TYPE_CHECKING:
    from churn_ml.landing.results import LandedFile


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(land)
    app.command()(land_tables)


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

    _print_landed(land_path(load_settings(), path, as_of_date=as_of, first_load=first_load), as_json=as_json)


def land_tables(
    *,
    as_of: Annotated[date, typer.Option(parser=parse_date, help="The day for which the tables are read.")],
    first_load: Annotated[
        bool,
        typer.Option(
            help="A bulk history: known from that day's end, or as declared. Refused after the first night."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Land what is new of the declared tables of the database in CHURN_SOURCE_URL."""
    from churn_ml.landing.tables import land_tables

    landed = land_tables(load_settings(), as_of_date=as_of, known_at=None, first_load=first_load)
    _print_landed(landed, as_json=as_json)


def _print_landed(files: Sequence["LandedFile"], *, as_json: bool) -> None:
    if as_json:
        print_json(files)
        return
    rows = [
        (f.file_name, f.rows_in_file, f.rows_landed, f.rows_quarantined,
         "already landed" if f.is_unchanged else "landed")
        for f in files
    ]  # fmt: skip
    print_table("Landing", ["file", "rows in file", "landed", "quarantined", "result"], rows)
