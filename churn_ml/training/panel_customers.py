"""Whose observations a panel reads: eligible customers of the nights its run has labelled, or a sample."""

from collections.abc import Sequence
from dataclasses import dataclass

SAMPLE_GROUPS = 10_000

# Features as each night knew them; what became of the customers is joined by each panel.
LABELLED_POPULATION = """
    from ops.label_nights
    join features.customer_population
        on customer_population.as_of_date = label_nights.as_of_date
        and customer_population.known_as_of = label_nights.known_as_of
        and customer_population.is_eligible
"""


@dataclass(frozen=True)
class CustomerSample:
    """The customers whose hash group, of `SAMPLE_GROUPS`, is below `limit`, with all their dates.

    `kept` and `total` count what the sample was bounded by, in it and before it.
    """

    limit: int
    kept: int
    total: int


def sample_customers(counts: Sequence[tuple[int, int]], most: int) -> CustomerSample:
    """Return the largest sample that counts at most `most`.

    Parameters
    ----------
    counts : sequence of tuples
        Hash group and what is counted in it, groups in order.
    """
    total = sum(count for _, count in counts)
    kept = 0
    for group, count in counts:
        if kept + count > most:
            return CustomerSample(group, kept, total)
        kept += count
    return CustomerSample(SAMPLE_GROUPS, kept, total)
