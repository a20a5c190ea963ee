"""The group ``model``: registered models, and which of them is deployed when."""

import getpass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from churn_ml.cli.model_mirror import add_sync
from churn_ml.cli.model_tables import print_comparison, print_dicts, print_model
from churn_ml.cli.options import parse_cut_off, parse_date
from churn_ml.cli.output import JsonOption, print_fields, print_json, print_table
from churn_ml.settings import Settings, load_settings


class AliasName(StrEnum):
    """What a deployment may be called."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SHADOW = "shadow"


def parse_night(text: str) -> datetime:
    """Read a date as the cut-off of its night, or a cut-off as it is."""
    from churn_ml.warehouse.runs import night_cut_off

    return parse_cut_off(text) if ":" in text else night_cut_off(parse_date(text))


ReasonOption = Annotated[str, typer.Option(help="Why; kept with the deployment.")]
WhoOption = Annotated[str, typer.Option(help="Who decides; default: the OS user.")]
AliasOption = Annotated[AliasName, typer.Option(help="What it is deployed as.")]
ValidFromOption = Annotated[
    datetime | None,
    typer.Option(
        parser=parse_cut_off,
        help="First cut-off (data time); default: the first one after every published night, or after "
        "what the model knew where that is later.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(help="Registered models and their deployments.", no_args_is_help=True)
    group.command("list")(list_models)
    for command in (show, compare, card, promote, rollback, retire, champion):
        group.command()(command)
    add_sync(group)
    app.add_typer(group, name="model")


def list_models(*, as_json: JsonOption = False) -> None:
    """List the registered model versions, newest first."""
    from churn_ml.models.registry import list_versions

    versions = list_versions(load_settings())
    if as_json:
        print_json(versions)
        return
    rows = [
        (v.model_version, v.status, v.family, v.as_of_date, v.validation, v.metrics.get("log_loss"),
         v.metrics.get("roc_auc"))
        for v in versions
    ]  # fmt: skip
    columns = ["version", "status", "family", "as-of date", "validation", "log loss", "ROC AUC"]
    print_table("Models", columns, rows)


def show(model_version: str, *, as_json: JsonOption = False) -> None:
    """Show one model version: metrics, gates, contract, library versions, deployments."""
    from churn_ml.models.registry import show_version

    details = show_version(load_settings(), model_version)
    if as_json:
        print_json(details)
        return
    metrics, gates, deployments = (details.pop(name) for name in ("metrics", "gates", "deployments"))
    pairs = {
        name: ", ".join(f"{key} {value}" for key, value in details[name].items())
        for name in ("parameters", "library_versions")
    }
    features = ", ".join(column["name"] for column in details.pop("feature_contract"))
    print_fields(details | pairs | {"features": features})
    print_model(metrics, gates)
    print_dicts("Deployments", deployments)


def compare(first: str, second: str, *, as_json: JsonOption = False) -> None:
    """Show two model versions side by side: metrics with their differences, and gates."""
    from churn_ml.models.comparison import compare_versions

    comparison = compare_versions(load_settings(), first, second)
    if as_json:
        print_json(comparison)
        return
    print_comparison(comparison)


def card(
    model_version: str,
    *,
    output: Annotated[Path, typer.Option(dir_okay=False, help="HTML file to write.")],
    as_json: JsonOption = False,
) -> None:
    """Write the card of a model version, one HTML page."""
    from churn_ml.models.registry import read_card

    page = read_card(load_settings(), model_version)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    result = {"model_version": model_version, "output": output, "byte_count": len(page.encode())}
    print_json(result) if as_json else print_fields(result)


def promote(
    model_version: str,
    *,
    reason: ReasonOption,
    alias: AliasOption = AliasName.CHAMPION,
    valid_from: ValidFromOption = None,
    override: Annotated[
        str | None, typer.Option(help="Why, although a blocking gate has failed; kept with the deployment.")
    ] = None,
    recorded_by: WhoOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a model version champion, challenger or shadow from a cut-off on."""
    from churn_ml.models.deployments import promote as promote_version

    settings = load_settings()
    who = recorded_by or getpass.getuser()
    deployment = promote_version(
        settings, model_version, valid_from, reason, who, alias=alias.value, override_reason=override
    )
    _print_deployment(settings, deployment, as_json=as_json)


def rollback(
    *,
    reason: ReasonOption,
    alias: AliasOption = AliasName.CHAMPION,
    recorded_by: WhoOption = "",
    as_json: JsonOption = False,
) -> None:
    """Bring the former champion back, from the first cut-off after every published night."""
    from churn_ml.models.deployments import rollback as roll_back

    settings = load_settings()
    deployment = roll_back(settings, reason, recorded_by or getpass.getuser(), alias=alias.value)
    _print_deployment(settings, deployment, as_json=as_json)


def retire(
    alias: Annotated[AliasName, typer.Argument(help="challenger or shadow; a champion is rolled back.")],
    *,
    reason: ReasonOption,
    valid_to: ValidFromOption = None,
    recorded_by: WhoOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let the challenger or the shadow score no more."""
    from churn_ml.models.deployments import retire as retire_alias

    settings = load_settings()
    who = recorded_by or getpass.getuser()
    deployment = retire_alias(settings, valid_to, reason, who, alias=alias.value)
    _print_deployment(settings, deployment, as_json=as_json)


def champion(
    *,
    on: Annotated[
        datetime, typer.Option(parser=parse_night, help="A date, for the cut-off of its night, or a cut-off.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Say which model version is champion on a night."""
    from churn_ml.models.deployments import champion_at

    version = champion_at(load_settings(), on)
    print_json({"model_version": version, "on": on}) if as_json else print(version)


def _print_deployment(settings: Settings, deployment: Any, *, as_json: bool) -> None:
    from churn_ml.models.mirror import mirror_aliases

    mirror_aliases(settings)
    print_json(deployment) if as_json else print_fields(vars(deployment))
