"""``docs``: what every table and column means, and where it comes from."""

import typer

from churn_ml.cli.output import JsonOption, print_json
from churn_ml.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(docs)


def docs(*, as_json: JsonOption = False) -> None:
    """Write dbt's documentation and lineage as one HTML page, and print where it is."""
    from churn_ml.services.dbt import build_docs

    path = build_docs(load_settings())
    print_json({"path": path}) if as_json else print(path)
