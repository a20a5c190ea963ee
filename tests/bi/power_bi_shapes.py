"""The JSON files of a Power BI project as schemas, by the address in their own ``$schema``.

Restated in our words from Microsoft's public schemas (https://github.com/microsoft/json-schemas,
folder fabric; read in November 2026): the properties that may stand there, those that must, and their
types, for the parts that the project writes. What is not written here is refused, so they are
stricter. The originals fetch each other over the network and are no package's data, so they are not here.
"""

import re
from collections.abc import Mapping
from typing import Any

FABRIC = "https://developer.microsoft.com/json-schemas/fabric/"
TEXT = {"type": "string", "minLength": 1}
NUMBER = {"type": "number"}
FLAG = {"type": "boolean"}
NAME = {"type": "string", "minLength": 1, "maxLength": 50}
UUID = {"type": "string", "pattern": r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
# Relative, with slashes.
PATH = {"type": "string", "pattern": r"^(?!/)(?![A-Za-z]:)[^\\]+$"}


def exactly(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": sorted(required),
        "additionalProperties": False,
    }


def listed(item: Mapping[str, Any], at_least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": at_least}


def mapped(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": item}


SOURCE = exactly({"SourceRef": exactly({"Entity": TEXT})})
NAMED = exactly({"Expression": SOURCE, "Property": TEXT})
FIELD = {"oneOf": [exactly({"Column": NAMED}), exactly({"Measure": NAMED})]}
LITERAL = exactly({"expr": exactly({"Literal": exactly({"Value": TEXT})})})
PROJECTION = exactly({"field": FIELD, "queryRef": TEXT}, {"nativeQueryRef": TEXT, "displayName": TEXT})
SORT = exactly({"field": FIELD, "direction": {"enum": ["Ascending", "Descending"]}})
QUERY = exactly(
    {"queryState": mapped(exactly({"projections": listed(PROJECTION)}))},
    {"sortDefinition": exactly({}, {"sort": listed(SORT), "isDefaultSort": FLAG})},
)
VISUAL = exactly(
    {"visualType": TEXT},
    {
        "query": QUERY,
        "drillFilterOtherVisuals": FLAG,
        "objects": mapped(listed(exactly({"properties": {"type": "object"}}))),
        "visualContainerObjects": exactly(
            {},
            {
                "title": listed(exactly({"properties": exactly({}, {"show": LITERAL, "text": LITERAL})})),
                "general": listed(exactly({"properties": exactly({}, {"altText": LITERAL})})),
            },
        ),
    },
)
THEME = exactly(
    {
        "name": TEXT,
        "reportVersionAtImport": TEXT,
        "type": {"enum": ["SharedResources", "RegisteredResources"]},
    }
)
_DEFINITION = "item/report/definition/"
_SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pbip/pbipProperties/1.0.0": (
        {"version": TEXT, "artifacts": listed(exactly({"report": exactly({"path": PATH})}))},
        {"settings": exactly({}, {"enableAutoRecovery": FLAG})},
    ),
    "gitIntegration/platformProperties/2.0.0": (
        {
            "metadata": exactly({"type": {"enum": ["SemanticModel", "Report"]}, "displayName": TEXT}),
            "config": exactly({"version": TEXT, "logicalId": UUID}),
        },
        {},
    ),
    "item/semanticModel/definitionProperties/1.0.0": ({"version": TEXT}, {"settings": exactly({})}),
    "item/report/definitionProperties/2.0.0": (
        {"version": TEXT, "datasetReference": exactly({"byPath": exactly({"path": PATH})})},
        {},
    ),
    f"{_DEFINITION}versionMetadata/1.0.0": (
        {"version": {"type": "string", "pattern": r"^[1-9][0-9]*\.(0|[1-9][0-9]*)\.0$"}},
        {},
    ),
    f"{_DEFINITION}report/2.0.0": (
        {"themeCollection": exactly({}, {"baseTheme": THEME})},
        {"settings": exactly({}, {"useStylableVisualContainerHeader": FLAG})},
    ),
    f"{_DEFINITION}pagesMetadata/1.0.0": ({"pageOrder": listed(NAME), "activePageName": NAME}, {}),
    f"{_DEFINITION}page/2.0.0": (
        {
            "name": NAME,
            "displayName": TEXT,
            "displayOption": {"enum": ["FitToPage", "FitToWidth", "ActualSize"]},
            "height": NUMBER,
            "width": NUMBER,
        },
        {},
    ),
    f"{_DEFINITION}visualContainer/2.0.0": (
        {
            "name": NAME,
            "position": exactly(
                {"x": NUMBER, "y": NUMBER, "height": NUMBER, "width": NUMBER},
                {"z": NUMBER, "tabOrder": NUMBER},
            ),
            "visual": VISUAL,
        },
        {},
    ),
}
SCHEMAS = {
    f"{FABRIC}{path}/schema.json": exactly(
        {"$schema": {"const": f"{FABRIC}{path}/schema.json"}, **required}, optional
    )
    for path, (required, optional) in _SHAPES.items()
}

CONNECTION_FILE = exactly(
    {
        "version": {"const": "0.1"},
        "connections": listed(
            exactly({
                "details": exactly({
                    "protocol": {"const": "postgresql"},
                    "address": exactly({
                        "server": {"type": "string", "pattern": r"^[\w.-]+(:\d+)?$"},
                        "database": {"type": "string", "pattern": r"^\w+$"},
                    }),
                    "authentication": {"type": "null"},
                    "query": {"type": "null"},
                }),
                "options": exactly({}),
                "mode": {"enum": ["Import", "DirectQuery"]},
            })
        ),
    }
)  # fmt: skip
"""A .pbids file: Microsoft documents it in words (power-bi/connect-data/desktop-data-sources)."""

ROLES: dict[str, tuple[set[str], set[str]]] = {
    "card": ({"Values"}, set()),
    "slicer": ({"Values"}, set()),
    "tableEx": ({"Values"}, set()),
    "lineChart": ({"Category", "Y"}, {"Series"}),
    "clusteredColumnChart": ({"Category", "Y"}, {"Series"}),
    "clusteredBarChart": ({"Category", "Y"}, {"Series"}),
    "textbox": (set(), set()),
}
"""The roles that a visual must and may fill, as @microsoft/powerbi-core-visual-schema 0.1.1 lists them."""

VISUAL_FILE = re.compile(r"churn\.Report/definition/pages/(\w+)/visuals/(\w+)/visual\.json")
