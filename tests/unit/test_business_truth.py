"""The hidden truth of the simulated business: the Monte Carlo, the hazard's drivers, the treatments."""

import csv
import gc
import tracemalloc
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from churn_ml.errors import SettingsError
from churn_ml.simulation.business import continue_business, write_business
from churn_ml.simulation.business_hazard import evaluate, monthly_logit
from churn_ml.simulation.business_state import load_world
from churn_ml.simulation.drops import Faults
from churn_ml.simulation.truth import true_probabilities, write_truth

FAULTLESS = Faults(0, 0, 0, 0)
START, AS_OF, END = date(2026, 1, 1), date(2026, 3, 31), date(2026, 5, 15)
GAP, HORIZON, GRACE = 7, 30, 7
CUSTOMERS = 6000


def read(out: Path, entity: str) -> pd.DataFrame:
    paths = sorted(out.glob(f"*/{entity}.csv"))
    rows = pd.concat([pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths])
    return rows.assign(day=pd.to_datetime(rows["event_at"].str[:10])).reset_index(drop=True)


def churned(changes: pd.DataFrame, as_of: date, *, days: tuple[int, int]) -> set[str]:
    """Return who left in the window of days after the as-of date and did not come back within the grace."""
    ends = changes[changes["change_type"].str.startswith("end_")]
    returns = changes[changes["change_type"] == "return"][["customer_id", "event_at"]]
    pairs = ends.merge(returns, on="customer_id", suffixes=("", "_back"))
    wait = pd.to_datetime(pairs["event_at_back"]) - pd.to_datetime(pairs["event_at"])
    undone = pairs[(wait > timedelta()) & (wait <= timedelta(days=GRACE))]["change_id"]
    after = (ends["day"] - pd.Timestamp(as_of)).dt.days - 1
    return set(ends[after.between(days[0], days[1] - 1) & ~ends["change_id"].isin(undone)]["customer_id"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    write_business(
        folder / "drops", truth=folder / "truth", customers=CUSTOMERS, start=START, end=END,
        faults=FAULTLESS, truth_dates={AS_OF},
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def changes(folder: Path) -> pd.DataFrame:
    return read(folder / "drops", "subscriptions")


@pytest.fixture(scope="module")
def population(folder: Path, changes: pd.DataFrame) -> pd.DataFrame:
    """Return who was active without a cancel request at the as-of date, and whether they churned."""
    known = changes[changes["day"] <= pd.Timestamp(AS_OF)].sort_values("event_at")
    latest = known.drop_duplicates("customer_id", keep="last").set_index("customer_id")
    gone = latest["change_type"].str.startswith("end_") | (latest["change_type"] == "cancel_request")
    in_gap = churned(changes, AS_OF, days=(0, GAP))
    rows = latest[~gone & ~latest.index.isin(in_gap)]
    return rows.assign(churned=rows.index.isin(churned(changes, AS_OF, days=(GAP, GAP + HORIZON))))


def test_truth_agrees_with_what_happened(folder: Path, population: pd.DataFrame) -> None:
    found = true_probabilities(folder / "truth", as_of_date=AS_OF, customers=5000, draws=60)
    true = pd.Series(found.true_churn_probability, found.customer_id)
    happened = population.loc[population.index.intersection(true.index), "churned"]
    true = true[happened.index]
    error = np.sqrt((true * (1 - true)).sum()) / len(true)
    assert len(true) > 4900
    assert happened.mean() == pytest.approx(true.mean(), abs=3 * error)
    assert 0.015 < true.mean() < 0.035
    assert roc_auc_score(happened, true) > 0.7
    upper = true >= true.quantile(0.9)
    assert happened[upper].mean() == pytest.approx(true[upper].mean(), abs=0.035)


def test_truth_file_is_the_same_twice_and_has_its_errors(folder: Path, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        found = true_probabilities(folder / "truth", as_of_date=AS_OF, customers=50, draws=100)
        write_truth(tmp_path / name, found)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    rows = pd.read_csv(tmp_path / "a.csv")
    assert list(rows) == ["customer_id", "true_churn_probability", "standard_error", "draws"]
    assert rows["standard_error"].between(0.001, 0.06).all()
    assert rows["draws"].between(80, 100).all()


def test_voluntary_only_leaves_involuntary_ends_out(folder: Path) -> None:
    both, voluntary = (
        true_probabilities(
            folder / "truth", as_of_date=AS_OF, customers=1000, draws=60, voluntary_only=only
        ).true_churn_probability.mean()
        for only in (False, True)
    )
    assert 0.5 * both < voluntary < 0.97 * both


def churn_rates(population: pd.DataFrame, chosen: pd.Series) -> tuple[float, float]:
    is_chosen = population.index.isin(chosen)
    return population[is_chosen]["churned"].mean(), population[~is_chosen]["churned"].mean()


def test_those_whose_payments_failed_churn_more(folder: Path, population: pd.DataFrame) -> None:
    payments = read(folder / "drops", "payments")
    recent = payments["day"].between(pd.Timestamp(AS_OF) - timedelta(days=29), pd.Timestamp(AS_OF))
    failed = payments[recent & (payments["status"] == "failed")]["customer_id"]
    with_failure, without = churn_rates(population, failed)
    assert with_failure > 1.5 * without


def test_those_with_bad_ratings_churn_more(folder: Path, population: pd.DataFrame) -> None:
    tickets = read(folder / "drops", "tickets")
    recent = tickets["day"].between(pd.Timestamp(AS_OF) - timedelta(days=29), pd.Timestamp(AS_OF))
    unhappy = tickets[recent & tickets["csat"].isin(["1", "2"])]["customer_id"]
    with_rating, without = churn_rates(population, unhappy)
    assert with_rating > 1.5 * without


def test_those_whose_usage_fell_churn_more(folder: Path, population: pd.DataFrame) -> None:
    usage = read(folder / "drops", "usage")
    age = (pd.Timestamp(AS_OF) - usage["day"]).dt.days
    minutes = usage["session_count"].astype(int)
    recent = minutes[age.between(0, 27)].groupby(usage["customer_id"]).sum()
    before = minutes[age.between(28, 83)].groupby(usage["customer_id"]).sum() / 2
    ratio = (recent.reindex(population.index, fill_value=0) / before.reindex(population.index)).fillna(1)
    fell, others = churn_rates(population, ratio[ratio < 0.5].index.to_series())
    assert fell > 2 * others


def test_those_without_a_contract_churn_more(population: pd.DataFrame) -> None:
    rates = population.groupby("contract")["churned"].mean()
    assert rates["month_to_month"] > 2 * rates["one_year"]


def test_hazard_follows_its_formula(folder: Path) -> None:
    world, _, _ = load_world(folder / "truth" / "state.npz")
    who = np.flatnonzero(world.customers.is_active)[:1000]
    evaluate(world, who, world.day)
    monthly = 1 - (1 - world.customers.hazard[who].astype(float)) ** 30
    assert np.allclose(monthly, 1 / (1 + np.exp(-monthly_logit(world, who, world.day))), rtol=1e-3)
    before = monthly_logit(world, who, world.day)
    world.customers.payment_trouble[who] += 1
    world.customers.engagement[who] -= 1
    assert np.allclose(monthly_logit(world, who, world.day) - before, 0.8 + 0.85 + 1.1, atol=1e-4)


def write_assignments(path: Path, rows: list[tuple[str, str, str, str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "treatment", "assigned_at", "is_held_out", "campaign_id"])
        writer.writerows(rows)
    return path


def test_assigned_treatments_act_on_the_treated_alone(tmp_path: Path) -> None:
    first, until = START + timedelta(days=1), START + timedelta(days=45)
    rows = [
        (f"C{who:08d}", "discount", f"{first}T09:00:00Z", str(who % 3 == 1).lower(), "spring")
        for who in range(9000)
        if who % 3
    ]
    path = write_assignments(tmp_path / "assignments.csv", rows)
    for name, assignments in (("plain", None), ("treated", path)):
        out, truth = tmp_path / name, tmp_path / f"{name}-truth"
        write_business(out, truth=truth, customers=9000, start=START, end=START, faults=FAULTLESS)
        continue_business(out, truth=truth, until=until, assignments=assignments)
    plain, treated = (read(tmp_path / name, "subscriptions") for name in ("plain", "treated"))
    group = treated["customer_id"].str[1:].astype(int) % 3
    is_request = treated["change_type"] == "cancel_request"
    held_out, acted_on = (int((is_request & (group == number)).sum()) for number in (1, 2))
    assert acted_on < 0.7 * held_out
    # Draws are counted by customer: a life is not moved by another customer's treatment.
    untouched = [f"C{who:08d}" for who in range(0, 9000, 3)]
    assert plain[plain["customer_id"].isin(untouched)].equals(
        treated[treated["customer_id"].isin(untouched)].set_axis(
            plain[plain["customer_id"].isin(untouched)].index
        )
    )
    given = read(tmp_path / "treated", "treatments")
    given = given[given["campaign_id"] == "spring"]
    assert len(given) == len(rows)
    assert set(given["event_at"]) == {f"{first}T09:00:00Z"}
    assert set(given[given["is_held_out"] == "true"]["cost_amount"]) == {"0.00"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("C00009999", "call", "2026-01-05T09:00:00Z", "false", "x"), "C00009999"),
        (("17", "call", "2026-01-05T09:00:00Z", "false", "x"), "expected a customer"),
        (("C00000001", "gift", "2026-01-05T09:00:00Z", "false", "x"), "gift"),
        (("C00000001", "call", "2026-01-03T09:00:00Z", "false", "x"), "after the last simulated day"),
        (("C00000001", "call", "2026-02-01T09:00:00Z", "false", "x"), "at most on 2026-01-10"),
        (("C00000001", "call", "soon", "false", "x"), "soon"),
        (("C00000001", "call", "2026-01-05T09:00:00Z", "perhaps", "x"), "perhaps"),
    ],
)
def test_assignment_that_cannot_act_is_refused(
    tmp_path: Path, row: tuple[str, str, str, str, str], expected: str
) -> None:
    out, truth = tmp_path / "drops", tmp_path / "truth"
    write_business(out, truth=truth, customers=20, start=START, end=START + timedelta(days=2))
    path = write_assignments(tmp_path / "assignments.csv", [row])
    with pytest.raises(SettingsError, match=expected):
        continue_business(out, truth=truth, until=date(2026, 1, 10), assignments=path)
    twice = [("C00000001", "call", f"2026-01-05T{hour}:00:00Z", "false", "x") for hour in ("09", "10")]
    write_assignments(path, twice)
    with pytest.raises(SettingsError, match="at most one treatment"):
        continue_business(out, truth=truth, until=date(2026, 1, 10), assignments=path)


def test_what_cannot_be_simulated_is_refused(tmp_path: Path) -> None:
    out, truth = tmp_path / "drops", tmp_path / "truth"
    with pytest.raises(SettingsError, match="churn-ml simulate business"):
        continue_business(out, truth=truth, until=END)
    with pytest.raises(SettingsError, match="late_share"):
        Faults(late_share=1.5)
    with pytest.raises(SettingsError, match="later end"):
        write_business(out, truth=truth, customers=10, start=END, end=START)
    write_business(out, truth=truth, customers=10, start=START, end=START)
    with pytest.raises(SettingsError, match="simulate continue"):
        write_business(out, truth=truth, customers=10, start=START, end=START)
    with pytest.raises(SettingsError, match="share customer ids"):
        write_business(out, truth=tmp_path / "other", customers=10, start=START, end=START)
    with pytest.raises(SettingsError, match="last simulated day"):
        continue_business(out, truth=truth, until=START)
    with pytest.raises(SettingsError, match="kept are none"):
        true_probabilities(truth, as_of_date=START)


def test_memory_does_not_grow_with_the_days(tmp_path: Path) -> None:
    """Held against what the further days write: who kept them would keep at least as much."""

    def simulate(days: int) -> tuple[int, int]:
        out = tmp_path / f"{days}"
        gc.collect()
        tracemalloc.start()
        write_business(
            out, truth=tmp_path / f"t{days}", customers=1000, start=START,
            end=START + timedelta(days=days), truth_dates=set(),
        )  # fmt: skip
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, sum(path.stat().st_size for path in out.rglob("*.csv"))

    simulate(2)  # what is loaded and kept once
    (short_peak, short_size), (long_peak, long_size) = simulate(25), simulate(75)
    assert long_size - short_size > 500_000
    assert long_peak - short_peak < 0.5 * (long_size - short_size)
