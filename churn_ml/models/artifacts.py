"""A model as bytes, and back, without running code that nobody reviewed.

Loading checks in this order: the sha256 of the bytes, the library versions, the types that the bytes
name. Fitted attributes are private and change between releases, so Python's minor version and each
library that a prediction passes through must be as recorded; pandas and pyarrow only carry the rows
and are logged.
"""

import hashlib
import logging
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

import skops.io
from sklearn.pipeline import Pipeline
from skops.io.exceptions import UntrustedTypesFoundException

from churn_ml.errors import ArtifactError
from churn_ml.models.candidates import candidate_of
from churn_ml.models.contributions import Reference
from churn_ml.models.crossfit import CrossFittedModel
from churn_ml.models.value_models import value_candidate_of

log = logging.getLogger(__name__)

_MUST_MATCH = ("scikit-learn", "numpy", "scipy", "skops")
_LOGGED = ("pandas", "pyarrow")
_MALFORMED = (
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    UntrustedTypesFoundException,
)


@dataclass(frozen=True)
class Artifact:
    """What the bytes hold: the fold pipelines, training quantiles, and the value model if any."""

    pipelines: Sequence[Pipeline]
    reference: Reference
    value_pipeline: Pipeline | None = None

    @property
    def model(self) -> CrossFittedModel:
        """The pipelines, ready to predict."""
        return CrossFittedModel(tuple(self.pipelines))


def dump_artifact(artifact: Artifact) -> bytes:
    """Return `artifact` as one compressed skops file."""
    reference = artifact.reference
    content: bytes = skops.io.dumps(
        {
            "pipelines": list(artifact.pipelines),
            "value_pipeline": artifact.value_pipeline,
            "reference": {"quantiles": dict(reference.quantiles), "centres": list(reference.centres)},
        },
        compression=zipfile.ZIP_DEFLATED,
    )
    return content


def load_artifact(
    content: bytes,
    sha256: str,
    family: str,
    recorded_versions: Mapping[str, str],
    value_family: str | None = None,
) -> Artifact:
    """Return what `content` holds.

    Raises
    ------
    ArtifactError
        If the bytes do not have the recorded hash, were written by other libraries, or hold a type
        that is not on the reviewed list of `family` or `value_family`; the message names it.
    """
    found = sha256_of(content)
    if found != sha256:
        raise ArtifactError(
            f"Expected an artifact with sha256 {sha256}, found {found}: its bytes were changed after it was "
            "registered. Nothing of it was loaded. Promote another version, or train a new one."
        )
    _check_versions(recorded_versions, libraries_of(family, value_family))
    trusted = _trusted_types(family, value_family)
    try:
        unreviewed = sorted(set(skops.io.get_untrusted_types(data=content)) - trusted)
        if unreviewed:
            raise ArtifactError(
                f"Expected only reviewed types in an artifact of family {family}, found: "
                f"{', '.join(unreviewed)}. "
                "Nothing of it was loaded. Find out who wrote it; promote another version."
            )
        return _parts(skops.io.loads(content, trusted=sorted(trusted)))
    except _MALFORMED as error:
        raise ArtifactError(
            f"Expected a skops file of pipelines and reference, found {type(error).__name__}: {error}. "
            "Promote another version, or train a new one."
        ) from error


def sha256_of(content: bytes) -> str:
    """Return the sha256 of `content` in hex."""
    return hashlib.sha256(content).hexdigest()


def libraries_of(family: str, value_family: str | None = None) -> tuple[str, ...]:
    """Return the distributions whose version a model of these families depends on."""
    own = set(candidate_of(family).libraries)
    if value_family is not None:
        own |= set(value_candidate_of(value_family).libraries)
    return (*_MUST_MATCH, *sorted(own - set(_MUST_MATCH)))


def running_versions(libraries: Sequence[str] = _MUST_MATCH) -> dict[str, str]:
    """Return the versions of Python and of the libraries that a prediction passes through.

    A library that is not installed is left out.
    """
    found = {"python": python_version()}
    for name in dict.fromkeys((*libraries, *_LOGGED)):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _parts(content: Any) -> Artifact:
    if not isinstance(content, dict):
        raise TypeError(f"a {type(content).__name__} where a dict was to be")
    pipelines, value_pipeline = content["pipelines"], content["value_pipeline"]
    given = [*pipelines, *([] if value_pipeline is None else [value_pipeline])]
    foreign = {type(item).__name__ for item in given if not isinstance(item, Pipeline)}
    if foreign or not pipelines:
        raise TypeError(f"{', '.join(sorted(foreign)) or 'nothing'} where pipelines were to be")
    reference = content["reference"]
    return Artifact(
        tuple(pipelines), Reference(reference["quantiles"], tuple(reference["centres"])), value_pipeline
    )


def _trusted_types(family: str, value_family: str | None) -> set[str]:
    trusted = set(candidate_of(family).trusted_types)
    if value_family is not None:
        trusted |= set(value_candidate_of(value_family).trusted_types)
    return trusted


def _check_versions(recorded: Mapping[str, str], libraries: Sequence[str]) -> None:
    running = running_versions(libraries)
    expected = dict(recorded) | {"python": _minor(recorded.get("python", ""))}
    found = running | {"python": _minor(running["python"])}
    differing = [name for name in ("python", *libraries) if expected.get(name) != found.get(name)]
    if differing:
        were = ", ".join(f"{name} {expected.get(name) or 'not recorded'}" for name in differing)
        are = ", ".join(f"{name} {found.get(name) or 'not installed'}" for name in differing)
        raise ArtifactError(
            f"Expected the library versions that the model was registered with: {were}; found {are}. "
            "Nothing was loaded. Install the recorded versions, or train and promote a model with the "
            "running ones."
        )
    for name in _LOGGED:
        if recorded.get(name) != running.get(name):
            log.warning("artifact was written with %s %s, running %s", name, recorded.get(name),
                        running.get(name))  # fmt: skip


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])
