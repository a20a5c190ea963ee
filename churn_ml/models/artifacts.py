"""Fold pipelines as bytes, and back, without running code that nobody reviewed.

Loading checks in this order: the sha256 of the bytes, the scikit-learn version, the types that the
bytes name. A scikit-learn of any other version is refused: its fitted attributes are private and
change between releases. Other libraries that differ are logged; they may move the last digits of
a probability, not what it means.
"""

import hashlib
import logging
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from platform import python_version

import skops.io
from sklearn.pipeline import Pipeline
from skops.io.exceptions import UntrustedTypesFoundException

from churn_ml.errors import ArtifactError
from churn_ml.models.candidates import candidate_of
from churn_ml.models.crossfit import CrossFittedModel

log = logging.getLogger(__name__)

_MUST_MATCH = "scikit-learn"
_RECORDED = (_MUST_MATCH, "skops", "numpy", "scipy", "pandas", "pyarrow")
_MALFORMED = (
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    UntrustedTypesFoundException,
)


def dump_pipelines(pipelines: Sequence[Pipeline]) -> bytes:
    """Return the fold pipelines as one compressed skops file."""
    content: bytes = skops.io.dumps(list(pipelines), compression=zipfile.ZIP_DEFLATED)
    return content


def load_pipelines(
    content: bytes, sha256: str, family: str, recorded_versions: Mapping[str, str]
) -> CrossFittedModel:
    """Return the model that `content` holds.

    Raises
    ------
    ArtifactError
        If the bytes do not have the recorded hash, were written by another scikit-learn, or hold
        a type that is not on the reviewed list of `family`; the message names it.
    """
    found = sha256_of(content)
    if found != sha256:
        raise ArtifactError(
            f"Expected an artifact with sha256 {sha256}, found {found}: its bytes were changed after it was "
            "registered. Promote another version, or train a new one."
        )
    _check_versions(recorded_versions)
    trusted = candidate_of(family).trusted_types
    try:
        unreviewed = sorted(set(skops.io.get_untrusted_types(data=content)) - set(trusted))
        if unreviewed:
            raise ArtifactError(
                f"Expected only reviewed types in an artifact of family {family}, found: "
                f"{', '.join(unreviewed)}. "
                "Nothing of it was loaded. Find out who wrote it; promote another version."
            )
        pipelines = skops.io.loads(content, trusted=list(trusted))
    except _MALFORMED as error:
        raise ArtifactError(
            f"Expected a skops file, found {type(error).__name__}: {error}. Promote another version."
        ) from error
    if not isinstance(pipelines, list) or not all(isinstance(item, Pipeline) for item in pipelines):
        raise ArtifactError(
            f"Expected a list of pipelines in the artifact, found {type(pipelines).__name__}. "
            "Promote another version."
        )
    return CrossFittedModel(tuple(pipelines))


def sha256_of(content: bytes) -> str:
    """Return the sha256 of `content` in hex."""
    return hashlib.sha256(content).hexdigest()


def running_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a prediction passes through."""
    return {"python": python_version()} | {name: version(name) for name in _RECORDED}


def _check_versions(recorded: Mapping[str, str]) -> None:
    running = running_versions()
    differing = {name: found for name, found in running.items() if recorded.get(name) != found}
    if _MUST_MATCH in differing:
        raise ArtifactError(
            f"Expected {_MUST_MATCH} {recorded.get(_MUST_MATCH)}, which wrote the artifact, found "
            f"{running[_MUST_MATCH]}. Install that version, or train and promote a model with this one."
        )
    for name, found in differing.items():
        log.warning("artifact was written with %s %s, running %s", name, recorded.get(name), found)
