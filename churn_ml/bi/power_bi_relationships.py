"""Which relationships filter by themselves: between two tables there is never more than one way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from churn_ml.bi.power_bi_marts import Mart

# Of several keys to one dimension: outcomes go by the night that was scored, moves by where they end.
_FIRST_CHOICES = ("scored_", "to_")


@dataclass(frozen=True)
class Relationship:
    """Many rows of one mart to one row of another; an inactive one filters only where a measure asks."""

    from_mart: str
    from_column: str
    to_mart: str
    to_column: str
    is_active: bool = True


def relate(marts: Sequence[Mart]) -> list[Relationship]:
    """Return all relationships; active are as many as leave one way from any table to any other.

    Facts choose before dimensions that refer to others: a fact is sliced by its own keys, not by way
    of its run's.

    Returns
    -------
    list of Relationship
        Sorted by the names of both ends.
    """
    dimensions = {reference.to_mart for mart in marts for reference in mart.references}
    ordered = sorted(
        (
            Relationship(mart.name, reference.column, reference.to_mart, reference.to_column)
            for mart in marts
            for reference in mart.references
        ),
        key=lambda end: (end.from_mart in dimensions, end.from_mart, end.to_mart, *_choice(end.from_column)),
    )
    chosen: list[Relationship] = []
    for candidate in ordered:
        active = [other for other in chosen if other.is_active]
        chosen.append(replace(candidate, is_active=not ambiguous_pairs([*active, candidate])))
    return sorted(chosen, key=lambda end: (end.from_mart, end.from_column, end.to_mart))


def ambiguous_pairs(active: Iterable[Relationship]) -> list[tuple[str, str]]:
    """Return (filtering table, filtered table) of every pair with more than one way between them."""
    filtered_by: dict[str, list[str]] = {}
    tables = set()
    for end in active:
        filtered_by.setdefault(end.from_mart, []).append(end.to_mart)
        tables |= {end.from_mart, end.to_mart}

    @cache
    def ways(filtering: str, filtered: str) -> int:
        return sum(
            (nearer == filtering) + ways(filtering, nearer) for nearer in filtered_by.get(filtered, [])
        )

    return [(one, other) for one in sorted(tables) for other in sorted(tables) if ways(one, other) > 1]


def _choice(column: str) -> tuple[int, str]:
    first = next((n for n, start in enumerate(_FIRST_CHOICES) if column.startswith(start)), None)
    return (len(_FIRST_CHOICES), column) if first is None else (first, column)
