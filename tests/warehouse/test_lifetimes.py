"""How long customers stay: cohorts and survival, from the history as known at the cut-off."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pytest
from clones import clone_warehouse, drop_warehouse
from kaplan_meier import kaplan_meier
from subscription_deliveries import Row, at, change, cut_off_after, deliver_day, plan
from telco_nights import rows

from churn_ml.landing.delivery import land_path
from churn_ml.services.dbt import run_dbt
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run

DAY = date(2026, 10, 31)
FIRST_END = date(2023, 3, 5)
FOLLOWED_FROM = date(2023, 3, 1)
# Weeks of remission under 6-mercaptopurine (Freireich et al. 1963), here months; + is still in remission.
FREIREICH = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
# Kalbfleisch and Prentice (1980): the share after each month with an end, and its 95 % interval.
PUBLISHED = {
    6: (0.8571, 0.6197, 0.9516), 7: (0.8067, 0.5631, 0.9228), 10: (0.7529, 0.5032, 0.8894),
    13: (0.6902, 0.4316, 0.8491), 16: (0.6275, 0.3675, 0.8049), 22: (0.5378, 0.2678, 0.7468),
    23: (0.4482, 0.1881, 0.6801),
}  # fmt: skip


@dataclass(frozen=True)
class Life:
    """One customer as the test knows them; `left` is the day of the last end, if they are gone."""

    number: int
    contract: str
    began: date
    left: date | None
    came_back: date | None = None

    def changes(self) -> list[Row]:
        key = f"C{self.number:08d}"
        days = {"start": self.began, "end_voluntary": self.left}
        if self.came_back is not None:
            days = {"start": self.began, "end_voluntary": self.came_back - timedelta(days=40),
                    "return": self.came_back, "end_involuntary": self.left}  # fmt: skip
        return [
            change(f"{key}-{kind}", key, at(day), change_type=kind, term_end_date="2030-01-01",
                   contract=self.contract if kind == "start" else "one_year")
            if self.contract != "month_to_month" or kind != "start"
            else change(f"{key}-{kind}", key, at(day))
            for kind, day in days.items()
            if day is not None
        ]  # fmt: skip

    @property
    def passed(self) -> int:
        return months_between(self.began, DAY + timedelta(days=1))

    @property
    def is_end_seen(self) -> bool:
        return self.left is not None and months_between(self.began, self.left) < self.passed

    @property
    def lifetime(self) -> int:
        return months_between(self.began, self.left) + 1 if self.left and self.is_end_seen else self.passed

    @property
    def entry(self) -> int:
        if self.began >= FOLLOWED_FROM:
            return 0
        return months_between(self.began, FOLLOWED_FROM - timedelta(days=1)) + 1


def months_between(first: date, last: date) -> int:
    """Whole months by the calendar."""
    return 12 * (last.year - first.year) + last.month - first.month - (last.day < first.day)


def remissions() -> list[Life]:
    lives = []
    for number, word in enumerate(FREIREICH.split(), start=900):
        month = int(word.rstrip("+"))
        if word.endswith("+"):
            index = 12 * DAY.year + DAY.month - 1 - month
            lives.append(Life(number, "two_year", date(index // 12, index % 12 + 1, 20), None))
        else:
            began = date(2023, 6, 10)
            lives.append(Life(number, "two_year", began, began + timedelta(days=round(30.44 * month) - 12)))
    return lives


def chance_lives(count: int = 150) -> list[Life]:
    """Customers who begin from 2021 on; whoever would have left before the first end is not known."""
    draws = np.random.default_rng(20261031)
    lives = [Life(1, "month_to_month", date(2022, 11, 20), FIRST_END),
             Life(2, "one_year", date(2026, 9, 10), date(2026, 10, 15)),
             Life(3, "one_year", date(2024, 5, 10), None, came_back=date(2025, 2, 1))]  # fmt: skip
    while len(lives) < count:
        began = date(2021, 6, 1) + timedelta(days=int(draws.integers(0, 1975)))
        left = began + timedelta(days=int(draws.exponential(500)))
        came_back = left - timedelta(days=30) if draws.random() < 0.2 else None
        if left < FIRST_END or (came_back and came_back - timedelta(days=41) < max(began, FIRST_END)):
            continue
        contract = str(draws.choice(["month_to_month", "one_year"]))
        if came_back and came_back <= DAY < left:
            lives.append(Life(len(lives) + 1, contract, began, None, came_back))
        elif left <= DAY:
            lives.append(Life(len(lives) + 1, contract, began, left, came_back))
        else:
            lives.append(Life(len(lives) + 1, contract, began, None))
    return [life for life in lives if life.began <= DAY]


LIVES = chance_lives() + remissions()
LATE = Life(990, "one_year", date(2025, 1, 15), date(2025, 6, 1))


@pytest.fixture(scope="module")
def night(
    subscriptions_server: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Run]]:
    """The lifetimes of one night; one customer's rows become known only after its cut-off."""
    settings = clone_warehouse(subscriptions_server)
    inbox = tmp_path_factory.mktemp("lifetimes")
    told = [change for life in LIVES for change in life.changes()]
    folder = deliver_day(inbox, DAY, plans=[plan("P1", at(date(2021, 1, 1)))], subscriptions=told)
    land_path(settings, folder, first_load=True)
    late = DAY + timedelta(days=1)
    land_path(settings, deliver_day(inbox, late, subscriptions=LATE.changes()), known_at=cut_off_after(late))
    run = open_run(settings, "night", cut_off_after(DAY))
    marts = ["+cohort_retention", "+customer_survival", "lifetimes_add_up"]
    run_dbt(settings, ["seed", "--quiet"], run.run_id)
    run_dbt(settings, ["run", "--select", *marts, "--quiet"], run.run_id)
    run_dbt(settings, ["test", "--select", "lifetimes_add_up", "--quiet"], run.run_id)
    yield settings, run
    drop_warehouse(settings)


