"""Rows that the audit makes up, landed as files by the real landing."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from churn_ml.audit.databases import ThrowAway
from churn_ml.declarations import Dataset
from churn_ml.landing.delivery import land_file


def land_rows(
    target: ThrowAway,
    dataset: Dataset,
    entity_name: str,
    rows: Sequence[Mapping[str, str | None]],
    as_of_date: date,
    known_at: datetime,
) -> int:
    """Write `rows` (raw column to text) as a delivery of `entity_name`, land it, return its rows."""
    entity = dataset.entities[entity_name]
    path = target.settings.inbox / as_of_date.isoformat() / f"{entity_name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=entity.delimiter)
        writer.writerow(entity.columns)
        blank = dict.fromkeys(entity.restricted_columns)
        writer.writerows([{**blank, **row}[column] for column in entity.columns.values()] for row in rows)
    landed = land_file(target.settings, path, entity_name, as_of_date=as_of_date, known_at=known_at)
    return landed.rows_landed
