"""``model sync``."""

from typing import Annotated

import typer

from churn_ml.cli.output import JsonOption, print_fields, print_json
from churn_ml.settings import load_settings


def add_sync(group: typer.Typer) -> None:
    """Add ``sync`` to the group ``model``."""
    group.command()(sync)


def sync(
    *,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Empty the mirror first, such as after an upgrade of MLflow.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Repair the MLflow mirror: every version it lacks or shows wrongly, and the aliases."""
    from churn_ml.models.mirror import sync_mirror

    summary = sync_mirror(load_settings(), rebuild=rebuild)
    print_json(summary) if as_json else print_fields(vars(summary))
