"""Which model an alias names at which cut-off: ``ml.model_deployments``.

A deployment holds from a cut-off, in data time, until another of its alias begins, and never at or before
a published one: who was champion on a night never changes. Each is an act of its own, with who and
why. The rules stand in the functions ``ml.deploy`` and ``ml.retire``; no role may write the table.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, LiteralString, get_args

from churn_ml.errors import ModelError, NoChampion
from churn_ml.models.registry import available_versions, no_such_version
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, RaiseException, Role, connect

log = logging.getLogger(__name__)

Alias = Literal["champion", "challenger", "shadow"]
ALIASES: tuple[Alias, ...] = get_args(Alias)

_LOCK = 7203450  # of ml.end_deployments: deployments come one at a time
_FIRST_UNPUBLISHED = timedelta(microseconds=1)
_SELECT = (
    "select alias, model_version, valid_from, nullif(valid_to, 'infinity'), recorded_by, reason,"
    " override_reason, restored_valid_from from ml.model_deployments"
)


@dataclass(frozen=True)
class Deployment:
    """One alias naming one model from the cut-off `valid_from` on, before `valid_to` where it has ended.

    `override_reason` tells why it was deployed although a gate had failed; `restored_valid_from`, of a
    rollback, where the deployment that it brought back began.
    """

    alias: Alias
    model_version: str
    valid_from: datetime
    valid_to: datetime | None
    recorded_by: str
    reason: str
    override_reason: str | None
    restored_valid_from: datetime | None

    @property
    def began(self) -> datetime:
        """Where the model was promoted: of a rollback, where the deployment began that it brought back."""
        return self.restored_valid_from or self.valid_from


def promote(
    settings: Settings,
    model_version: str,
    valid_from: datetime | None,
    reason: str,
    recorded_by: str,
    *,
    alias: Alias = "champion",
    override_reason: str | None = None,
) -> Deployment:
    """Let `alias` name `model_version` from the cut-off `valid_from` on.

    What the alias names ends there; what it was to name from later on is withdrawn.

    Parameters
    ----------
    valid_from : datetime, optional
        First cut-off at which it holds. None: right after every published cut-off, or from what the
        model itself knew where that is later; the clock is never asked.
    override_reason : str, optional
        Why it may be deployed although a blocking gate has failed; kept with the deployment.

    Raises
    ------
    ModelError
        If the version is unknown or has failed a blocking gate, `valid_from` has no time zone or is
        not after every published cut-off, the alias names the version already, or a reason or a name
        is empty.
    """
    _check_words(reason, recorded_by, *([] if override_reason is None else [override_reason]))
    with connect(settings, Role.TRAINER) as trainer:
        first = _known_as_of(trainer, model_version)
        begins = _with_zone(valid_from) or max(_default_cut_off(trainer) or first, first)
        standing = _standing(trainer, alias)
        if standing and standing.model_version == model_version and standing.valid_from <= begins:
            raise ModelError(
                f"Expected {model_version} not to be {alias} yet, found it to be from "
                f"{standing.valid_from.isoformat()} on. There is nothing to promote."
            )
        override = override_reason and override_reason.strip()
        return _deploy(trainer, alias, model_version, begins, recorded_by.strip(), reason.strip(), override)


def promote_automatically(settings: Settings, model_version: str, cut_off: datetime) -> Deployment | None:
    """Make `model_version` champion, where the setting is on and every blocking gate has passed.

    A training calls this for the model that it has registered. It holds from `cut_off` on, or from the
    first unpublished cut-off where that is later. Where the setting is off, a gate has failed or it is
    champion already nothing changes, which is logged, and None is returned.
    """
    if settings.automatic_promotion != "on":
        log.info("%s is not promoted: CHURN_AUTOMATIC_PROMOTION is off", model_version)
        return None
    with connect(settings, Role.TRAINER) as trainer:
        begins = max(cut_off, _default_cut_off(trainer) or cut_off)
    try:
        return promote(settings, model_version, begins, "passed every gate", "automatic promotion")
    except ModelError as error:
        log.warning("%s is not promoted: %s", model_version, error)
        return None


def rollback(settings: Settings, reason: str, recorded_by: str, *, alias: Alias = "champion") -> Deployment:
    """Bring back what `alias` named before its standing deployment, from the first unpublished cut-off on.

    Former is the last other model that held for a cut-off before the standing one was promoted; a
    second rollback goes one promotion further back. What never held is withdrawn.

    Raises
    ------
    ModelError
        If there is nothing to go back to, or a reason or a name is empty.
    """
    _check_words(reason, recorded_by)
    with connect(settings, Role.TRAINER) as trainer:
        trainer.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        standing = _standing(trainer, alias)
        former = standing and _held_before(trainer, standing)
        if standing is None or former is None:
            raise ModelError(
                f"Expected a {alias} that held before the standing one to go back to, found "
                f"{standing.model_version + ' as the first' if standing else f'no {alias} at all'}. "
                f"Registered: {available_versions(trainer)}. Promote one: `churn-ml model promote <version> "
                f'--alias {alias} --reason "..."`.'
            )
        begins = _default_cut_off(trainer) or min(former.valid_from, standing.valid_from)
        deployed = _deploy(
            trainer, alias, former.model_version, begins, recorded_by.strip(), reason.strip(),
            former.override_reason, former.began,
        )  # fmt: skip
    log.info("rolled back from %s", standing.model_version)
    return deployed


def retire(
    settings: Settings,
    valid_to: datetime | None,
    reason: str,
    recorded_by: str,
    *,
    alias: Alias,
) -> Deployment:
    """Let `alias` name nobody from the cut-off `valid_to` on; None as in `promote`.

    Raises
    ------
    ModelError
        If it names nobody, or is the champion: without one no night is scored.
    """
    _check_words(reason, recorded_by)
    with connect(settings, Role.TRAINER) as trainer:
        standing = _standing(trainer, alias)
        if standing is None:
            raise ModelError(f"Expected a {alias} to retire, found none that holds. There is nothing to do.")
        ends = _with_zone(valid_to) or _default_cut_off(trainer) or standing.valid_from
        _call(trainer, "select ml.retire(%s, %s, %s, %s)", [alias, ends, recorded_by.strip(), reason.strip()])
    log.info("%s is %s no longer from %s on", standing.model_version, alias, ends.isoformat())
    return replace(standing, valid_to=max(ends, standing.valid_from))


def champion_at(settings: Settings, known_as_of: datetime) -> str:
    """Return the model version that is champion at the cut-off `known_as_of`.

    Raises
    ------
    NoChampion
        If no deployment holds at it; the message has the command to type.
    """
    champion = deployed_at(settings, "champion", known_as_of)
    if champion is None:
        with connect(settings, Role.SCORER) as scorer:
            registered = available_versions(scorer)
        raise NoChampion(
            f"Expected a champion at the cut-off {known_as_of.isoformat()}, found no deployment that begins "
            f"at or before it. Registered: {registered}. Run `churn-ml model promote <version> "
            f'--valid-from {known_as_of.isoformat()} --reason "..."` and start the night again.'
        )
    return champion


def deployed_at(settings: Settings, alias: Alias, known_as_of: datetime) -> str | None:
    """Return the model version that `alias` names at the cut-off `known_as_of`, or None."""
    with connect(settings, Role.SCORER) as scorer:
        [(version,)] = scorer.execute("select ml.deployed_at(%s, %s)", [alias, known_as_of]).fetchall()
    return None if version is None else str(version)


def list_deployments(settings: Settings) -> list[Deployment]:
    """Return every deployment in the order in which they were recorded."""
    with connect(settings, Role.TRAINER) as trainer:
        rows = trainer.execute(f"{_SELECT} order by deployment_id").fetchall()
    return [Deployment(*row) for row in rows]


def _deploy(trainer: Connection, alias: Alias, model_version: str, begins: datetime,
            recorded_by: str, reason: str, override_reason: str | None,
            restored: datetime | None = None) -> Deployment:  # fmt: skip
    values = [alias, model_version, begins, recorded_by, reason, override_reason, restored]
    _call(trainer, "select ml.deploy(%s, %s, %s, %s, %s, %s, %s)", values)
    log.info("%s is %s from %s on", model_version, alias, begins.isoformat())
    return Deployment(alias, model_version, begins, None, recorded_by, reason, override_reason, restored)


def _call(trainer: Connection, statement: LiteralString, values: list[object]) -> None:
    try:
        trainer.execute(statement, values)
    except RaiseException as error:
        raise ModelError(str(error.diag.message_primary)) from None


def _standing(trainer: Connection, alias: Alias) -> Deployment | None:
    row = trainer.execute(f"{_SELECT} where alias = %s and valid_to = 'infinity'", [alias]).fetchone()
    return Deployment(*row) if row else None


def _held_before(trainer: Connection, standing: Deployment) -> Deployment | None:
    row = trainer.execute(
        f"{_SELECT} where alias = %s and model_version <> %s and valid_from < %s and valid_from < valid_to"
        " order by valid_from desc limit 1",
        [standing.alias, standing.model_version, standing.began],
    ).fetchone()
    return Deployment(*row) if row else None


def _known_as_of(trainer: Connection, model_version: str) -> datetime:
    row = trainer.execute(
        "select known_as_of from ml.model_versions where model_version = %s", [model_version]
    ).fetchone()
    if row is None:
        raise ModelError(no_such_version(trainer, model_version))
    known_as_of: datetime = row[0]
    return known_as_of


def _default_cut_off(trainer: Connection) -> datetime | None:
    """Return the first cut-off after every published night's; None where nothing was published."""
    [(published,)] = trainer.execute("select ops.last_champion_cut_off()").fetchall()
    return None if published is None else published + _FIRST_UNPUBLISHED


def _with_zone(cut_off: datetime | None) -> datetime | None:
    if cut_off is not None and cut_off.tzinfo is None:
        raise ModelError(
            f"Expected a cut-off with a time zone, found {cut_off.isoformat()}. "
            f"Write {cut_off.isoformat()}+00:00 for UTC."
        )
    return cut_off


def _check_words(*words: str) -> None:
    if not all(word.strip() for word in words):
        raise ModelError("Expected a reason and a name for a deployment, found an empty one. State both.")
