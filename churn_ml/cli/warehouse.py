"""``warehouse url``, ``warehouse migrate`` and ``warehouse psql``."""

from typing import Annotated

import typer

from churn_ml.cli.output import JsonOption, print_fields, print_json
from churn_ml.settings import load_settings
from churn_ml.warehouse.connection import Role, warehouse_url


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(help="The Postgres warehouse.", no_args_is_help=True)
    group.command()(url)
    group.command()(migrate)
    group.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(psql)
    app.add_typer(group, name="warehouse")


def url(
    *,
    role: Annotated[Role, typer.Option(help="The role to connect as.")] = Role.READER,
    sqlalchemy: Annotated[
        bool, typer.Option("--sqlalchemy", help="Name SQLAlchemy's driver in the URL.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a connection URL, password included."""
    address = warehouse_url(load_settings(), role)
    text = address.set(drivername="postgresql+psycopg2" if sqlalchemy else "postgresql").render_as_string(
        hide_password=False
    )
    if as_json:
        print_json(
            {"url": text, "role": role, "host": address.host, "port": address.port,
             "database": address.database}
        )  # fmt: skip
    else:
        print(text)


def migrate(*, as_json: JsonOption = False) -> None:
    """Create roles, databases, schemas and tables, or bring them to the newest version."""
    from churn_ml.warehouse.provision import newest_migration, provision

    settings = load_settings()
    provision(settings)
    result = {"database": settings.warehouse_database, "migration": newest_migration()}
    if as_json:
        print_json(result)
    else:
        print_fields(result)


def psql(
    context: typer.Context,
    *,
    role: Annotated[Role, typer.Option(help="The role to connect as.")] = Role.READER,
) -> None:
    """Open psql on the marts; what follows goes to psql: churn-ml warehouse psql -c "select ..."."""
    from churn_ml.services.postgres import run_psql

    raise typer.Exit(run_psql(load_settings(), role, context.args))
