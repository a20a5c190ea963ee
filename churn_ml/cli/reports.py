"""``report``: a night as one HTML page."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from churn_ml.cli.options import parse_date
from churn_ml.cli.output import JsonOption, print_fields, print_json
from churn_ml.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(report)


def report(
    run_id: Annotated[str | None, typer.Argument(help="A run of a night, published or not.")] = None,
    *,
    as_of: Annotated[
        date | None,
        typer.Option(parser=parse_date, help="The published night of this date. Default: the newest one."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="HTML file to write. Default: <run>.html here.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a night as one HTML page, and keep it with the run."""
    from churn_ml.dashboard.report import published_run_of, read_report, write_report

    if run_id is not None and as_of is not None:
        raise typer.BadParameter("expected a run or --as-of, found both: leave one out")
    settings = load_settings()
    run = run_id or published_run_of(settings, as_of)
    written = write_report(settings, run)
    path = output or Path(f"{run}.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(read_report(settings, run), encoding="utf-8")
    result = {
        "run_id": run,
        "as_of_date": written.as_of_date,
        "is_published": written.is_published,
        "output": path,
        "byte_count": written.byte_count,
    }
    print_json(result) if as_json else print_fields(result)
