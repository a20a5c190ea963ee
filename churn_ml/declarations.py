"""A dataset's declaration: how one source meets the pipeline (``datasets/<dataset>.yml``)."""

from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from churn_ml.errors import DeclarationError
from churn_ml.settings import Settings

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TableSource(_Strict):
    """A table of the source database that an entity is read from, besides or instead of files.

    Its database is named by the setting `source_url`, never here.

    Attributes
    ----------
    name : str
        The table or view, with its schema where it has one: ``billing.invoices``.
    incremental_column : str or None
        A column that a new or changed row moves forward: a timestamp (one without a zone is UTC),
        a date or an integer, never null. A snapshot dataset has none: the whole table is the snapshot.
    overlap_minutes : int
        How long a transaction of the source may stay open: so far behind the greatest value that
        landed the next landing looks again. A row that landed already does not land twice.
    first_load_known_at : str or None
        Raw column with the time from which a first load's row is taken as known; none: all rows
        of a first load are known at the end of its as-of date.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*){0,2}$")]
    incremental_column: Annotated[str, Field(min_length=1)] | None = None
    overlap_minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60)] = 0
    first_load_known_at: Name | None = None

    @model_validator(mode="after")
    def _check_overlap(self) -> "TableSource":
        if self.incremental_column is None and (self.overlap_minutes or self.first_load_known_at):
            raise ValueError("overlap_minutes and first_load_known_at need an incremental_column")
        return self


class Entity(_Strict):
    """One kind of file of a delivery, or a table, and the raw table it lands in.

    `columns` maps each column of the file or table, exactly as it is spelt there, to the raw column.
    `restricted_columns` are raw columns that hold personal data: they land in ``raw_restricted``, which
    neither dbt nor BI can read.
    `missing_delivery` says what the raw gate does when a night's delivery lacks this entity.
    """

    files: list[str]
    table: TableSource | None = None
    delimiter: str
    encoding: Literal["UTF8", "LATIN1", "WIN1252"]
    key: Annotated[list[Name], Field(min_length=1)]
    columns: Annotated[dict[Annotated[str, Field(min_length=1)], Name], Field(min_length=1)]
    restricted_columns: list[Name] = []
    missing_delivery: Literal["block", "warn"] = "block"

    @property
    def open_columns(self) -> list[str]:
        """The raw columns that are not restricted: what ``raw.<entity>`` holds."""
        return [column for column in self.columns.values() if column not in self.restricted_columns]

    @field_validator("delimiter")
    @classmethod
    def _check_delimiter(cls, delimiter: str) -> str:
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
            raise ValueError("expected one ASCII character that is no quote and no line end")
        return delimiter

    @model_validator(mode="after")
    def _check_columns(self) -> "Entity":
        raw_columns = list(self.columns.values())
        doubled = sorted({name for name in raw_columns if raw_columns.count(name) > 1})
        if doubled:
            raise ValueError(f"two file columns map to the same raw column: {', '.join(doubled)}")
        for field, names in {"key": self.key, "restricted_columns": self.restricted_columns}.items():
            unknown = sorted(set(names) - set(raw_columns))
            if unknown:
                raise ValueError(f"{field} names no raw column of this entity: {', '.join(unknown)}")
        hidden = sorted(set(self.key) & set(self.restricted_columns))
        if hidden:
            raise ValueError(f"restricted_columns may not hold the key: {', '.join(hidden)}")
        return self

    @model_validator(mode="after")
    def _check_sources(self) -> "Entity":
        if not self.files and self.table is None:
            raise ValueError("expected names under files:, a table:, or both")
        known_at = self.table.first_load_known_at if self.table else None
        if known_at is not None and known_at not in self.columns.values():
            raise ValueError(f"table.first_load_known_at names no raw column of this entity: {known_at}")
        return self


class SensitiveFeature(_Strict):
    """A sensitive column that this dataset lets into its models, and why."""

    column: Name
    reason: Annotated[str, Field(min_length=20)]


class PanelDeclaration(_Strict):
    """Which nights a dated dataset learns from.

    Attributes
    ----------
    most_dates, least_dates : int
        The newest as-of dates whose labels have closed are taken, up to `most_dates`; fewer than
        `least_dates` are too little to train on.
    most_customers : int
        Above it a seeded sample of customers, with all their dates, keeps memory in bounds.
    treated : str
        ``exclude``: an observation whose customer was treated inside its label window is left out,
        since its outcome is not the one that would have come by itself; those held out stay in.
    """

    spacing: Literal["month_end"]
    most_dates: Annotated[int, Field(ge=2)]
    least_dates: Annotated[int, Field(ge=2)]
    most_customers: Annotated[int, Field(ge=1000)]
    treated: Literal["exclude", "keep"]


class SearchDeclaration(_Strict):
    """The budget of the search for each family's parameters: it ends with whichever is used up first.

    The first trial is the family's own parameters. A budget of time makes the outcome depend on the
    machine: `trials` should be what ends a search.
    """

    trials: Annotated[int, Field(ge=1)]
    seconds: Annotated[int, Field(ge=1)]


class Dataset(_Strict):
    """The whole declaration; numbers the business chose live in dbt seeds, not here.

    `candidates` names the families of models that compete, each with the parameters that differ from
    the family's own.
    """

    dataset: Name
    title: str
    kind: Literal["snapshot", "dated"]
    label_definition: Name
    value_definition: Literal[
        "mrr_horizon", "truncated_clv", "remaining_contract", "balance_margin", "fixed_amount", "none"
    ]
    entities: Annotated[dict[Name, Entity], Field(min_length=1)]
    sensitive_features: list[SensitiveFeature]
    candidates: Annotated[dict[Name, dict[Name, int | float | str | None]], Field(min_length=1)]
    search: SearchDeclaration
    panel: PanelDeclaration | None = None

    @model_validator(mode="after")
    def _check_panel(self) -> "Dataset":
        if (self.kind == "dated") != (self.panel is not None):
            raise ValueError("expected panel: for a dated dataset, and none for a snapshot dataset")
        return self

    @model_validator(mode="after")
    def _check_tables(self) -> "Dataset":
        for name, entity in self.entities.items():
            is_incremental = entity.table is not None and entity.table.incremental_column is not None
            if entity.table is not None and is_incremental != (self.kind == "dated"):
                raise ValueError(
                    f"expected table.incremental_column of {name} for a dated dataset, and none for a "
                    "snapshot dataset: there the whole table is the snapshot"
                )
        return self


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, which YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        doubled = sorted({str(key) for key in keys if keys.count(key) > 1})
        if doubled:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {doubled[0]!r} twice in one mapping", node.start_mark
            )
        return super().construct_mapping(node, deep)


def load_dataset(settings: Settings) -> Dataset:
    """Read the declaration of the dataset that this deployment serves.

    Raises
    ------
    DeclarationError
        If the file is missing or does not follow the schema; the message names the field.
    """
    folder = settings.project_dir / "datasets"
    path = folder / f"{settings.dataset}.yml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yml"))) or "none"
        raise DeclarationError(
            f"Expected a declaration at {path}, found none. Declared datasets: {known}. "
            "Set CHURN_DATASET to one."
        )
    return parse_dataset(path)


def parse_dataset(path: Path) -> Dataset:
    """Parse one declaration file."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 - a SafeLoader
        dataset = Dataset.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DeclarationError(f"Expected YAML in {path}, found: {error}") from None
    except ValidationError as error:
        problems = "\n".join(f"  {_describe(item)}" for item in error.errors())
        raise DeclarationError(f"{path} does not follow the schema of a dataset:\n{problems}") from None
    if dataset.dataset != path.stem:
        raise DeclarationError(
            f"Expected dataset: {path.stem!r} in {path}, found {dataset.dataset!r}. "
            "Rename the file or the dataset."
        )
    return dataset


def _describe(item: ErrorDetails) -> str:
    field = ".".join(map(str, item["loc"])) or "(top level)"
    hint = (
        " Put it in quotes: YAML reads Yes, No, on and off as booleans."
        if isinstance(item["input"], bool) and "string" in item["msg"]
        else ""
    )
    return f"{field}: {item['msg']}, found {item['input']!r}.{hint}"
