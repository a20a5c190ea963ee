"""The exception tree in the docstring of ``churn_ml.errors`` is the one there is."""

import re
from collections.abc import Iterator

from churn_ml import errors
from churn_ml.errors import ChurnError

DRAWN = re.compile(r"^    (?P<rails>[│ ]*)[├└]── (?P<name>\w+) +\w", re.MULTILINE)


def declared(parent: type[Exception], depth: int = 0) -> Iterator[tuple[int, str]]:
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield depth, child.__name__
            yield from declared(child, depth + 1)


def test_every_error_is_drawn_below_its_parent_with_a_meaning() -> None:
    drawn = [(len(match["rails"]) // 4, match["name"]) for match in DRAWN.finditer(errors.__doc__ or "")]
    assert drawn == list(declared(ChurnError))
