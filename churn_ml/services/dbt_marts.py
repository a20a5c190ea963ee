"""What the dbt project says of the marts, as plain data: whoever reads it needs no dbt."""

from collections.abc import Mapping
from typing import Any

from churn_ml.services.dbt import _parsed_project
from churn_ml.settings import Settings


def describe_marts(settings: Settings) -> list[Mapping[str, Any]]:
    """Return every relation of schema marts as the project declares it; no warehouse is asked.

    Returns
    -------
    list of mapping
        By name: ``name``, ``description``, ``columns`` (``name``, ``data_type``, ``description`` each)
        and ``constraints`` (``type``, ``columns``, ``expression`` each), as the contract has them.
    """
    models = (node for node in _parsed_project(settings).nodes.values() if node.resource_type == "model")
    marts = (node for node in models if node.schema == "marts" and node.config.materialized != "ephemeral")
    return [
        {
            "name": node.name,
            "description": node.description,
            "columns": [
                {"name": column.name, "data_type": column.data_type, "description": column.description}
                for column in node.columns.values()
            ],
            "constraints": [
                {
                    "type": constraint.type.value,
                    "columns": list(constraint.columns),
                    "expression": constraint.expression,
                }
                for constraint in node.constraints
            ],
        }
        for node in sorted(marts, key=lambda node: str(node.name))
    ]
