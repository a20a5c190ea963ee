"""Published nights that were built on a night which BI sees no more, or as another run."""

from dataclasses import dataclass
from datetime import date, datetime

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect


@dataclass(frozen=True)
class OutdatedRun:
    """A published run and the replaced one that it was built on.

    `standing_run_id` is what BI sees of the base's night now, None where it sees nothing.
    `is_different` is False where its rows are those of the base by hash: nothing is to be done then.
    """

    run_id: str
    as_of_date: date
    base_as_of_date: date
    base_run_id: str
    base_roles: str
    standing_run_id: str | None
    is_different: bool
    outdated_since: datetime
    command: str

    def __str__(self) -> str:
        """Return what is wrong and the command that mends it."""
        found = self.standing_run_id or "nothing"
        return (
            f"the night of {self.as_of_date} ({self.run_id}) was built on {self.base_run_id} of "
            f"{self.base_as_of_date}, where BI now sees {found}: `{self.command}`"
        )


# A night may be built on nothing that knows more than itself: then it is restated, else run again.
_QUERY = """
    select
        outdated.run_id, outdated.as_of_date, base_as_of_date, base_run_id, base_roles, standing_run_id,
        is_different, outdated_since,
        case
            when
                run_kind = 'restate'
                or max(standing_known_as_of) over (partition by outdated.run_id) > outdated.known_as_of
                then 'churn-ml restate --as-of ' || outdated.as_of_date || ' --publish'
            else 'churn-ml night --as-of ' || outdated.as_of_date
        end
    from ops.outdated_runs as outdated
    inner join ops.pipeline_runs as runs using (run_id)
    order by outdated.as_of_date, base_as_of_date
"""


def read_outdated_runs(
    settings: Settings, base_as_of_date: date | None = None, *, with_equal: bool = False
) -> tuple[OutdatedRun, ...]:
    """Return the outdated nights in the order in which they are to be made again, the oldest first.

    Parameters
    ----------
    base_as_of_date
        Only those built on the night of this date; default: all.
    with_equal
        Also those whose base was replaced by a run of the same rows.
    """
    with connect(settings, Role.PUBLISHER) as publisher:
        found = [OutdatedRun(*row) for row in publisher.execute(_QUERY).fetchall()]
    return tuple(
        run
        for run in found
        if base_as_of_date in {None, run.base_as_of_date} and (run.is_different or with_equal)
    )
