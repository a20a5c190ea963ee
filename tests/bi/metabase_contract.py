"""What Metabase v0.64 documents of its REST API, as far as the loader uses it: the bodies it accepts."""

from typing import Any

import jsonschema

NAME = {"type": "string", "pattern": r"\S"}
NAME_OR_NULL = {"type": ["string", "null"], "pattern": r"\S"}
TEXT_OR_NULL = {"type": ["string", "null"]}
NUMBER = {"type": "integer", "minimum": 1}
NUMBER_OR_NULL = {"type": ["integer", "null"], "minimum": 1}
FLAG = {"type": ["boolean", "null"]}
EMAIL = {"type": "string", "pattern": r"^[^@\s]+@[^@\s]+$"}
PASSWORD = {"type": "string", "minLength": 6, "pattern": r"\d"}


def closed(required: dict[str, Any], /, **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


def many(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": ["array", "null"], "items": item}


TARGET = {
    "type": "array",
    "minItems": 2,
    "maxItems": 3,
    "prefixItems": [
        {"enum": ["variable", "dimension"]},
        {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [{"const": "template-tag"}, NAME]},
    ],
}
PARAMETER = closed(
    {"id": NAME, "type": {"enum": ["date/single", "string/="]}},
    name={"type": "string"},
    slug={"type": "string"},
    sectionId=NAME,
    target=TARGET,
    default={},
    required=FLAG,
)
TAG = {
    "oneOf": [
        closed(
            {"id": NAME, "name": NAME, "display-name": NAME, "type": {"enum": ["date", "text", "number"]}}
        ),
        closed(
            {
                "id": NAME,
                "name": NAME,
                "display-name": NAME,
                "type": {"const": "dimension"},
                "dimension": {
                    "type": "array",
                    "minItems": 3,
                    "maxItems": 3,
                    "prefixItems": [{"const": "field"}, NUMBER, {"type": ["object", "null"]}],
                },
                "widget-type": {"enum": ["string/=", "none"]},
            }
        ),
    ]
}
QUERY = closed(
    {
        "database": NUMBER,
        "type": {"const": "native"},
        "native": closed(
            {"query": NAME}, **{"template-tags": {"type": "object", "additionalProperties": TAG}}
        ),
    }
)
CARD = {
    "name": NAME,
    "type": {"enum": ["question", "model", "metric"]},
    "dataset_query": QUERY,
    "display": NAME,
    "parameters": many(PARAMETER),
    "visualization_settings": {"type": "object"},
    "collection_id": NUMBER_OR_NULL,
    "collection_position": NUMBER_OR_NULL,
    "cache_ttl": NUMBER_OR_NULL,
}
DASHCARD = closed(
    {
        "id": {"type": "integer"},
        "size_x": NUMBER,
        "size_y": NUMBER,
        "row": {"type": "integer", "minimum": 0},
        "col": {"type": "integer", "minimum": 0},
    },
    card_id=NUMBER_OR_NULL,
    action_id=NUMBER_OR_NULL,
    dashboard_tab_id={"type": ["integer", "null"]},
    parameter_mappings=many(closed({"parameter_id": NAME, "target": TARGET}, card_id=NUMBER)),
    inline_parameters=many(NAME),
    visualization_settings={"type": ["object", "null"]},
    series=many(closed({"id": NUMBER})),
)
TAB = closed({"id": {"type": "integer"}, "name": NAME}, position={"type": "integer", "minimum": 0})
DATABASE = {
    "name": NAME,
    "engine": {"enum": ["postgres", "h2"]},
    "details": closed(
        {"host": NAME, "port": NUMBER, "dbname": NAME, "user": NAME, "ssl": {"type": "boolean"}},
        **{
            "password": {"type": "string"},
            "ssl-mode": NAME,
            "schema-filters-type": {"enum": ["all", "inclusion", "exclusion"]},
            "schema-filters-patterns": NAME,
        },
    ),
    "is_full_sync": {"type": "boolean"},
    "is_on_demand": {"type": "boolean"},
    "auto_run_queries": {"type": "boolean"},
}


def of(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    """Return a closed body of `properties` and `more`, of which `required` must be there."""
    return closed({name: properties[name] for name in required}, **{**properties, **more})


BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/setup"): closed(
        {
            "token": NAME,
            "user": closed(
                {"email": EMAIL, "password": PASSWORD}, first_name=NAME_OR_NULL, last_name=NAME_OR_NULL
            ),
            "prefs": closed({"site_name": NAME}, site_locale=NAME_OR_NULL, allow_tracking={}),
        }
    ),
    ("POST", "/api/session"): closed({"username": NAME, "password": NAME}),
    ("PUT", "/api/setting"): {"type": "object", "propertyNames": {"pattern": "^[a-z-]+$"}},
    ("PUT", "/api/setting/:key"): closed({"value": {}}),
    ("POST", "/api/database"): of(DATABASE, "name", "engine", "details"),
    ("PUT", "/api/database/:id"): of(DATABASE),
    ("POST", "/api/collection"): closed({"name": NAME}, description=NAME_OR_NULL, parent_id=NUMBER_OR_NULL),
    ("PUT", "/api/collection/:id"): closed(
        {}, name=NAME_OR_NULL, description=NAME_OR_NULL, parent_id=NUMBER_OR_NULL, archived=FLAG
    ),
    ("POST", "/api/card"): of(
        CARD, "name", "dataset_query", "display", "visualization_settings", description=NAME_OR_NULL
    ),
    ("PUT", "/api/card/:id"): of(CARD, description=TEXT_OR_NULL, archived=FLAG),
    ("POST", "/api/dashboard"): closed(
        {"name": NAME},
        description=TEXT_OR_NULL,
        parameters=many(PARAMETER),
        collection_id=NUMBER_OR_NULL,
        collection_position=NUMBER_OR_NULL,
    ),
    ("PUT", "/api/dashboard/:id"): closed(
        {},
        name=NAME_OR_NULL,
        description=TEXT_OR_NULL,
        parameters=many(PARAMETER),
        width={"enum": ["fixed", "full"]},
        auto_apply_filters=FLAG,
        archived=FLAG,
        collection_id=NUMBER_OR_NULL,
        collection_position=NUMBER_OR_NULL,
        dashcards=many(DASHCARD),
        tabs=many(TAB),
    ),
}


VALIDATORS = {endpoint: jsonschema.Draft202012Validator(body) for endpoint, body in BODIES.items()}


def faults(method: str, route: str, body: Any) -> dict[str, list[str]]:
    """Return what is wrong with `body`; as Metabase does, with the value that was sent."""
    if (method, route) not in BODIES:
        return {} if body is None else {"body": ["this endpoint takes none"]}
    found: dict[str, list[str]] = {}
    for error in VALIDATORS[method, route].iter_errors(body):
        where = ".".join(map(str, error.path)) or "body"
        found.setdefault(where, []).append(f"{error.message}, received: {error.instance!r}")
    return found
