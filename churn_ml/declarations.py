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


class Entity(_Strict):
    """One kind of file of a delivery and the raw table it lands in.

    `columns` maps each column of the file, exactly as its header spells it, to the raw column.
    """

    files: Annotated[list[str], Field(min_length=1)]
    delimiter: str
    encoding: Literal["UTF8", "LATIN1", "WIN1252"]
    key: Annotated[list[Name], Field(min_length=1)]
    columns: Annotated[dict[Annotated[str, Field(min_length=1)], Name], Field(min_length=1)]

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
        unknown = sorted(set(self.key) - set(raw_columns))
        if unknown:
            raise ValueError(f"key names no raw column of this entity: {', '.join(unknown)}")
        return self


class SensitiveFeature(_Strict):
    """A sensitive column that this dataset lets into its models, and why."""

    column: Name
    reason: Annotated[str, Field(min_length=20)]


class Dataset(_Strict):
    """The whole declaration; numbers the business chose live in dbt seeds, not here."""

    dataset: Name
    title: str
    kind: Literal["snapshot", "dated"]
    label_definition: Name
    value_definition: Literal["mrr_horizon"]
    entities: Annotated[dict[Name, Entity], Field(min_length=1)]
    sensitive_features: list[SensitiveFeature]


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
