"""``powerbi``: the Power BI project over the marts."""

from pathlib import Path
from typing import Annotated

import typer

from churn_ml.cli.output import JsonOption, print_json
from churn_ml.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(powerbi)


def powerbi(
    *,
    out: Annotated[Path | None, typer.Option(help="The folder; bi/powerbi if not given.")] = None,
    server: Annotated[
        str, typer.Option(help="Host and port that the model's parameter Server begins with.")
    ] = "localhost:5432",
    database: Annotated[
        str, typer.Option(help="Database that the model's parameter Database begins with.")
    ] = "churn_subscriptions",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit status 1 where what is written differs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the Power BI project (model and report) from dbt's marts and the metric definitions."""
    from churn_ml.bi.power_bi import differences, project_files, write_project
    from churn_ml.services.dbt_marts import describe_marts

    settings = load_settings()
    folder = out or settings.project_dir / "bi" / "powerbi"
    seed = settings.project_dir / "dbt_project" / "seeds" / "metrics.csv"
    files = project_files(describe_marts(settings), seed, server, database)
    changed = differences(folder, files) if check else write_project(folder, files)
    if as_json:
        print_json({"folder": folder, "files": len(files), "changed": changed, "is_written": not check})
    else:
        word = "differ from the marts" if check else "written"
        print("\n".join([*changed, f"{folder}: {len(changed)} of {len(files)} files {word}"]))
    if check and changed:
        raise typer.Exit(1)
