"""Metabase's collections, questions and dashboards as they stand in ``bi/metabase/``.

The files follow Metabase's representation format (npm ``@metabase/representations``), narrowed to what this
project uses: a key that is not known here is refused, so that nothing is written that the loader would drop.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from churn_ml.errors import DeclarationError

DATABASE = "churn marts"
SCHEMA = "marts"
EntityId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{21}$")]
Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(_Strict):
    """One step of an entity's path: what it is and its id."""

    id: EntityId
    model: Text
    label: Text | None = None


class Collection(_Strict):
    """A folder of questions and dashboards."""

    name: Text
    description: Text
    entity_id: EntityId
    slug: Text
    parent_id: EntityId | None = None
    path: list[Identity] = Field(alias="serdes/meta")


class Tag(_Strict):
    """A ``{{name}}`` of a question's SQL: a date, or the values of one column of a mart."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    id: UUID
    type: Literal["date", "dimension"]
    display_name: Text = Field(alias="display-name")
    dimension: (
        tuple[Literal["field"], dict[str, Any], tuple[Literal["churn marts"], Literal["marts"], Text, Text]]
        | None
    ) = None
    widget_type: Literal["string/="] | None = Field(default=None, alias="widget-type")

    @property
    def field(self) -> tuple[str, str] | None:
        """Return (table, column) of the mart that the tag filters by; none for a date."""
        return self.dimension[2][2:] if self.dimension else None


class Stage(_Strict):
    """The SQL of a question and its tags."""

    kind: Literal["mbql.stage/native"] = Field(alias="lib/type")
    native: Text
    tags: list[Tag] = Field(alias="template-tags")


class Query(_Strict):
    """The query of a question: one stage of SQL on the marts."""

    kind: Literal["mbql/query"] = Field(alias="lib/type")
    database: Literal["churn marts"]
    stages: Annotated[list[Stage], Field(min_length=1, max_length=1)]


class Parameter(_Strict):
    """A filter that people see, of a question or of a dashboard."""

    id: UUID
    name: Text
    slug: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    type: Literal["date/single", "string/="]
    section: Literal["date", "string"] | None = Field(default=None, alias="sectionId")
    target: list[Any] | None = None


class Card(_Strict):
    """A question: SQL, how it is drawn, and what its numbers mean."""

    name: Text
    description: Text
    entity_id: EntityId
    type: Literal["question"]
    display: Text
    creator_id: Text
    collection_id: EntityId
    dataset_query: Query
    parameters: list[Parameter]
    parameter_mappings: Annotated[list[Any], Field(max_length=0)]
    visualization_settings: dict[str, Any]
    path: list[Identity] = Field(alias="serdes/meta")

    @property
    def sql(self) -> str:
        """Return the SQL with its tags unresolved."""
        return self.dataset_query.stages[0].native

    @property
    def tags(self) -> list[Tag]:
        """Return the tags of the SQL."""
        return self.dataset_query.stages[0].tags


class Mapping(_Strict):
    """Which tag of a question a filter of the dashboard sets."""

    card_id: EntityId
    parameter_id: UUID
    target: list[Any]


class Dashcard(_Strict):
    """A question or a heading at its place on the grid of 24 columns."""

    entity_id: EntityId
    card_id: EntityId | None
    row: Annotated[int, Field(ge=0)]
    col: Annotated[int, Field(ge=0, le=23)]
    size_x: Annotated[int, Field(ge=1, le=24)]
    size_y: Annotated[int, Field(ge=1)]
    parameter_mappings: list[Mapping]
    visualization_settings: dict[str, Any]
    path: list[Identity] = Field(alias="serdes/meta")


class Dashboard(_Strict):
    """A page of questions with its filters."""

    name: Text
    description: Text
    entity_id: EntityId
    creator_id: Text
    collection_id: EntityId
    collection_position: Annotated[int, Field(ge=1)]
    width: Literal["fixed", "full"]
    auto_apply_filters: bool
    parameters: list[Parameter]
    dashcards: Annotated[list[Dashcard], Field(min_length=1)]
    path: list[Identity] = Field(alias="serdes/meta")


Entity = Collection | Card | Dashboard
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # as safe, and eight times as fast where libyaml is
_MODELS: dict[str, TypeAdapter[Any]] = {
    "Collection": TypeAdapter(Collection),
    "Card": TypeAdapter(Card),
    "Dashboard": TypeAdapter(Dashboard),
}


@dataclass(frozen=True)
class Representation:
    """Everything in ``bi/metabase/`` by entity id; parents stand before their children.

    Attributes
    ----------
    files : dict of str to Path
        Where each entity stands, for messages.
    """

    collections: dict[str, Collection]
    cards: dict[str, Card]
    dashboards: dict[str, Dashboard]
    files: dict[str, Path]

    @property
    def fields(self) -> set[tuple[str, str]]:
        """Return (table, column) of every mart that a filter offers values of."""
        return {tag.field for card in self.cards.values() for tag in card.tags if tag.field}


def read_files(folder: Path) -> Representation:
    """Read every file of ``<folder>/collections`` by the format, without looking at what refers to what.

    Raises
    ------
    DeclarationError
        If there is no file, or one does not follow the format, or two have the same id.
    """
    paths = sorted((folder / "collections").rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    if not paths:
        raise DeclarationError(
            f"Expected Metabase's files in {folder / 'collections'}, found none. See {folder}/README.md."
        )
    found: dict[str, Entity] = {}
    files: dict[str, Path] = {}
    for path in paths:
        entity = _read_file(path)
        if entity.entity_id in found:
            raise DeclarationError(
                f"Expected an entity_id of its own in {path}, found {entity.entity_id} of "
                f"{files[entity.entity_id]}. Run `npx @metabase/representations generate-entity-id`."
            )
        found[entity.entity_id], files[entity.entity_id] = entity, path
    return Representation(
        {key: entity for key, entity in found.items() if isinstance(entity, Collection)},
        {key: entity for key, entity in found.items() if isinstance(entity, Card)},
        {key: entity for key, entity in found.items() if isinstance(entity, Dashboard)},
        files,
    )


def _read_file(path: Path) -> Entity:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  # nosec B506
        model = content["serdes/meta"][-1]["model"]
        entity: Entity = _MODELS[model].validate_python(content)
    except yaml.YAMLError as error:
        raise DeclarationError(f"Expected YAML in {path}, found: {error}. Mend the file.") from None
    except (KeyError, IndexError, TypeError):
        raise DeclarationError(
            f"Expected serdes/meta of {path} to end with a model of {', '.join(_MODELS)}, found none. "
            "Mend it."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DeclarationError(
            f"Expected {where} of {path} to follow Metabase's format, found: {first['msg']} "
            f"({error.error_count()} in all). See bi/metabase/README.md for how to check a file."
        ) from None
    if entity.path[-1].id != entity.entity_id:
        raise DeclarationError(
            f"Expected serdes/meta of {path} to end with {entity.entity_id}, found {entity.path[-1].id}. "
            "Mend it."
        )
    return entity
