"""What is sent to Metabase for each entity, and whether what Metabase holds is already that.

Metabase gives new entities ids of its own and takes none from outside, so each description ends with a mark
that names the entity's file id: by it an entity is found again, renamed or not. Metabase adds keys of its own
to what it stores; so two bodies agree where everything that would be sent is there already.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from churn_ml.bi.metabase_files import Card, Dashboard, Dashcard, Parameter, Tag

Body = dict[str, Any]

_MARK = re.compile(r"Kept as code: changes made here are overwritten \(([A-Za-z0-9_-]{21})\)\s*\Z")
# What Metabase takes back of a dashcard that somebody else put on the dashboard.
_KEYS_OF_DASHCARD = (
    "id", "card_id", "action_id", "dashboard_tab_id", "row", "col", "size_x", "size_y",
    "parameter_mappings", "inline_parameters", "visualization_settings",
)  # fmt: skip


@dataclass
class Ids:
    """Metabase's numbers: of the database, of its columns by (table, column), of entities by entity id."""

    database: int
    fields: dict[tuple[str, str], int]
    collections: dict[str, int] = field(default_factory=dict)
    cards: dict[str, int] = field(default_factory=dict)
    dashboards: dict[str, int] = field(default_factory=dict)


def marked(description: str, entity_id: str) -> str:
    """Return `description` with the mark by which the entity is found again."""
    return f"{description.strip()}\n\nKept as code: changes made here are overwritten ({entity_id})"


def mark_in(description: str | None) -> str | None:
    """Return the entity id that `description` ends with; none where nobody marked it."""
    found = _MARK.search(description or "")
    return found[1] if found else None


def card_body(card: Card, ids: Ids) -> Body:
    """Return what is sent for a question."""
    return {
        "name": card.name,
        "description": marked(card.description, card.entity_id),
        "type": card.type,
        "display": card.display,
        "collection_id": ids.collections[card.collection_id],
        "dataset_query": {
            "database": ids.database,
            "type": "native",
            "native": {
                "query": card.sql,
                "template-tags": {tag.name: _tag_body(tag, ids) for tag in card.tags},
            },
        },
        "parameters": [_parameter_body(one) for one in card.parameters],
        "visualization_settings": card.visualization_settings,
    }


def held_card(card: Body) -> Body:
    """Return a question that Metabase told, without what it adds to references."""
    query = card.get("dataset_query") or {}
    native = query.get("native") or {}
    tags = {name: _plain_tag(tag) for name, tag in (native.get("template-tags") or {}).items()}
    return {
        **card,
        "dataset_query": {**query, "native": {**native, "template-tags": tags}},
        "parameters": [_plain_target(one) for one in card.get("parameters") or []],
    }


def dashboard_body(dashboard: Dashboard, ids: Ids, held: Body) -> Body:
    """Return what is sent for a dashboard that Metabase tells as `held`.

    Dashcards, filters and tabs that somebody else put there are sent back as they are: Metabase removes
    what is left out. A new dashcard has a negative id.
    """
    # Of two of one question the older is ours: the other was put there by somebody else.
    newest_first = sorted(held.get("dashcards") or [], key=lambda one: -int(one["id"]))
    own = {_key_held(one): one for one in newest_first}
    tabs = held.get("tabs") or []
    dashcards = []
    for number, dashcard in enumerate(dashboard.dashcards, start=1):
        body = _dashcard_body(dashcard, ids)
        before = own.pop(_key(dashcard, ids), None)
        body["id"] = before["id"] if before else -number
        if tabs:
            body["dashboard_tab_id"] = before["dashboard_tab_id"] if before else tabs[0]["id"]
        dashcards.append(body)
    parameters = [_parameter_body(one) for one in dashboard.parameters]
    known = {one["id"] for one in parameters}
    body = {
        "name": dashboard.name,
        "description": marked(dashboard.description, dashboard.entity_id),
        "width": dashboard.width,
        "auto_apply_filters": dashboard.auto_apply_filters,
        "parameters": [*parameters, *(one for one in held.get("parameters") or [] if one["id"] not in known)],
        "dashcards": [*dashcards, *map(_kept_dashcard, _foreign(held, dashcards))],
    }
    return {**body, "tabs": [{"id": one["id"], "name": one["name"]} for one in tabs]} if tabs else body


