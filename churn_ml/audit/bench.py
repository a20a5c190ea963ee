"""What the proofs work on: a sample in a throw-away warehouse, and last week's night built of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

from churn_ml.audit.champions import begin_by, copy_champion, newest_champion
from churn_ml.audit.comparison import Difference, compare, feature_rows
from churn_ml.audit.databases import ThrowAway, open_throw_away
from churn_ml.audit.disturbances import add_rivals
from churn_ml.audit.edges import EDGE_DAYS
from churn_ml.audit.nights import build_first_night, forget_nights, publish_night
from churn_ml.audit.sample import Sample, copy_sample, read_night
from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import AuditFailed
from churn_ml.services.dated_nights import Night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role

BUILT = "built"
"""The state in which the features of the night are built."""
PUBLISHED = "published"
"""The state in which the night is also scored and published."""

NO_CHAMPION = "no scores or marts: nobody is champion"
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Finding:
    """The outcome of a proof before it was timed."""

    checked: str
    differences: list[Difference]
    is_proof: bool = True


@dataclass(frozen=True)
class Champion:
    """Who scores the night; `is_brought_forward` where they begin after it in the live warehouse."""

    model_version: str
    is_brought_forward: bool

    def __str__(self) -> str:
        """Return who they are as part of a sentence."""
        later = ", who is champion from a later night on" if self.is_brought_forward else ""
        return f"{self.model_version}{later}"


@dataclass(frozen=True)
class Bench:
    """The throw-away warehouse, the sample in it and its night; `live` is asked for a champion only."""

    live: Settings
    target: ThrowAway
    dataset: Dataset
    sample: Sample
    night: Night
    run_id: str
    seed: int
    edge_days: tuple[date, ...] = EDGE_DAYS

    @property
    def night_name(self) -> str:
        """The night in words."""
        return f"night {self.night.as_of_date} known as of {self.night.known_as_of:%Y-%m-%d %H:%M} UTC"

    @contextmanager
    def begin_anew(self) -> Iterator[Connection]:
        """Put the sample back to work with nothing built of it, and open it to be disturbed."""
        self.target.restore(BUILT)
        with self.target.connect(Role.OWNER) as owner:
            forget_nights(owner)
            owner.commit()
            yield owner

    def begin_built(self) -> None:
        """Put the night with its features to work."""
        self.target.restore(BUILT)

    def begin_published(self) -> Champion | None:
        """Put the published night to work; None, and what is at work stays, where there is no champion.

        It is scored and published the first time that a proof asks.
        """
        if not self.target.holds(PUBLISHED):
            champion = newest_champion(self.live)
            if champion is None:
                return None
            self.target.restore(BUILT)
            copy_champion(self.live, self.target.settings)
            begin_by(self.target.settings, self.night.known_as_of, champion)
            publish_night(self.target, self.run_id)
            self.target.keep(PUBLISHED)
        self.target.restore(PUBLISHED)
        return self._read_champion()

    @contextmanager
    def built(self) -> Iterator[Connection]:
        """Open the undisturbed warehouse in which the night is built."""
        with self.target.connect(Role.AUDITOR, BUILT) as connection:
            yield connection

    def compare_features(self, now: Night | None = None) -> tuple[int, list[Difference]]:
        """Compare the night in the warehouse at work (as `now`) with the undisturbed one."""
        with self.built() as then, self.target.connect(Role.AUDITOR) as current:
            pairs = zip(feature_rows(self.night), feature_rows(now or self.night), strict=True)
            return compare(then, current, pairs)

    def _read_champion(self) -> Champion:
        with self.target.connect(Role.AUDITOR) as auditor:
            [row] = auditor.execute(
                "select runs.model_version, bool_and(deployments.recorded_by = 'audit')"
                " from ops.pipeline_runs as runs join ml.model_deployments as deployments"
                " on deployments.model_version = runs.model_version"
                " and deployments.valid_from <= runs.known_as_of where run_id = %s group by 1",
                [self.run_id],
            ).fetchall()
        return Champion(*row)


@contextmanager
def open_bench(
    settings: Settings, *, customers: int = 500, as_of_date: date | None = None, seed: int = 1
) -> Iterator[Bench]:
    """Copy the sample into a throw-away warehouse and build last week's night in it."""
    dataset = load_dataset(settings)
    if dataset.kind != "dated":
        raise AuditFailed(
            f"Expected a dated dataset to audit in time, found {dataset.dataset}, which is a {dataset.kind} "
            "one: its rows have no event time. Set CHURN_DATASET to a dated dataset."
        )
    newest = read_night(settings, as_of_date)
    night = read_night(settings, newest.as_of_date - _WEEK)
    with open_throw_away(settings) as target:
        sample = copy_sample(settings, target, newest, customers, seed)
        with target.connect(Role.OWNER) as owner:
            add_rivals(owner, dataset, night, seed)
        run_id = build_first_night(target, night)
        target.keep(BUILT)
        yield Bench(settings, target, dataset, sample, night, run_id, seed)
