"""``model list``, ``model show``, ``model promote`` and ``model champion``."""

import getpass
from datetime import datetime
from typing import Annotated

import typer

from churn_ml.cli.options import parse_cut_off
from churn_ml.cli.output import JsonOption, print_fields, print_json, print_table
from churn_ml.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(help="Registered models and their deployments.", no_args_is_help=True)
    group.command("list")(list_models)
    for command in (show, promote, champion):
        group.command()(command)
    app.add_typer(group, name="model")


def list_models(*, as_json: JsonOption = False) -> None:
    """List the registered model versions, newest first."""
    from churn_ml.models.registry import list_versions

    versions = list_versions(load_settings())
    if as_json:
        print_json(versions)
        return
    rows = [
        (v.model_version, v.family, v.as_of_date, v.validation, v.metrics["log_loss"], v.metrics["roc_auc"])
        for v in versions
    ]
    print_table("Models", ["version", "family", "as-of date", "validation", "log loss", "ROC AUC"], rows)


def show(model_version: str, *, as_json: JsonOption = False) -> None:
    """Show one model version: metrics, gates, contract, library versions."""
    from churn_ml.models.registry import show_version

    details = show_version(load_settings(), model_version)
    print_json(details) if as_json else print_fields(dict(details))


def promote(
    model_version: str,
    *,
    valid_from: Annotated[
        datetime, typer.Option(parser=parse_cut_off, help="First cut-off (data time) at which it scores.")
    ],
    reason: Annotated[str, typer.Option(help="Why; kept with the deployment.")],
    recorded_by: Annotated[str, typer.Option(help="Who decides; default: the OS user.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a model version the champion from a cut-off on."""
    from churn_ml.models.registry import promote as promote_version

    who = recorded_by or getpass.getuser()
    promote_version(load_settings(), model_version, valid_from, reason, who)
    result = {"alias": "champion", "model_version": model_version, "valid_from": valid_from, "reason": reason}
    print_json(result) if as_json else print_fields(result)


def champion(
    *,
    on: Annotated[datetime, typer.Option(parser=parse_cut_off, help="The cut-off of a night.")],
    as_json: JsonOption = False,
) -> None:
    """Say which model version is champion at a cut-off."""
    from churn_ml.models.registry import champion_at

    version = champion_at(load_settings(), on)
    print_json({"model_version": version, "on": on}) if as_json else print(version)
