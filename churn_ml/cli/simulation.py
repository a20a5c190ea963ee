"""``simulate snapshot``, ``simulate business``, ``simulate continue`` and ``simulate truth``."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from churn_ml.cli.options import parse_date
from churn_ml.cli.output import JsonOption, print_fields, print_json

if TYPE_CHECKING:
    from churn_ml.simulation.business import BusinessSummary

OutArgument = Annotated[Path, typer.Argument(help="The folder of the drops, e.g. INBOX/subscriptions.")]
TruthOption = Annotated[
    Path, typer.Option(help="The hidden folder: state and samples; outside of every inbox.")
]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same bytes.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(help="Seeded businesses with known truth.", no_args_is_help=True)
    group.command("continue")(go_on)
    for command in (snapshot, business, truth):
        group.command()(command)
    app.add_typer(group, name="simulate")


def snapshot(
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    *,
    as_of: Annotated[date, typer.Option(parser=parse_date, help="The day the snapshot describes.")],
    customers: Annotated[int, typer.Option(min=100, help="How many customers.")] = 4000,
    seed: SeedOption = 7,
    as_json: JsonOption = False,
) -> None:
    """Write a seeded synthetic snapshot in the shape of the IBM Telco file."""
    from churn_ml.simulation.telco_shape import write_snapshot

    summary = write_snapshot(out, customers=customers, as_of_date=as_of, seed=seed)
    if as_json:
        print_json({"file": out, "summary": summary})
    else:
        print(f"{out}: {summary}")


def business(
    out: OutArgument,
    *,
    truth: TruthOption,
    start: Annotated[date, typer.Option(parser=parse_date, help="The opening day: the first drop.")],
    end: Annotated[date, typer.Option(parser=parse_date, help="The day of the last drop.")],
    customers: Annotated[int, typer.Option(min=1, help="How many are active at the opening.")] = 4000,
    seed: SeedOption = 7,
    file_format: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="Kind of file.")] = "csv",
    truth_dates: Annotated[
        str, typer.Option(help="Dates to keep a sample of the state at: D,D,...; default: month ends.")
    ] = "",
    late_share: Annotated[float, typer.Option(help="Rows delivered 1-20 days late.")] = 0.02,
    restated_share: Annotated[float, typer.Option(help="Rows wrong at first, right later.")] = 0.01,
    duplicate_share: Annotated[float, typer.Option(help="Rows delivered twice.")] = 0.005,
    deleted_share: Annotated[
        float, typer.Option(help="Contacts, tickets, usage and payments deleted later.")
    ] = 0.002,
    as_json: JsonOption = False,
) -> None:
    """Open a subscription business and write a drop folder per day."""
    from churn_ml.simulation.business import write_business
    from churn_ml.simulation.drops import Faults

    faults = Faults(late_share, restated_share, duplicate_share, deleted_share)
    dates = {parse_date(text.strip()) for text in truth_dates.split(",")} if truth_dates else None
    summary = write_business(
        out, truth=truth, customers=customers, start=start, end=end, seed=seed,
        form=file_format, faults=faults, truth_dates=dates,
    )  # fmt: skip
    _print_summary(out, truth, summary, as_json=as_json)


def go_on(
    out: OutArgument,
    *,
    truth: TruthOption,
    until: Annotated[date, typer.Option(parser=parse_date, help="The day of the last drop.")],
    assignments: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="CSV of treatments: customer_id, treatment, assigned_at, is_held_out, campaign_id.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a business; treatments that were assigned act on its customers."""
    from churn_ml.simulation.business import continue_business

    summary = continue_business(out, truth=truth, until=until, assignments=assignments)
    _print_summary(out, truth, summary, as_json=as_json)


def truth(
    truth: Annotated[Path, typer.Argument(help="The hidden folder of the business.")],
    *,
    as_of: Annotated[date, typer.Option(parser=parse_date, help="A truth date of the business.")],
    customers: Annotated[int, typer.Option(min=1, help="How many sampled customers.")] = 2000,
    draws: Annotated[int, typer.Option(min=1, help="How many lives of each are drawn.")] = 400,
    gap: Annotated[int, typer.Option(min=0, help="Days before the label window.")] = 7,
    horizon: Annotated[int, typer.Option(min=1, help="Days of the label window.")] = 30,
    grace: Annotated[int, typer.Option(min=0, help="A return within these days is no churn.")] = 7,
    voluntary_only: Annotated[
        bool, typer.Option("--voluntary-only", help="Leave involuntary ends out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the true churn probabilities of sampled customers: truth-DATE.csv in the hidden folder."""
    from churn_ml.simulation.truth import true_probabilities, write_truth

    found = true_probabilities(
        truth, as_of_date=as_of, customers=customers, draws=draws, gap=gap, horizon=horizon, grace=grace,
        voluntary_only=voluntary_only,
    )  # fmt: skip
    path = truth / f"truth-{as_of}.csv"
    write_truth(path, found)
    result = {
        "file": path,
        "customers": len(found.customer_id),
        "mean_true_churn_probability": float(found.true_churn_probability.mean()),
    }
    print_json(result) if as_json else print_fields(result)


def _print_summary(out: Path, truth: Path, summary: "BusinessSummary", *, as_json: bool) -> None:
    if as_json:
        print_json({"drops": out, "truth": truth, "summary": summary})
        return
    rows = {f"{entity} rows": count for entity, count in summary.rows.items()}
    print_fields({
        "drops": out, "truth": truth, "days": f"{summary.first_date} to {summary.last_date}", **rows,
        "customers ever": summary.customers, "active": summary.active, "subscriptions ended": summary.ended,
    })  # fmt: skip
