"""``night``, ``train``, ``reproduce`` and ``restate``: DAG runs on the live Airflow."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from churn_ml.cli.options import parse_cut_off, parse_date
from churn_ml.cli.output import JsonOption, print_fields, print_json, print_table
from churn_ml.errors import PublishingError
from churn_ml.settings import Settings, load_settings

if TYPE_CHECKING:
    from churn_ml.publishing.comparison import Comparison
    from churn_ml.services.nights import RepeatedNight


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    for command in (night, train, reproduce, restate):
        app.command()(command)


def night(
    *,
    as_of: Annotated[date, typer.Option(parser=parse_date, help="The day the night describes.")],
    reason: Annotated[str, typer.Option(help="Why it runs now; kept with the publication.")] = "manual night",
    as_json: JsonOption = False,
) -> None:
    """Run a whole night on the live Airflow; a night that ran before is superseded."""
    from churn_ml.services.nights import NIGHT_DAG
    from churn_ml.warehouse.runs import night_cut_off

    _run(NIGHT_DAG, night_cut_off(as_of), {"reason": reason}, as_json=as_json)


def train(
    *,
    cut_off: Annotated[
        datetime, typer.Option(parser=parse_cut_off, help="What training may know: a moment in data time.")
    ],
    reason: Annotated[str, typer.Option(help="Why it runs now.")] = "manual training",
    candidates: Annotated[
        str | None, typer.Option(help="Families, with commas between; default: those declared.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of each family; default: as declared.")
    ] = None,
    seconds: Annotated[
        int | None, typer.Option(min=1, help="Seconds to search each family; default: as declared.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Register anew although nothing changed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train and register a model on the live Airflow; promoting it is a command of its own."""
    from churn_ml.services.nights import TRAINING_DAG

    asked = {"candidates": candidates, "trials": trials, "seconds": seconds, "force": force or None}
    params: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    _run(TRAINING_DAG, cut_off, {"reason": reason, **params}, as_json=as_json)


AsOf = Annotated[date, typer.Option(parser=parse_date, help="The day of the night that is repeated.")]
Until = Annotated[
    date | None, typer.Option(parser=parse_date, help="The last day, for a range: Airflow's own backfill.")
]


def reproduce(
    *,
    as_of: AsOf,
    until: Until = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the DAG run.")] = "manual reproduction",
    as_json: JsonOption = False,
) -> None:
    """Repeat published nights as they were; exit with 1 where a row differs from what was published."""
    params: dict[str, object] = {"run_kind": "reproduce", "reason": reason}
    _repeat(as_of, until, params, as_json=as_json)


def restate(
    *,
    as_of: AsOf,
    until: Until = None,
    known_as_of: Annotated[
        datetime | None,
        typer.Option(parser=parse_cut_off, help="The later cut-off. Empty: all that has landed is known."),
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Show the restated nights to BI.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept with a publication.")] = "manual restatement",
    as_json: JsonOption = False,
) -> None:
    """Repeat nights with what is known today and list what differs from what was published."""
    params: dict[str, object] = {"run_kind": "restate", "publish": publish, "reason": reason}
    if known_as_of is not None:
        params["known_as_of"] = known_as_of.isoformat()
    _repeat(as_of, until, params, as_json=as_json)


def _print_outdated(settings: Settings) -> None:
    from churn_ml.cli.runs import print_outdated
    from churn_ml.publishing.outdated import read_outdated_runs

    print_outdated(read_outdated_runs(settings))


def _repeat(as_of: date, until: date | None, params: dict[str, object], *, as_json: bool) -> None:
    from churn_ml.services.instance import require_running
    from churn_ml.services.nights import repeat_nights

    settings = load_settings()
    require_running(settings)
    nights = repeat_nights(settings, as_of, until or as_of, params)
    results = [(repeated, _find_comparison(settings, repeated.run_id)) for repeated in nights]
    if as_json:
        print_json([{"night": repeated, "comparison": found} for repeated, found in results])
    else:
        _print_repeated(results)
        if params.get("publish"):
            _print_outdated(settings)
    if any(repeated.state == "failed" for repeated in nights):
        raise typer.Exit(1)


def _find_comparison(settings: Settings, run_id: str | None) -> "Comparison | None":
    """Return the comparison of a run, None where it failed before it was compared."""
    from churn_ml.publishing.comparison import read_comparison

    if run_id is None:
        return None
    try:
        return read_comparison(settings, run_id)
    except PublishingError:
        return None


def _print_repeated(results: "list[tuple[RepeatedNight, Comparison | None]]") -> None:
    rows = [
        (repeated.as_of_date, _outcome(repeated, found), repeated.run_id, found and found.repeats_run_id)
        for repeated, found in results
    ]
    print_table("Repeated nights", ["as-of date", "outcome", "run", "repeats"], rows)
    for repeated, found in results:
        if repeated.failure:
            print(f"{repeated.as_of_date}: {repeated.failure}\n  {repeated.url}")
        elif found and found.rows:
            changed = [(row.mart, row.key, row.column, row.then, row.now) for row in found.rows]
            print_fields({"customers that differ": found.customers})
            print_table(
                f"First differences of {repeated.as_of_date}",
                ["mart", "key", "column", "then", "now"],
                changed,
            )


def _outcome(repeated: "RepeatedNight", found: "Comparison | None") -> str:
    if found is None or repeated.state == "skipped":
        return "not published, skipped" if repeated.state == "skipped" else "failed"
    if found.repeats_run_id is None:
        return "made, was never published"
    return "equal" if found.is_equal else f"differs in {', '.join(found.differing_marts)}"


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
