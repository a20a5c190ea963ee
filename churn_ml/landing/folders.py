"""Which files of a path belong to which entity, and which day each describes."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from churn_ml.declarations import Dataset
from churn_ml.errors import LandingError

log = logging.getLogger(__name__)

_DATE_NAME = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Delivery:
    """One file to land."""

    path: Path
    entity: str
    as_of_date: date | None


def find_deliveries(dataset: Dataset, path: Path, as_of_date: date | None) -> list[Delivery]:
    """Return what `path`, a file or a folder, delivers, sorted by date and name.

    Raises
    ------
    LandingError
        If nothing matches, a file matches several entities, or two as-of dates are stated.
    """
    if not path.is_dir():
        entity = _entity_of(dataset, path)
        if entity is None:
            raise LandingError(f"{path.name}: expected a name that matches {_globs(dataset)}, found none.")
        return [Delivery(path, entity, _one_date(path.parent, as_of_date))]
    own_date = _one_date(path, as_of_date)
    deliveries = list(_files_of(dataset, path, own_date))
    for folder in _dated_folders(path):
        deliveries += _files_of(dataset, folder, _one_date(folder, own_date))
    if not deliveries:
        raise LandingError(
            f"Expected files that match {_globs(dataset)} in {path} or its YYYY-MM-DD folders, found none."
        )
    return deliveries


def find_inbox(dataset: Dataset, inbox: Path, newest: date) -> list[Delivery]:
    """Return the files of the inbox's folders ``YYYY-MM-DD`` up to `newest`; an empty inbox is no error."""
    if not inbox.is_dir():
        return []
    misplaced = [file.name for file in _visible(inbox) if file.is_file() and _entity_of(dataset, file)]
    if misplaced:
        raise LandingError(
            f"Expected deliveries in folders {inbox}/YYYY-MM-DD/, found {', '.join(misplaced)} beside them. "
            "Move each file into the folder of the day that it describes."
        )
    deliveries: list[Delivery] = []
    for folder in _dated_folders(inbox):
        day = _one_date(folder, None)
        if day is not None and day <= newest:
            deliveries += _files_of(dataset, folder, day)
    return deliveries


def _files_of(dataset: Dataset, folder: Path, as_of_date: date | None) -> Iterator[Delivery]:
    for file in _visible(folder):
        if file.is_dir():
            continue
        entity = _entity_of(dataset, file)
        if entity is not None:
            yield Delivery(file, entity, as_of_date)
        else:
            log.warning("%s matches no declared file name: left alone", file)


def _dated_folders(path: Path) -> list[Path]:
    folders = [entry for entry in _visible(path) if entry.is_dir()]
    for folder in folders:
        if not _DATE_NAME.fullmatch(folder.name):
            log.warning("%s is not named YYYY-MM-DD: left alone", folder)
    return [folder for folder in folders if _DATE_NAME.fullmatch(folder.name)]


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise LandingError(f"Expected a readable folder at {folder}, found: {error.strerror}.") from None


def _entity_of(dataset: Dataset, file: Path) -> str | None:
    matching = [
        name
        for name, entity in dataset.entities.items()
        if any(fnmatchcase(file.name, pattern) for pattern in entity.files)
    ]
    if len(matching) > 1:
        raise LandingError(
            f"{file.name}: expected a name that matches one entity of {dataset.dataset}, found "
            f"{' and '.join(matching)}. Narrow the patterns under files: in the dataset's YAML file."
        )
    return matching[0] if matching else None


def _one_date(folder: Path, stated: date | None) -> date | None:
    name = folder.absolute().name
    if not _DATE_NAME.fullmatch(name):
        return stated
    try:
        named = date.fromisoformat(name)
    except ValueError as error:
        raise LandingError(f"Expected a date as the name of the folder {folder}, found: {error}.") from None
    if stated is not None and stated != named:
        raise LandingError(
            f"Expected one as-of date for the files of {folder}, found two: {stated} and {named}. "
            "Leave --as-of out, or move the files."
        )
    return named


def _globs(dataset: Dataset) -> str:
    return "; ".join(f"{name}: {', '.join(entity.files)}" for name, entity in dataset.entities.items())
