"""What the champion says of the rows that candidates are validated on, neither having learned from them."""

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from churn_ml.errors import ArtifactError, FeatureContractError
from churn_ml.features.stream import read_table
from churn_ml.models.crossfit import NOT_TRAINED_ON
from churn_ml.models.deployments import deployed_at
from churn_ml.models.registry import LoadedModel, ModelVersion, load_model, read_version
from churn_ml.settings import Settings
from churn_ml.training.dated_panel import DatedPanel
from churn_ml.training.panel import Panel
from churn_ml.training.plan import Training
from churn_ml.training.validation import FloatArray
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.sql import SQL

log = logging.getLogger(__name__)

_CUSTOMERS = SQL(
    "select customer_id, fold, churn_probability from ml.training_customers where model_version = %s"
    ' order by customer_id collate "C"'
)
_OBSERVATIONS = SQL(
    "select customer_id, as_of_date, churn_probability from ml.training_observations"
    " where model_version = %s"
    ' order by as_of_date, customer_id collate "C"'
)


@dataclass(frozen=True)
class ChampionProbabilities:
    """The champion's calibrated probabilities of shape (n_rows,), NaN where it cannot be compared.

    `model_version` is None and `reason` says why where it cannot be compared at all.
    """

    model_version: str | None
    probabilities: FloatArray
    reason: str | None = None


def champion_probabilities(
    settings: Settings, training: Training, validated: npt.NDArray[np.bool_]
) -> ChampionProbabilities:
    """Return what the champion at the run's cut-off says of the panel's rows.

    A snapshot model predicts its own training customers with the pipeline that has not seen them, and
    everyone else with all. A dated one predicts the dates after everything that it learned from had
    closed; of earlier ones it keeps what it said out of time when it was validated. Where the artifact
    cannot be used any more, or reads other columns, what it said then is all there is.

    Parameters
    ----------
    validated : boolean array of shape (n_rows,)
        The rows that candidates are validated on; the others are not predicted.
    """
    nothing = np.full(training.panel.row_count, np.nan)
    version = deployed_at(settings, "champion", training.run.known_as_of)
    if version is None:
        reason = f"no champion is deployed at the cut-off {training.run.known_as_of.isoformat()}"
        return ChampionProbabilities(None, nothing, reason)
    champion = read_version(settings, version)
    if champion.label_definition != training.dataset.label_definition:
        reason = f"the champion {version} predicts {champion.label_definition}"
        return ChampionProbabilities(None, nothing, reason)
    panel = training.panel
    loaded = _load_usable(settings, version, training)
    if isinstance(panel, DatedPanel):
        probabilities = _of_dated(settings, champion, loaded, panel, validated)
    else:
        probabilities = _of_snapshot(settings, champion, loaded, panel, training)
    probabilities[~validated] = np.nan
    if np.isnan(probabilities).all():
        reason = f"the champion {version} has said nothing of these rows without having learned from them"
        return ChampionProbabilities(None, nothing, reason)
    return ChampionProbabilities(version, probabilities)


def _load_usable(settings: Settings, version: str, training: Training) -> LoadedModel | None:
    try:
        loaded = load_model(settings, version)
        loaded.contract.check_against(training.panel.contract)
    except (ArtifactError, FeatureContractError) as error:
        log.warning("the champion %s cannot predict these rows: %s", version, error)
        return None
    return loaded


def _of_snapshot(
    settings: Settings,
    champion: ModelVersion,
    loaded: LoadedModel | None,
    panel: Panel,
    training: Training,
) -> FloatArray:
    types = {"customer_id": pa.string(), "fold": pa.int16(), "churn_probability": pa.float64()}
    with connect(settings, Role.TRAINER) as trainer:
        kept = read_table(trainer, _CUSTOMERS.format(), [champion.model_version], types)
    place = _places(panel.customer_ids, kept.column("customer_id"))
    known = place >= 0
    if loaded is not None:
        folds = np.full(panel.row_count, NOT_TRAINED_ON, np.int16)
        folds[known] = kept.column("fold").to_numpy()[place[known]]
        return loaded.model.predict(panel.frame[loaded.contract.names], folds).calibrated
    said = np.full(panel.row_count, np.nan)
    if champion.as_of_date == training.run.as_of_date:
        said[known] = kept.column("churn_probability").to_numpy()[place[known]]
    return said


def _of_dated(
    settings: Settings,
    champion: ModelVersion,
    loaded: LoadedModel | None,
    panel: DatedPanel,
    validated: npt.NDArray[np.bool_],
) -> FloatArray:
    types = {"customer_id": pa.string(), "as_of_date": pa.date32(), "churn_probability": pa.float64()}
    with connect(settings, Role.TRAINER) as trainer:
        kept = read_table(trainer, _OBSERVATIONS.format(), [champion.model_version], types)
    said = np.full(panel.row_count, np.nan)
    dates = kept.column("as_of_date").to_numpy()
    for day in np.unique(panel.as_of_dates[validated]):
        rows, there = np.flatnonzero(panel.as_of_dates == day), dates == day
        place = _places(panel.customer_ids.take(pa.array(rows)), kept.filter(pa.array(there))["customer_id"])
        known = place >= 0
        said[rows[known]] = kept["churn_probability"].to_numpy()[there][place[known]]
    learned = np.unique(dates)
    if loaded is not None and len(learned):
        closed = np.datetime64(panel.spans.closes_on(learned[-1].item()), "D")
        rows = np.flatnonzero(validated & (panel.as_of_dates >= closed))
        if len(rows):
            frame = panel.frame[loaded.contract.names].take(rows)
            said[rows] = loaded.model.predict(frame, np.full(len(rows), NOT_TRAINED_ON)).calibrated
    return said


def _places(wanted: pa.ChunkedArray, kept: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return where each of `wanted` stands in `kept`, -1 where it does not."""
    found = pa.compute.index_in(wanted, value_set=kept.combine_chunks())
    return np.asarray(pa.compute.fill_null(found, -1).to_numpy(), np.int64)
