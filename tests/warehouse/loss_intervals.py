"""The interval of macros/loss_interval.sql, worked out in numpy and as the statement that marts run."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Z = 1.6448536269514722


def interval(p: FloatArray, sd: FloatArray, v: FloatArray) -> tuple[float, float]:
    """Work the interval out as macros/loss_interval.sql states it."""
    shift = float((sd * v).sum())
    deviation = float(np.sqrt(((p * (1 - p) - sd**2) * v**2).sum() + shift**2))
    third = ((1 - 2 * p) * (p * (1 - p) - 3 * sd**2) * v**3).sum()
    third += 3 * shift * ((1 - 2 * p) * sd * v**2).sum()
    skewness = float(np.clip(third / deviation**3, -3 / Z, 3 / Z))
    ends = [float((p * v).sum()) + deviation * (z + (z * z - 1) * skewness / 6) for z in (-Z, Z)]
    return max(ends[0], 0.0), min(ends[1], float(v.sum()))


def loss_interval_statement(project: Path) -> str:
    """The macro as the marts use it, over a table of groups."""
    source = (project / "dbt_project/macros/loss_interval.sql").read_text(encoding="utf-8")
    macros: Any = jinja2.Environment(autoescape=False).from_string(source).module  # noqa: S701 - SQL, no page
    return (
        f"with grouped as (select place, {macros.loss_moments('p', 'low', 'high', 'v')}"
        f" from pg_temp.customers group by place) select {macros.loss_limit('low')},"
        f" {macros.loss_limit('high')}, {macros.is_loss_interval_approximate()} from grouped order by place"
    )
