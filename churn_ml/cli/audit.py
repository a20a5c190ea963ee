"""``audit``: proofs of the point-in-time rule, exit status 1 when one does not hold."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from churn_ml.cli.options import parse_date
from churn_ml.cli.output import JsonOption, print_json, print_table
from churn_ml.errors import AuditFailed
from churn_ml.settings import load_settings

if TYPE_CHECKING:
    from churn_ml.audit.proofs import Proof

_ALL = "all"


def add_to(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(audit)


def audit(
    name: Annotated[
        str,
        typer.Argument(
            help="all, truncation, future_shock, late_arrival, shuffled_arrival, one_row_per_customer or "
            "calendar_edges."
        ),
    ],
    *,
    customers: Annotated[int, typer.Option(min=1, help="How many customers the sample has.")] = 500,
    as_of: Annotated[
        date | None,
        typer.Option(
            parser=parse_date,
            help="The newest day of the sample; default: the newest published night, else delivery.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the customers and what is done to their rows.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Prove in a throw-away database that no night sees the future and none changes afterwards."""
    from churn_ml.audit.proofs import run_audit

    names = () if name == _ALL else (name,)
    proofs = run_audit(load_settings(), names, customers=customers, as_of_date=as_of, seed=seed)
    print_json(proofs) if as_json else print_proofs(proofs)
    require_all(proofs)


def print_proofs(proofs: Sequence["Proof"]) -> None:
    """Print one line per proof and below, for those that fail, the rows that differ."""
    print_table(
        "Proofs",
        ["proof", "holds", "seconds", "compared"],
        [(proof.name, proof.passed, f"{proof.seconds:.1f}", proof.checked) for proof in proofs],
    )
    for proof in proofs:
        if proof.differences:
            print_table(
                f"{proof.name}: the first rows that differ",
                ["relation", "customer", "column", "then", "now"],
                [(d.relation, d.customer_id, d.column, d.then, d.now) for d in proof.differences],
            )


def require_all(proofs: Sequence["Proof"]) -> None:
    """Raise unless every proof holds.

    Raises
    ------
    AuditFailed
        Naming the proofs that do not.
    """
    failed = [proof.name for proof in proofs if not proof.passed]
    if failed:
        raise AuditFailed(
            f"Expected {len(proofs)} proofs to hold, found that {', '.join(failed)} did not. The rows that "
            "differ are listed above; no night may be trusted until the models are mended."
        )
