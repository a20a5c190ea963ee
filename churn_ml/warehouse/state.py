"""What one instance remembers between commands: ports, ids and generated secrets.

Two JSON files in the home folder: ``instance.json`` (anyone who can enter the folder) and
``secrets.json`` (mode 0600).
"""

import json
import os
import secrets
import uuid
from pathlib import Path
from typing import Any

from churn_ml.errors import SettingsError
from churn_ml.settings import Settings


def read_state(settings: Settings) -> dict[str, Any]:
    """Return the remembered state; an instance that never started has an empty one."""
    return _read_json(settings.home / "instance.json")


def update_state(settings: Settings, **changes: object) -> dict[str, Any]:
    """Write `changes` over the remembered state and return the whole."""
    state = {"instance_id": uuid.uuid4().hex[:12]} | read_state(settings) | changes
    _write_json(settings.home / "instance.json", state, mode=0o644)
    return state


def secret(settings: Settings, name: str) -> str:
    """Return the generated secret `name`, made on first use."""
    path = settings.home / "secrets.json"
    known = _read_json(path)
    if name not in known:
        known[name] = secrets.token_urlsafe(24)
        _write_json(path, known, mode=0o600)
    return str(known[name])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SettingsError(
            f"Expected JSON in {path}, found {error}. Restore the file, or remove the folder "
            f"{path.parent} to start an instance anew (its data is lost)."
        ) from None
    if not isinstance(content, dict):
        raise SettingsError(f"Expected a JSON object in {path}, found {type(content).__name__}.")
    return content


def _write_json(path: Path, content: dict[str, Any], *, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        json.dump(content, file, indent=2)
    temporary.replace(path)
