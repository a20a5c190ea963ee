"""``metabase``: the questions and dashboards of ``bi/metabase/`` into a Metabase."""

import typer

from churn_ml.cli.output import JsonOption, print_fields, print_json
from churn_ml.settings import load_settings

commands = typer.Typer(no_args_is_help=True, help="Metabase's questions and dashboards, kept as code.")


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(commands, name="metabase")


@commands.command()
def load(*, as_json: JsonOption = False) -> None:
    """Set Metabase up where nobody did, connect it to the marts, load what stands in bi/metabase/.

    Running it again changes only what differs. CHURN_METABASE_URL, CHURN_METABASE_EMAIL and
    CHURN_METABASE_PASSWORD say where and as whom.
    """
    from churn_ml.bi.metabase import load_metabase

    loaded = load_metabase(load_settings())
    if as_json:
        print_json(loaded)
        return
    for what in loaded.created:
        print(f"created  {what}")
    for what in loaded.updated:
        print(f"updated  {what}")
    print_fields(
        {
            "address": loaded.address,
            "unchanged": len(loaded.unchanged),
            "dashcards of others, left as they are": loaded.left_alone,
            "home page": loaded.home_page,
        }
    )


@commands.command()
def check(*, as_json: JsonOption = False) -> None:
    """Check the files of bi/metabase/: their format, and that what they name is there."""
    from churn_ml.bi.metabase_checks import read_representation

    found = read_representation(load_settings().project_dir / "bi" / "metabase")
    counts = {
        "collections": len(found.collections),
        "questions": len(found.cards),
        "dashboards": len(found.dashboards),
    }
    print_json(counts) if as_json else print_fields(counts)
