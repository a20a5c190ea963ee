"""``run list``, ``show``, ``outdated``, ``publish``, ``unpublish``, ``discard``; ``prune``; ``dbt``."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from churn_ml.cli.options import parse_cut_off
from churn_ml.cli.output import JsonOption, print_fields, print_json, print_table
from churn_ml.settings import load_settings

if TYPE_CHECKING:
    from churn_ml.publishing.outdated import OutdatedRun


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(help="Runs: attempts at a night or a training.", no_args_is_help=True)
    group.command("list")(list_runs)
    for command in (show, outdated, publish, unpublish, discard):
        group.command()(command)
    app.add_typer(group, name="run")
    app.command()(prune)
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
    columns = ["gate", "severity", "check", "verdict", "observed", "keys"]
    print_table("Checks that did not pass", columns, history.checks)
    print_table("dbt", ["layer", "node", "status", "seconds"], history.dbt_results)
    costs = [
        "seconds",
        "CPU",
        "peak MB",
        "rows in",
        "rows out",
        "bytes in",
        "bytes out",
        "s / 1,000 customers",
    ]
    print_table("Tasks", ["task", "verdict", *costs], history.task_costs)
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
        print_outdated(publication.outdated)


def outdated(
    *,
    equal: Annotated[
        bool, typer.Option("--equal", help="Also where the replaced night had the same rows.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List published nights that were built on a night which was replaced, and how to make them anew."""
    from churn_ml.publishing.outdated import read_outdated_runs

    found = read_outdated_runs(load_settings(), with_equal=equal)
    if as_json:
        print_json(found)
    elif found:
        print_outdated(found)
    else:
        print("no published night was built on one that was replaced")


def print_outdated(nights: "Sequence[OutdatedRun]") -> None:
    """Say which later nights were built on a replaced one, the oldest first; nothing if none was."""
    if not nights:
        return
    rows = [
        (n.as_of_date, n.run_id, n.base_as_of_date, n.base_roles, n.is_different, n.command) for n in nights
    ]
    print_table(
        "Later nights built on a replaced one: make them anew in this order",
        ["as-of date", "run", "built on", "as", "differs", "command"],
        rows,
    )


def unpublish(
    run_id: str,
    *,
    reason: Annotated[str, typer.Option(help="Why; kept with the publication.")],
    as_json: JsonOption = False,
) -> None:
    """Hide a published run from BI; its rows stay."""
    from churn_ml.publishing.publish import unpublish_run

    nights = unpublish_run(load_settings(), run_id, reason)
    if as_json:
        print_json({"unpublished": run_id, "outdated": nights})
        return
    print(f"un-published {run_id}")
    print_outdated(nights)


def discard(run_id: str, *, as_json: JsonOption = False) -> None:
    """Delete the rows of a run that was never published."""
    from churn_ml.publishing.publish import discard_run

    deleted = discard_run(load_settings(), run_id)
    print_json({"discarded": run_id, "row_count": deleted}) if as_json else print(f"deleted {deleted} rows")


def prune(
    *,
    at: Annotated[
        datetime | None, typer.Option(parser=parse_cut_off, help="Up to when ages count. Empty: now.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows, remove nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what the declared rules of retention name; never what is published or was built on."""
    from churn_ml.publishing.pruning import prune as apply_rules

    pruned = apply_rules(load_settings(), at or datetime.now(UTC), is_dry_run=dry_run)
    if as_json:
        print_json(pruned)
        return
    rows = [(p.what, p.relation, p.row_count, p.keep_days, p.keep_runs) for p in pruned if p.row_count]
    title = "Rows that would go" if dry_run else "Rows removed"
    print_table(title, ["what", "relation", "rows", "days kept", "runs kept"], rows)


def dbt(context: typer.Context) -> None:
    """Call dbt with this deployment's connection and variables: churn-ml dbt build --select ..."""
    from churn_ml.services.dbt import run_dbt

    run_dbt(load_settings(), context.args)
