"""Every error this package raises on purpose.

::

    ChurnError
    ├── SettingsError            a setting or a declaration is missing or malformed
    │   └── DeclarationError     a dataset's YAML file does not follow its schema
    ├── ServiceError             a process of ours does not start, stop or answer
    ├── WarehouseError           the warehouse cannot be reached, migrated or read
    │   └── RepetitionError      a night cannot be repeated as asked, or not now
    ├── LandingError             a delivery cannot be landed as a whole
    ├── TransformationError      a dbt invocation failed
    ├── GateBlocked              a blocking expectation failed
    ├── FeatureContractError     a frame does not carry the columns its contract names
    ├── TrainingError            a training run cannot give a model that may be trusted
    ├── ModelError               a model version, artifact or deployment is unusable
    │   ├── ArtifactError        stored bytes that do not match their hash or are not trusted
    │   └── NoChampion           no champion is deployed at a night's cut-off
    ├── ScoringError             a night's scores would be incomplete or doubled
    ├── AuditFailed              a proof does not hold, or there is nothing to prove it on
    └── PublishingError          a run may not be published, un-published or discarded
        └── ReproductionError    a reproduced night differs from what was published then

A message says what was expected, what was found and what to do next.
"""


class ChurnError(Exception):
    """The root: the CLI prints these without a traceback and exits with 1."""


class SettingsError(ChurnError):
    """A setting or a declaration is missing or malformed."""


class DeclarationError(SettingsError):
    """A dataset's declaration does not follow its schema."""


class ServiceError(ChurnError):
    """A process of ours does not start, stop or answer."""


class WarehouseError(ChurnError):
    """The warehouse cannot be reached, migrated or read."""


class RepetitionError(WarehouseError):
    """A night cannot be repeated as asked, or not while another repetition of it runs."""


class LandingError(ChurnError):
    """A delivery cannot be landed as a whole; nothing of it was stored."""


class TransformationError(ChurnError):
    """A dbt invocation failed; the message names the nodes."""


class GateBlocked(ChurnError):
    """A blocking expectation failed; the rooms behind the gate must not run."""


class FeatureContractError(ChurnError):
    """A frame lacks, adds or retypes a column of its feature contract."""


class TrainingError(ChurnError):
    """A training run cannot give a model that may be trusted."""


class ModelError(ChurnError):
    """A model version, artifact or deployment is unusable."""


class ArtifactError(ModelError):
    """Stored bytes do not match their hash or hold a type nobody reviewed."""


class NoChampion(ModelError):
    """No champion is deployed at a night's cut-off."""


class ScoringError(ChurnError):
    """A night's scores would be incomplete or doubled."""


class AuditFailed(ChurnError):
    """A proof does not hold, or there is nothing to prove it on."""


class PublishingError(ChurnError):
    """A run may not be published, un-published or discarded."""


class ReproductionError(PublishingError):
    """A reproduced night differs from what was published then; the message lists the difference."""
