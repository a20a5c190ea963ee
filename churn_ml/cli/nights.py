"""``night`` and ``train``: one DAG run on the live Airflow."""

from datetime import date, datetime
from typing import Annotated

import typer

from churn_ml.cli.options import parse_cut_off, parse_date
from churn_ml.cli.output import JsonOption, print_json, print_table
from churn_ml.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(night)
    app.command()(train)


def night(
    *,
    as_of: Annotated[date, typer.Option(parser=parse_date, help="The day the night describes.")],
    reason: Annotated[str, typer.Option(help="Why it runs now; kept with the publication.")] = "manual night",
    as_json: JsonOption = False,
) -> None:
    """Run a whole night on the live Airflow; a night that ran before is superseded."""
    from churn_ml.services.nights import NIGHT_DAG, night_cut_off

    _run(NIGHT_DAG, night_cut_off(as_of), {"reason": reason}, as_json=as_json)


def train(
    *,
    cut_off: Annotated[
        datetime, typer.Option(parser=parse_cut_off, help="What training may know: a moment in data time.")
    ],
    reason: Annotated[str, typer.Option(help="Why it runs now.")] = "manual training",
    as_json: JsonOption = False,
) -> None:
    """Train and register a model on the live Airflow; promoting it is a command of its own."""
    from churn_ml.services.nights import TRAINING_DAG

    _run(TRAINING_DAG, cut_off, {"reason": reason}, as_json=as_json)


def _run(dag_id: str, cut_off: datetime, params: dict[str, object], *, as_json: bool) -> None:
    from churn_ml.services.instance import require_running
    from churn_ml.services.nights import run_dag

    settings = load_settings()
    require_running(settings)
    run = run_dag(settings, dag_id, cut_off, params=params)
    if as_json:
        print_json(run)
    else:
        print_table(
            run.run_id, ["task", "state", "seconds"], [(t.task, t.state, t.seconds) for t in run.tasks]
        )
