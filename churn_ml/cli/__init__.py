"""The ``churn-ml`` command: arguments in, one call into a room, its result printed."""

import logging
import sys

import typer

from churn_ml.cli import (
    assignments,
    audit,
    dashboard,
    demo,
    docs,
    export,
    landing,
    metabase,
    models,
    nights,
    power_bi,
    reports,
    runs,
    services,
    simulation,
    warehouse,
)
from churn_ml.errors import ChurnError

app = typer.Typer(
    name="churn-ml",
    help="Nightly batch scoring of customer churn: who will churn next, how much revenue is at risk, "
    "whom to call first.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
services.add_to(app)
warehouse.add_to(app)
landing.add_to(app)
nights.add_to(app)
models.add_to(app)
runs.add_to(app)
export.add_to(app)
assignments.add_to(app)
simulation.add_to(app)
audit.add_to(app)
docs.add_to(app)
power_bi.add_to(app)
metabase.add_to(app)
reports.add_to(app)
dashboard.add_to(app)
demo.add_to(app)


def main() -> None:
    """Run the command line; an error of ours is one message on stderr and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for chatty in ("alembic", "httpx", "great_expectations"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        app()
    except ChurnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
