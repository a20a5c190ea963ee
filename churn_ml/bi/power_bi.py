"""The Power BI project as files: written from what dbt and the metric seed declare, the same every time."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from churn_ml.bi.power_bi_marts import read_marts, read_metrics
from churn_ml.bi.power_bi_model import model_files, tag
from churn_ml.bi.power_bi_report import report_files

NAME = "churn"
README = "README.md"
_SCHEMAS = "https://developer.microsoft.com/json-schemas/fabric"


def project_files(
    declared_marts: Iterable[Mapping[str, Any]], metric_seed: Path, server: str, database: str
) -> Mapping[str, str]:
    """Return every generated file by its path inside ``bi/powerbi``.

    Parameters
    ----------
    declared_marts
        The marts as dbt declares them (``services.dbt_marts.describe_marts``).
    metric_seed
        The seed file of metric definitions.
    server, database
        First values of the parameters: host and port, and the name of the database. No user, no
        password: Power BI asks for them.

    Raises
    ------
    DeclarationError
        If a mart, a metric or a page cannot be told to Power BI; the message names it.
    """
    marts, metrics = read_marts(declared_marts), read_metrics(metric_seed)
    model, report = f"{NAME}.SemanticModel", f"{NAME}.Report"
    files = {f"{model}/definition/{path}": text
             for path, text in model_files(marts, metrics, server, database).items()}  # fmt: skip
    wrappers = {
        f"{NAME}.pbids": _connection(server, database),
        f"{NAME}.pbip": _shortcut(report),
        f"{model}/.platform": _platform("SemanticModel"),
        f"{model}/definition.pbism": _model_properties(),
        f"{report}/.platform": _platform("Report"),
        f"{report}/definition.pbir": _report_properties(model),
    }
    wrappers |= {f"{report}/definition/{path}": content
                 for path, content in report_files(marts, metrics).items()}  # fmt: skip
    files |= {path: json.dumps(content, indent=2) + "\n" for path, content in wrappers.items()}
    return dict(sorted(files.items()))


def write_project(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Make `folder` hold exactly `files`, beside its README; return the paths that were changed."""
    changed = differences(folder, files)
    for path in changed:
        if path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(files[path], encoding="utf-8", newline="\n")
        else:
            (folder / path).unlink()
    return changed


def differences(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Return the paths that `folder` lacks, holds otherwise, or holds too much, in order."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    surplus = {path for path in there - set(files) if _is_generated(path)}
    other = {
        path for path, text in files.items()
        if path not in there or (folder / path).read_bytes() != text.encode("utf-8")
    }  # fmt: skip
    return sorted(surplus | other)


def _is_generated(path: str) -> bool:
    """Return whether `path` is ours to write; what Power BI Desktop keeps for one machine is not."""
    return path != README and "/.pbi/" not in path and not path.startswith(".")


def _connection(server: str, database: str) -> dict[str, Any]:
    address = {"server": server, "database": database}
    details = {"protocol": "postgresql", "address": address, "authentication": None, "query": None}
    return {"version": "0.1", "connections": [{"details": details, "options": {}, "mode": "Import"}]}


def _shortcut(report: str) -> dict[str, Any]:
    return {
        "$schema": f"{_SCHEMAS}/pbip/pbipProperties/1.0.0/schema.json",
        "version": "1.0",
        "artifacts": [{"report": {"path": report}}],
        "settings": {"enableAutoRecovery": True},
    }


def _platform(kind: str) -> dict[str, Any]:
    return {
        "$schema": f"{_SCHEMAS}/gitIntegration/platformProperties/2.0.0/schema.json",
        "metadata": {"type": kind, "displayName": NAME},
        "config": {"version": "2.0", "logicalId": str(tag("item", kind))},
    }


def _model_properties() -> dict[str, Any]:
    return {
        "$schema": f"{_SCHEMAS}/item/semanticModel/definitionProperties/1.0.0/schema.json",
        "version": "4.2",
        "settings": {},
    }


def _report_properties(model: str) -> dict[str, Any]:
    return {
        "$schema": f"{_SCHEMAS}/item/report/definitionProperties/2.0.0/schema.json",
        "version": "4.0",
        "datasetReference": {"byPath": {"path": f"../{model}"}},
    }
