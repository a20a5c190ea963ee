"""The mirror of the registry in MLflow, for its user interface; nothing reads it back.

``ml.model_versions`` and ``ml.model_deployments`` are the truth. A version is shown as one run with
its card and plots, and as one version of the registered model named after the dataset; aliases and
statuses follow the deployments. MLflow keeps its tables in schema ``mlflow`` of the warehouse and
the files in ``<home>/mlflow/artifacts``. Where it fails a warning is logged and nothing else
happens; ``churn-ml model sync`` repairs.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_ml.errors import ChurnError, ModelError
from churn_ml.models.mirrored_version import MirroredVersion, read_version
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, SQLAlchemyError, connect, warehouse_url
from churn_ml.warehouse.sql import SQL, Identifier

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

log = logging.getLogger(__name__)

_LOCK = 7203451
_ENTITIES_PER_BATCH = 100
_MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}


@dataclass(frozen=True)
class MirrorSummary:
    """What `sync_mirror` found and did; the first is the sum of the following three."""

    version_count: int
    added_count: int
    repaired_count: int
    unchanged_count: int
    moved_alias_count: int
    changed_status_count: int


def mirror_version(settings: Settings, model_version: str) -> bool:
    """Show `model_version` in MLflow, unless it is shown already; then move aliases and statuses.

    Returns
    -------
    bool
        Whether the mirror now shows it. Where MLflow failed the warning names the repair.
    """

    def show(mirror: "_Mirror") -> None:
        mirror.show(read_version(mirror.trainer, model_version))
        mirror.follow_deployments()

    return _done_or_warned(settings, show)


def mirror_aliases(settings: Settings) -> bool:
    """Move MLflow's aliases and statuses to where the deployments stand.

    An alias is that of the deployment without an end, also where it begins in the future.

    Returns
    -------
    bool
        Whether the mirror now shows them. Where MLflow failed the warning names the repair.
    """
    return _done_or_warned(settings, lambda mirror: mirror.follow_deployments())


def sync_mirror(settings: Settings, *, rebuild: bool = False) -> MirrorSummary:
    """Show every registered version that MLflow lacks or shows differently, and move the aliases.

    Parameters
    ----------
    rebuild : bool
        Drop MLflow's tables first: for those that another version of MLflow made.

    Raises
    ------
    ModelError
        If MLflow cannot use its tables or write its files.
    WarehouseError
        If the server does not answer.
    """
    counts = {"added": 0, "repaired": 0, "unchanged": 0}
    with _open_mirror(settings, rebuild=rebuild, may_move=True) as mirror:
        names = mirror.trainer.execute(
            "select model_version from ml.model_versions order by recorded_at, model_version"
        ).fetchall()
        for (name,) in names:
            counts[mirror.show(read_version(mirror.trainer, name))] += 1
        aliases, statuses = mirror.follow_deployments()
    return MirrorSummary(
        len(names), counts["added"], counts["repaired"], counts["unchanged"], aliases, statuses
    )


def _done_or_warned(settings: Settings, act: Callable[["_Mirror"], object]) -> bool:
    try:
        with _open_mirror(settings) as mirror:
            act(mirror)
    except ChurnError as error:
        log.warning("the MLflow mirror is behind the registry, nothing else is affected: %s", error)
        return False
    return True


@contextmanager
def _open_mirror(settings: Settings, *, rebuild: bool = False, may_move: bool = False) -> Iterator["_Mirror"]:
    """Open MLflow for one process at a time; its own errors become `ModelError`."""
    # MLflow would try an absent server again for hours: ours is asked first, and holds the lock.
    with connect(settings, Role.TRAINER, autocommit=True) as trainer:
        trainer.execute("select pg_advisory_lock(%s)", [_LOCK])
        if rebuild:
            _drop_tables(trainer)
        os.environ.update(_MLFLOW_SETTINGS)
        from mlflow.exceptions import MlflowException

        try:
            yield _Mirror(settings, trainer, may_move=may_move)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = str(error).split("\n[SQL:")[0].strip()
            raise ModelError(
                f"Expected MLflow to use schema mlflow of {settings.warehouse_database} and "
                f"{_location(settings)}, found {type(error).__name__}: {reason}. Mend that and run "
                "`churn-ml model sync`; if its tables are at fault, `churn-ml model sync --rebuild`."
            ) from error


def _drop_tables(trainer: Connection) -> None:
    tables = trainer.execute("select tablename from pg_tables where schemaname = 'mlflow'").fetchall()
    for (table,) in tables:
        trainer.execute(SQL("drop table {} cascade").format(Identifier("mlflow", table)))


def _location(settings: Settings) -> Path:
    return settings.home.resolve() / "mlflow" / "artifacts"


class _Mirror:
    """MLflow without a server: its own client on the warehouse, with the registry beside it."""

    def __init__(self, settings: Settings, trainer: Connection, *, may_move: bool) -> None:
        from mlflow import MlflowClient
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self.trainer = trainer
        self._location = _location(settings)
        self._may_move = may_move
        url = warehouse_url(settings, Role.TRAINER).set(drivername="postgresql+psycopg2")
        address = url.update_query_dict({"options": "-csearch_path=mlflow"}).render_as_string(
            hide_password=False
        )
        # Opened here once so that it makes its tables and keeps its files under our folder.
        SqlAlchemyStore(address, self._location.as_uri())  # type: ignore[no-untyped-call]
        self._client = MlflowClient(tracking_uri=address, registry_uri=address)

    def show(self, shown: MirroredVersion) -> str:
        """Show one version and return what that took: ``added``, ``repaired`` or ``unchanged``."""
        experiment = self._experiment(shown.dataset)
        runs = self._runs(experiment, f"tags.model_version = '{shown.model_version}'")
        versions = self._versions(shown)
        if (
            len(runs) == len(versions) == 1
            and versions[0].run_id == runs[0].info.run_id
            and _is_as(runs[0], self._folder(runs[0], shown), shown)
        ):
            return "unchanged"
        for version in versions:
            self._client.delete_model_version(shown.dataset, version.version)
        for run in runs:
            self._client.delete_run(run.info.run_id)
            shutil.rmtree(self._folder(run, shown), ignore_errors=True)
        self._add(shown, experiment)
        log.info("MLflow shows %s", shown.model_version)
        return "repaired" if runs or versions else "added"

    def follow_deployments(self) -> tuple[int, int]:
        """Move aliases and statuses; return how many of each were wrong.

        Raises
        ------
        ModelError
            If an alias names a version that is not shown.
        """
        standing: dict[str, str] = dict(
            self.trainer.execute(
                "select alias, model_version from ml.model_deployments where valid_to = 'infinity'"
            ).fetchall()
        )
        moved, lacking = 0, set(standing.values())
        for model in self._client.search_registered_models():
            shown = {
                version.tags.get("model_version"): version.version
                for version in self._client.search_model_versions(f"name = '{model.name}'")
            }
            lacking -= shown.keys()
            moved += self._move_aliases(model.name, model.aliases, {
                alias: shown[version] for alias, version in standing.items() if version in shown
            })  # fmt: skip
        changed = self._follow_statuses()
        if lacking:
            raise ModelError(
                "Expected MLflow to show every deployed version, found none of "
                f"{', '.join(sorted(lacking))}. Run `churn-ml model sync`."
            )
        return moved, changed

    def _move_aliases(self, name: str, shown: Mapping[str, Any], wanted: Mapping[str, Any]) -> int:
        wrong = [alias for alias in shown if alias not in wanted]
        for alias in wrong:
            self._client.delete_registered_model_alias(name, alias)
        moved = [alias for alias in wanted if str(shown.get(alias)) != str(wanted[alias])]
        for alias in moved:
            self._client.set_registered_model_alias(name, alias, wanted[alias])
        return len(wrong) + len(moved)

    def _follow_statuses(self) -> int:
        statuses: dict[str, str] = dict(
            self.trainer.execute("select model_version, status from ml.model_statuses").fetchall()
        )
        changed = 0
        for experiment in self._client.search_experiments():
            for run in self._runs(experiment, ""):
                status = statuses.get(run.data.tags.get("model_version", ""))
                if status is not None and run.data.tags.get("status") != status:
                    self._client.set_tag(run.info.run_id, "status", status)
                    changed += 1
        return changed

    def _experiment(self, dataset: str) -> "Experiment":
        location = f"{self._location.as_uri()}/{dataset}"
        experiment = self._client.get_experiment_by_name(dataset)
        if experiment is not None and experiment.artifact_location != location:
            if not self._may_move:
                raise ModelError(
                    f"Expected MLflow to keep the files of {dataset!r} in {location}, found "
                    f"{experiment.artifact_location}. Run `churn-ml model sync` to move them here."
                )
            # An experiment cannot be moved: it steps aside, and all is shown anew.
            self._client.rename_experiment(
                experiment.experiment_id,
                f"{dataset} ({experiment.experiment_id}) in {experiment.artifact_location}",
            )
            self._client.delete_experiment(experiment.experiment_id)
            experiment = None
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        if experiment is not None:
            return experiment
        return self._client.get_experiment(self._client.create_experiment(dataset, location))

    def _runs(self, experiment: "Experiment", query: str) -> list["Run"]:
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs([experiment.experiment_id], query, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _folder(self, run: "Run", shown: MirroredVersion) -> Path:
        return self._location / shown.dataset / str(run.info.run_id) / "artifacts"

    def _versions(self, shown: MirroredVersion) -> list[Any]:
        query = f"name = '{shown.dataset}' and tags.model_version = '{shown.model_version}'"
        return list(self._client.search_model_versions(query))

    def _add(self, shown: MirroredVersion, experiment: "Experiment") -> None:
        from mlflow.entities import Metric, Param, RunTag

        run = self._client.create_run(
            experiment.experiment_id,
            start_time=shown.recorded_ms,
            run_name=shown.model_version,
            tags={"model_version": shown.model_version},
        )
        run_id = run.info.run_id
        for metrics in _batches(shown.metrics):
            self._client.log_batch(run_id, [Metric(*item, shown.recorded_ms, 0) for item in metrics])
        for parameters in _batches(shown.parameters):
            self._client.log_batch(run_id, params=[Param(*item) for item in parameters])
        for tags in _batches(shown.tags):
            self._client.log_batch(run_id, tags=[RunTag(*item) for item in tags])
        for path, text in shown.files.items():
            self._client.log_text(run_id, text, path)
        if not self._client.search_registered_models(f"name = '{shown.dataset}'"):
            self._client.create_registered_model(
                shown.dataset,
                description="A mirror: the models and their deployments are in ml.model_versions.",
            )
        self._client.create_model_version(
            shown.dataset,
            source=run.info.artifact_uri,
            run_id=run_id,
            tags={"model_version": shown.model_version},
            await_creation_for=0,
        )
        self._client.set_terminated(run_id, "FINISHED", end_time=shown.recorded_ms)


def _batches(items: Mapping[str, Any]) -> Iterator[Sequence[tuple[str, Any]]]:
    pairs = list(items.items())
    for first in range(0, len(pairs), _ENTITIES_PER_BATCH):
        yield pairs[first : first + _ENTITIES_PER_BATCH]


def _is_as(run: "Run", folder: Path, shown: MirroredVersion) -> bool:
    return bool(
        run.info.status == "FINISHED"
        and run.data.params == shown.parameters
        and run.data.metrics == shown.metrics
        and run.data.tags.items() >= shown.tags.items()
        and all(_holds(folder / path, text) for path, text in shown.files.items())
    )


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
