"""``export``: one mart as a file."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from churn_ml.cli.output import JsonOption, print_json
from churn_ml.settings import load_settings

_STDOUT = Path("-")


def add_to(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(export)


def export(
    mart: Annotated[str, typer.Argument(help="A relation of the schema marts.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; `-` is standard output, for csv. Default: <mart>.<format> here."),
    ] = None,
    file_format: Annotated[
        Literal["csv", "parquet", "xlsx"], typer.Option("--format", help="What to write.")
    ] = "csv",
    where: Annotated[
        str | None, typer.Option(help="A condition in SQL: --where \"risk_tier = 'high'\".")
    ] = None,
    columns: Annotated[
        str, typer.Option(help="Columns, separated by commas, in this order. Default: all.")
    ] = "",
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas",
            help="For csv that a spreadsheet opens: an apostrophe before text it would take for a formula.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write what BI sees of one mart to a file, streaming, as bi_reader."""
    from churn_ml.publishing.export import export_mart

    path = out or Path(f"{mart}.{file_format}")
    chosen = [name.strip() for name in columns.split(",")] if columns else []
    written = export_mart(
        load_settings(), mart, path, file_format, where=where, columns=chosen, escape_formulas=escape_formulas
    )
    if path == _STDOUT:
        print(f"{written.row_count:,} rows", file=sys.stderr)
    elif as_json:
        print_json(written)
    else:
        print(f"{path}: {written.row_count:,} rows, {written.byte_count:,} bytes, {written.seconds:.1f} s")