def survival(settings: Settings, contract: str) -> list[tuple[object, ...]]:
    return rows(
        settings,
        "select lifetime_months, at_risk_count, ended_count, survival_share,"
        " coalesce(survival_share_low, 'nan'), coalesce(survival_share_high, 'nan')"
        " from marts.customer_survival where contract = %s order by 1",
        [contract],
    )


def test_survival_is_that_of_the_published_example(night: tuple[Settings, Run]) -> None:
    lives = remissions()
    assert [life.lifetime for life in lives] == [int(word.rstrip("+")) for word in FREIREICH.split()]
    found = {row[0]: row for row in survival(night[0], "two_year")}
    reference = kaplan_meier([0] * 21, [life.lifetime for life in lives], [life.left is not None
                             for life in lives], z=1.959963984540054)  # fmt: skip
    for month, published in PUBLISHED.items():
        assert found[month][3] == pytest.approx(published[0], abs=5e-5)
        assert reference[month][3:] == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize("contract", ["all", "month_to_month", "one_year", "two_year"])
def test_survival_is_that_of_an_independent_count(night: tuple[Settings, Run], contract: str) -> None:
    lives = [life for life in LIVES if contract in ("all", life.contract)]
    expected = kaplan_meier(
        [life.entry for life in lives],
        [life.lifetime for life in lives],
        [life.is_end_seen for life in lives],
    )
    found = survival(night[0], contract)
    assert [row[:3] for row in found] == [point[:3] for point in expected]
    assert np.array([row[3:] for row in found], dtype=float) == pytest.approx(
        np.array([point[3:] for point in expected]), abs=1e-6, nan_ok=True
    )


def test_cohorts_are_those_of_an_independent_count(night: tuple[Settings, Run]) -> None:
    expected = []
    for index in range(12 * FOLLOWED_FROM.year + FOLLOWED_FROM.month - 1, 12 * DAY.year + DAY.month):
        cohort = [life for life in LIVES if 12 * life.began.year + life.began.month - 1 == index]
        for month in range(12 * DAY.year + DAY.month - index) if cohort else ():
            retained = [life for life in cohort if not (life.is_end_seen and life.lifetime <= month)]
            expected.append((date(index // 12, index % 12 + 1, 1), month, len(cohort), len(retained)))
    found = rows(
        night[0],
        "select cohort_month, months_since_signup, customer_count, retained_count"
        " from marts.cohort_retention order by 1, 2",
    )
    assert found == expected
    assert len({row[0] for row in found}) > 30
    shares = rows(night[0], "select bool_and(abs(retained_share - retained_count::float8 / customer_count)"
                  " < 1e-6) from marts.cohort_retention")  # fmt: skip
    assert shares == [(True,)]


def test_the_world_holds_what_the_counts_are_about() -> None:
    assert any(life.entry > 0 for life in LIVES)
    assert any(life.came_back and life.left for life in LIVES)
    assert any(life.came_back and not life.left for life in LIVES)
    assert any(life.left and not life.is_end_seen for life in LIVES), "an end in a month not yet passed"


FAULTS = {
    "a contract holds one more": "update marts.customer_survival set at_risk_count = at_risk_count + 1"
    " where contract = 'one_year' and lifetime_months = 3",
    "survival rises": "update marts.customer_survival set survival_share = 1 where lifetime_months = 20",
    "a month is gone": "delete from marts.customer_survival where lifetime_months = 0",
    "a cohort grows": "update marts.cohort_retention set retained_count = retained_count + 1"
    " where months_since_signup = 2",
    "a cohort is of two sizes": "update marts.cohort_retention set customer_count = customer_count + 1"
    " where months_since_signup = 2",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_lifetimes_that_do_not_add_up_are_refused(night: tuple[Settings, Run], fault: str) -> None:
    settings, run = night
    test = settings.home / "dbt/target/compiled/churn_warehouse/tests/lifetimes_add_up.sql"
    statement = test.read_text(encoding="utf-8")
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("select set_config('churn.run_id', %s, true)", [run.run_id])
        assert transformer.execute(statement).fetchall() == []
        assert transformer.execute(FAULTS[fault]).rowcount > 0
        assert transformer.execute(statement).fetchall() != []
        transformer.rollback()
