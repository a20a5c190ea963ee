"""What a training depends on as one hash: where it is known already, training again gives the same model."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from churn_ml.models.artifacts import running_versions
from churn_ml.training.dated_panel import DatedPanel
from churn_ml.training.panel import LabelledRows, Panel

_PACKAGE = Path(__file__).resolve().parents[1]
_CODE = ("features", "models", "training")
_LIBRARIES = ("optuna", "lightgbm", "xgboost-cpu", "interpret-core", "joblib")


def fingerprint(panel: LabelledRows, configuration: Mapping[str, Any]) -> str:
    """Return the sha256 of the panel's rows, `configuration`, the libraries and the code that trains.

    Parameters
    ----------
    configuration : mapping
        Everything else that decides the model, as plain JSON: candidates, budget, seed, definitions.
    """
    digest = hashlib.sha256()
    for part in _row_parts(panel):
        digest.update(hashlib.sha256(part).digest())
    settled = {
        "contract": panel.contract.to_json(),
        "configuration": configuration,
        "libraries": running_versions() | _further_versions(),
        "code": _code_sha256(),
    }
    digest.update(json.dumps(settled, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _row_parts(panel: LabelledRows) -> Iterator[bytes]:
    yield "\0".join(panel.customer_ids.to_pylist()).encode()
    yield panel.churned.tobytes()
    yield panel.monthly_values.tobytes()
    if isinstance(panel, Panel):
        yield panel.folds.tobytes()
    if isinstance(panel, DatedPanel):
        yield panel.as_of_dates.tobytes()
        yield panel.customer_groups.tobytes()
        yield repr(panel.spans).encode()
        yield repr(sorted(panel.known_as_of.items())).encode()
    for name, frame in {
        "features": panel.frame, "attributes": panel.attributes, "sensitive": panel.sensitive,
    }.items():  # fmt: skip
        for column in frame.columns:
            yield f"{name}.{column}".encode()
            yield _column_bytes(frame[column])


def _column_bytes(values: "pd.Series[Any]") -> bytes:
    """Return bytes that follow from the values alone, not from the order in which categories were met."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return values.to_numpy(np.float64).tobytes()
    categories = values.cat.remove_unused_categories().cat
    names = categories.categories.astype(str).to_numpy()
    rank = np.argsort(np.argsort(names)).astype(np.int64)
    # The codes of missing values are -1, which reads the last entry of this table.
    codes = np.append(rank, -1)[categories.codes]
    return "\0".join(sorted(names)).encode() + b"\0\0" + codes.tobytes()


@cache
def _further_versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def _code_sha256() -> str:
    """Hash the code as this process knows it: read once."""
    digest = hashlib.sha256()
    for room in _CODE:
        for path in sorted((_PACKAGE / room).glob("*.py")):
            digest.update(f"{room}/{path.name}".encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
