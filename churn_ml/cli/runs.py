"""``run list``, ``run show``, ``run publish``, ``run unpublish``, ``run discard``; ``dbt``."""

from typing import Annotated

import typer

from churn_ml.cli.output import JsonOption, print_fields, print_json, print_table
from churn_ml.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(help="Runs: attempts at a night or a training.", no_args_is_help=True)
    group.command("list")(list_runs)
    for command in (show, publish, unpublish, discard):
        group.command()(command)
    app.add_typer(group, name="run")
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(dbt)


def list_runs(*, as_json: JsonOption = False) -> None:
    """List the latest fifty runs and say which ones BI sees."""
    from churn_ml.publishing.history import latest_runs

    runs = latest_runs(load_settings())
    if as_json:
        print_json(runs)
        return
    rows = [(r.run_id, r.as_of_date, r.known_as_of, r.status, r.is_published, r.model_version) for r in runs]
    print_table("Runs", ["run", "as-of date", "known as of", "status", "published", "model"], rows)


def show(run_id: str, *, as_json: JsonOption = False) -> None:
    """Show one run: its state, failed checks, dbt results and what was published."""
    from churn_ml.publishing.history import describe_run

    history = describe_run(load_settings(), run_id)
    if as_json:
        print_json(history)
        return
    print_fields(history.run)
    print_table("Gates", ["gate", "severity", "check", "verdict", "observed"], history.checks)
    print_table("dbt", ["layer", "node", "status", "seconds"], history.dbt_results)
    print_table("Published rows", ["mart", "rows", "md5"], history.fingerprints)


def publish(
    run_id: str,
    *,
    reason: Annotated[str, typer.Option(help="Why; kept with the publication.")],
    as_json: JsonOption = False,
) -> None:
    """Show an audited run to BI in the place of the run its date may have."""
    from churn_ml.publishing.publish import publish_run

    publication = publish_run(load_settings(), run_id, reason)
    if as_json:
        print_json(publication)
    else:
        former = publication.superseded_run_id
        print(f"published {run_id}" + (f", supersedes {former}" if former else ""))


def unpublish(
    run_id: str,
    *,
    reason: Annotated[str, typer.Option(help="Why; kept with the publication.")],
    as_json: JsonOption = False,
) -> None:
    """Hide a published run from BI; its rows stay."""
    from churn_ml.publishing.publish import unpublish_run

    unpublish_run(load_settings(), run_id, reason)
    print_json({"unpublished": run_id}) if as_json else print(f"un-published {run_id}")


def discard(run_id: str, *, as_json: JsonOption = False) -> None:
    """Delete the rows of a run that was never published."""
    from churn_ml.publishing.publish import discard_run

    deleted = discard_run(load_settings(), run_id)
    print_json({"discarded": run_id, "row_count": deleted}) if as_json else print(f"deleted {deleted} rows")


def dbt(context: typer.Context) -> None:
    """Call dbt with this deployment's connection and variables: churn-ml dbt build --select ..."""
    from churn_ml.services.dbt import run_dbt

    run_dbt(load_settings(), context.args)
