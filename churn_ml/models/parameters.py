"""Where a candidate takes its parameters from while they are searched for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class ParameterSource(Protocol):
    """What suggests the next value of a parameter; an Optuna trial is one."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number between `low` and `high`, limits included."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return a whole number between `low` and `high`, limits included."""

    def suggest_categorical(
        self, name: str, choices: Sequence[bool | int | float | str | None]
    ) -> bool | int | float | str | None:
        """Return one of `choices`."""


@dataclass(frozen=True)
class Range:
    """Where a parameter is searched, limits included; whole numbers where both limits are."""

    low: float
    high: float
    log: bool = False

    def suggest(self, source: ParameterSource, name: str) -> float:
        """Return what `source` suggests."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return source.suggest_int(name, self.low, self.high, log=self.log)
        return source.suggest_float(name, self.low, self.high, log=self.log)
