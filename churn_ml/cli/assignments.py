"""``assignments``: whom a published night's campaign treats and holds out, for the system that treats."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from churn_ml.cli.options import parse_date
from churn_ml.cli.output import JsonOption, print_fields, print_json
from churn_ml.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(assignments)


def assignments(
    *,
    as_of: Annotated[date, typer.Option(parser=parse_date, help="The day of the published night.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="The CSV file to write; it is replaced.")],
    as_json: JsonOption = False,
) -> None:
    """Write whom a published night treats and whom it holds out, as a CSV file for the CRM."""
    from churn_ml.publishing.assignments import write_assignments

    written = write_assignments(load_settings(), as_of, out)
    print_json(written) if as_json else print_fields(vars(written))
