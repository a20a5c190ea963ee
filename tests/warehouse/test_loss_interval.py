"""The 90 % interval of the money that leaves: what it covers in groups from 5 to 5,000 customers."""

from collections.abc import Iterator

import numpy as np
import pytest
from loss_intervals import FloatArray, Z, interval, loss_interval_statement

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect


def groups_of_customers() -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Probabilities, their uncertainty and values of groups from 5 to 5,000 customers."""
    generator = np.random.default_rng(20261031)
    prices = np.array([12.0, 18.0, 29.0, 39.0, 59.0, 89.0]) * 12
    for size in (5, 20, 100, 500, 5000):
        for mean in (0.02, 0.08, 0.3):
            for uncertainty in (0.0, 0.1):
                p = np.clip(generator.beta(2, 2 / mean - 2, size), 0.002, 0.9)
                yield p, uncertainty * p, generator.choice(prices, size)


def lost_amounts(p: FloatArray, sd: FloatArray, v: FloatArray, seed: int) -> FloatArray:
    """Draw what leaves 2,000 times: everyone's probability is off by the same number of deviations."""
    generator, draws = np.random.default_rng(seed), []
    for _ in range(20):
        off = generator.standard_normal((100, 1))
        draws.append((generator.random((100, len(p))) < np.clip(p + sd * off, 0, 1)) @ v)
    return np.concatenate(draws)


def test_interval_covers_what_a_poisson_binomial_loses(server: Settings) -> None:
    groups = list(groups_of_customers())
    with connect(server, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "create temporary table customers (place integer, p double precision, low double precision,"
            " high double precision, v numeric(18, 2))"
        )
        with transformer.cursor().copy("copy pg_temp.customers from stdin") as stream:
            for place, (p, sd, v) in enumerate(groups):
                for row in zip(p.tolist(), (p - Z * sd).tolist(), (p + Z * sd).tolist(), v, strict=True):
                    stream.write_row((place, *row))
        found = transformer.execute(loss_interval_statement(server.project_dir)).fetchall()
    coverage: dict[bool, list[float]] = {False: [], True: []}
    for place, ((p, sd, v), (low, high, is_approximate)) in enumerate(zip(groups, found, strict=True)):
        assert (float(low), float(high)) == pytest.approx(interval(p, sd, v), abs=0.011)
        lost = lost_amounts(p, sd, v, seed=place)
        inside = (lost > float(low) - 0.006) & (lost < float(high) + 0.006)
        coverage[is_approximate].append(float(inside.mean()))
    assert min(map(len, coverage.values())) >= 5
    assert 0.87 <= min(coverage[False]) <= max(coverage[False]) <= 0.95
    # So few leave that the lower end is 0, and their whole numbers step over the upper one.
    assert 0.85 <= min(coverage[True]) <= max(coverage[True]) <= 0.98


def test_interval_is_not_known_where_the_model_gives_none(server: Settings) -> None:
    with connect(server, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "create temporary table customers on commit drop as select * from (values"
            " (1, 0.2::double precision, 0.1::double precision, 0.3::double precision, 100::numeric),"
            " (1, 0.2, null, null, null), (2, 0.2, 0.1, 0.3, 100), (2, 0.2, null, null, 100),"
            " (3, 0.2, 0.1, 0.3, null)) as listed (place, p, low, high, v)"
        )
        found = transformer.execute(loss_interval_statement(server.project_dir)).fetchall()
    is_known = [low is not None and high is not None for low, high, _ in found]
    assert is_known == [True, False, False]
