"""What one file of ``bi/metabase/`` says of another: references, tags, filters and places on the grid."""

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from churn_ml.bi.metabase_files import Card, Dashboard, Dashcard, Representation, Tag, read_files
from churn_ml.errors import DeclarationError

COLUMNS_OF_GRID = 24
_TAG = re.compile(r"\{\{\s*([^}\s]+)\s*\}\}")
_KIND_OF_PARAMETER = {"date": "date/single", "dimension": "string/="}


def read_representation(folder: Path) -> Representation:
    """Read ``bi/metabase/`` and check that its parts fit together.

    Raises
    ------
    DeclarationError
        If a file does not follow the format, or names what is not there; every fault is listed.
    """
    representation = read_files(folder)
    faults = [*_faults_of_places(representation), *_faults_of_cards(representation)]
    for key, dashboard in representation.dashboards.items():
        faults += [f"{representation.files[key]}: {fault}" for fault in _faults_of(dashboard, representation)]
    if faults:
        raise DeclarationError(
            f"Expected the parts of {folder} to fit together, found: {'; '.join(faults)}. Mend them."
        )
    return representation


def target_of(tag: Tag) -> list[Any]:
    """Return how a filter names `tag`."""
    return ["dimension" if tag.type == "dimension" else "variable", ["template-tag", tag.name]]


def _faults_of_places(representation: Representation) -> Iterator[str]:
    """Yield what lies in a collection that is not there."""
    above: set[str | None] = {None}
    for key, collection in representation.collections.items():
        if collection.parent_id not in above:
            yield f"{representation.files[key]}: parent_id {collection.parent_id} is no collection above it"
        above.add(key)
    lying: dict[str, Card | Dashboard] = {**representation.cards, **representation.dashboards}
    for key, entity in lying.items():
        if entity.collection_id not in representation.collections:
            yield f"{representation.files[key]}: collection_id {entity.collection_id} is no collection"


def _faults_of_cards(representation: Representation) -> Iterator[str]:
    for key, card in representation.cards.items():
        for fault in _faults_of_tags(card):
            yield f"{representation.files[key]}: {fault}"


def _faults_of_tags(card: Card) -> Iterator[str]:
    declared = [tag.name for tag in card.tags]
    used = list(dict.fromkeys(_TAG.findall(card.sql)))
    if sorted(declared) != sorted(used):
        yield f"template-tags are {declared}, its SQL uses {used}"
    for tag in card.tags:
        if (tag.type == "dimension") != (tag.dimension is not None and tag.widget_type is not None):
            yield f"tag {tag.name} of type {tag.type} has a wrong dimension or widget-type"
    wanted = [(tag.id, tag.name, _KIND_OF_PARAMETER[tag.type], target_of(tag)) for tag in card.tags]
    if [(one.id, one.slug, one.type, one.target) for one in card.parameters] != wanted:
        yield "parameters are not its template-tags, in their order"


def _faults_of(dashboard: Dashboard, representation: Representation) -> Iterator[str]:
    cards = [dashcard.card_id for dashcard in dashboard.dashcards if dashcard.card_id]
    yield from (f"question {card} stands there twice" for card in set(cards) if cards.count(card) > 1)
    for dashcard in dashboard.dashcards:
        yield from _faults_of_dashcard(dashcard, dashboard, representation)
    for one, other in combinations(dashboard.dashcards, 2):
        if _overlap(one, other):
            yield f"dashcards {one.entity_id} and {other.entity_id} overlap"
    mapped = {
        mapping.parameter_id for dashcard in dashboard.dashcards for mapping in dashcard.parameter_mappings
    }
    yield from (f"filter {one.slug} filters nothing" for one in dashboard.parameters if one.id not in mapped)


def _faults_of_dashcard(
    dashcard: Dashcard, dashboard: Dashboard, representation: Representation
) -> Iterator[str]:
    name = f"dashcard {dashcard.entity_id}"
    if [step.id for step in dashcard.path] != [dashboard.entity_id, dashcard.entity_id]:
        yield f"{name}: serdes/meta is not the dashboard and itself"
    if dashcard.col + dashcard.size_x > COLUMNS_OF_GRID:
        yield f"{name}: ends beyond column {COLUMNS_OF_GRID}"
    if dashcard.card_id is None:
        if "virtual_card" not in dashcard.visualization_settings or dashcard.parameter_mappings:
            yield f"{name}: has no question, so it needs a virtual_card and no mappings"
        return
    card = representation.cards.get(dashcard.card_id)
    if card is None:
        yield f"{name}: question {dashcard.card_id} is not there"
        return
    types = {one.id: one.type for one in dashboard.parameters}
    targets = {str(target_of(tag)): _KIND_OF_PARAMETER[tag.type] for tag in card.tags}
    for mapping in dashcard.parameter_mappings:
        kind = targets.get(str(mapping.target))
        if mapping.card_id != dashcard.card_id or kind is None or types.get(mapping.parameter_id) != kind:
            yield f"{name}: filter {mapping.parameter_id} does not fit {mapping.target} of {card.name!r}"
    if len(dashcard.parameter_mappings) != len(card.tags):
        yield f"{name}: {len(card.tags)} tags of {card.name!r} want as many mappings"


def _overlap(one: Dashcard, other: Dashcard) -> bool:
    return (
        one.col < other.col + other.size_x
        and other.col < one.col + one.size_x
        and one.row < other.row + other.size_y
        and other.row < one.row + one.size_y
    )