def dashboard_differs(dashboard: Dashboard, wanted: Body, held: Body) -> bool:
    """Tell whether a dashboard is not as `wanted`; dashcards that somebody else put there are as they are."""
    own = {**wanted, "dashcards": wanted["dashcards"][: len(dashboard.dashcards)]}
    return differs(own, _held_in_order(held, own))


def _held_in_order(dashboard: Body, wanted: Body) -> Body:
    """Return a dashboard that Metabase told, its dashcards and filters in the order of `wanted`."""
    dashcards = {one["id"]: _plain_dashcard(one) for one in dashboard.get("dashcards") or []}
    parameters = {one["id"]: one for one in dashboard.get("parameters") or []}
    return {
        **dashboard,
        "dashcards": [dashcards.get(one["id"], {}) for one in wanted["dashcards"]],
        "parameters": [parameters.get(one["id"], {}) for one in wanted["parameters"]],
    }


def differs(wanted: Any, held: Any) -> bool:
    """Tell whether something of `wanted` is not in `held`; nothing, null and empty are the same."""
    if isinstance(wanted, dict):
        other = held if isinstance(held, dict) else {}
        return any(differs(value, other.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        items = held if isinstance(held, list | tuple) else []
        return len(wanted) != len(items) or any(differs(*pair) for pair in zip(wanted, items, strict=True))
    return bool(wanted != held) and not (wanted in (None, "") and held in (None, "", [], {}))


def _foreign(held: Body, own: list[Body]) -> list[Body]:
    ids = {one["id"] for one in own}
    return [one for one in held.get("dashcards") or [] if one["id"] not in ids]


def _tag_body(tag: Tag, ids: Ids) -> Body:
    body: Body = {"id": str(tag.id), "name": tag.name, "display-name": tag.display_name, "type": tag.type}
    if tag.field is None:
        return body
    return {**body, "dimension": ["field", ids.fields[tag.field], None], "widget-type": tag.widget_type}


def _plain_tag(tag: Body) -> Body:
    dimension = tag.get("dimension")
    return {**tag, "dimension": [*dimension[:2], None]} if dimension else tag


def _parameter_body(parameter: Parameter) -> Body:
    return parameter.model_dump(mode="json", by_alias=True, exclude_none=True)


def _plain_target(one: Body) -> Body:
    """Return a filter or mapping with the two parts of its target that name the tag."""
    return {**one, "target": one["target"][:2]} if one.get("target") else one


def _dashcard_body(dashcard: Dashcard, ids: Ids) -> Body:
    settings = dict(dashcard.visualization_settings)
    if "virtual_card" in settings:
        virtual = {
            "name": dashcard.entity_id,
            "visualization_settings": {},
            "dataset_query": {},
            "archived": False,
        }
        settings["virtual_card"] = {**virtual, **settings["virtual_card"]}
    return {
        "card_id": ids.cards[dashcard.card_id] if dashcard.card_id else None,
        "row": dashcard.row,
        "col": dashcard.col,
        "size_x": dashcard.size_x,
        "size_y": dashcard.size_y,
        "parameter_mappings": [
            {"card_id": ids.cards[one.card_id], "parameter_id": str(one.parameter_id), "target": one.target}
            for one in sorted(dashcard.parameter_mappings, key=lambda one: str(one.parameter_id))
        ],
        "visualization_settings": settings,
    }


def _key(dashcard: Dashcard, ids: Ids) -> int | str:
    """Return by what a dashcard is found again: its question, or the mark in its virtual card."""
    return ids.cards[dashcard.card_id] if dashcard.card_id else dashcard.entity_id


def _key_held(dashcard: Body) -> int | str | None:
    if dashcard.get("card_id"):
        return int(dashcard["card_id"])
    name = (dashcard.get("visualization_settings") or {}).get("virtual_card", {}).get("name")
    return str(name) if name else None


def _plain_dashcard(dashcard: Body) -> Body:
    mappings = [_plain_target(one) for one in dashcard.get("parameter_mappings") or []]
    order = {"parameter_mappings": sorted(mappings, key=lambda one: str(one["parameter_id"]))}
    return {**dashcard, **order}


def _kept_dashcard(dashcard: Body) -> Body:
    kept = {key: dashcard[key] for key in _KEYS_OF_DASHCARD if dashcard.get(key) is not None}
    if dashcard.get("series"):
        kept["series"] = [{"id": one["id"]} for one in dashcard["series"]]
    return kept
