"""Where a candidate takes its parameters from while they are searched for."""

from collections.abc import Sequence
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
