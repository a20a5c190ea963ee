"""What the page of one customer says before anyone is looked for."""

from collections.abc import Callable
from typing import Any


def expected(rows: Callable[..., list[tuple[Any, ...]]]) -> list[str]:
    """Return the texts: whom the reader may pick."""
    first = rows("select customer_id from marts.retention_queue order by queue_position limit 5")
    return ["Customer id", "Type a customer's id", "those to call first", *(str(one) for (one,) in first)]
