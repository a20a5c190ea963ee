"""The simulated subscription business: what its drops hold, and that they can be written again."""

import csv
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from churn_ml.simulation.business import continue_business, write_business
from churn_ml.simulation.drops import ENTITIES, LONGEST_DELAY_DAYS, Faults

START, END = date(2026, 1, 1), date(2026, 4, 30)
KEYS = {
    "customers": ["customer_id", "event_at"],
    "plans": ["plan_id", "event_at"],
    "subscriptions": ["change_id"],
    "invoices": ["invoice_id"],
    "payments": ["payment_id"],
    "usage": ["customer_id", "event_at"],
    "tickets": ["ticket_id", "event_type"],
    "contacts": ["contact_id"],
    "treatments": ["treatment_id"],
}
COLUMNS = {
    "customers": "customer_id,event_at,revision,is_deleted,signup_date,customer_type,region,"
    "acquisition_channel,age_group,gender",
    "plans": "plan_id,event_at,revision,is_deleted,plan_name,plan_tier,list_price_amount,currency",
    "subscriptions": "change_id,event_at,revision,is_deleted,subscription_id,customer_id,change_type,plan_id,"
    "monthly_price_amount,discount_share,currency,contract,term_end_date,is_auto_renewal",
    "invoices": "invoice_id,event_at,revision,is_deleted,customer_id,subscription_id,due_date,"
    "amount,currency",
    "payments": "payment_id,event_at,revision,is_deleted,invoice_id,customer_id,status,amount,currency",
    "usage": "customer_id,event_at,revision,is_deleted,session_count,active_minutes,search_count,"
    "export_count,share_count",
    "tickets": "ticket_id,event_type,event_at,revision,is_deleted,customer_id,category,priority,csat",
    "contacts": "contact_id,event_at,revision,is_deleted,customer_id,channel,direction",
    "treatments": "treatment_id,event_at,revision,is_deleted,customer_id,campaign_id,treatment,is_held_out,"
    "cost_amount,currency",
}
FAULTS = Faults(late_share=0.05, restated_share=0.04, duplicate_share=0.03, deleted_share=0.02)


def read_all(out: Path) -> dict[str, pd.DataFrame]:
    """Return every delivered row of each entity as text, with the day of its drop."""
    tables = {}
    for entity in ENTITIES:
        drops = [
            pd.read_csv(path, dtype=str, keep_default_na=False).assign(drop=path.parent.name)
            for path in sorted(out.glob(f"*/{entity}.csv"))
        ]
        tables[entity] = pd.concat(drops, ignore_index=True)
    return tables


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*") if path.is_file()}


def first_deliveries(table: pd.DataFrame, entity: str) -> pd.DataFrame:
    """Return each record's first version, as first delivered, without the first load."""
    later = table[table["drop"] > START.isoformat()]
    fresh = later[pd.to_datetime(later["event_at"]) >= pd.Timestamp(START + timedelta(days=1), tz="UTC")]
    return fresh[fresh["revision"] == "1"].drop_duplicates(KEYS[entity])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("business")
    write_business(
        folder / "drops", truth=folder / "truth", customers=1200, start=START, end=END, faults=FAULTS
    )
    return folder / "drops"


@pytest.fixture(scope="module")
def tables(out: Path) -> dict[str, pd.DataFrame]:
    return read_all(out)


@pytest.fixture(scope="module")
def changes(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the subscription changes as finally known, in the order of their events."""
    rows = tables["subscriptions"].sort_values(["revision"]).drop_duplicates("change_id", keep="last")
    return rows.sort_values(["customer_id", "event_at"]).reset_index(drop=True)


def test_every_day_has_a_file_of_every_entity_with_the_declared_columns(out: Path) -> None:
    folders = sorted(path.name for path in out.iterdir())
    days = (END - START).days + 1
    assert folders == [(START + timedelta(days=number)).isoformat() for number in range(days)]
    for folder in out.iterdir():
        for entity, header in COLUMNS.items():
            with (folder / f"{entity}.csv").open(encoding="utf-8") as file:
                assert file.readline() == header + "\n", f"{folder.name}/{entity}"


def test_a_continued_run_writes_the_bytes_of_one_run(tmp_path: Path) -> None:
    end, middle = date(2026, 2, 10), date(2026, 1, 25)
    for name, last in (("one", end), ("parts", middle)):
        write_business(
            tmp_path / name, truth=tmp_path / f"{name}-truth", customers=300, start=START, end=last
        )
    continue_business(tmp_path / "parts", truth=tmp_path / "parts-truth", until=end)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "parts")


def test_another_seed_gives_another_business(tmp_path: Path) -> None:
    found = []
    for seed in (1, 2):
        write_business(
            tmp_path / f"{seed}", truth=tmp_path / f"t{seed}", customers=50, start=START, end=START, seed=seed
        )
        found.append(files_of(tmp_path / f"{seed}"))
    assert found[0]["2026-01-01/subscriptions.csv"] != found[1]["2026-01-01/subscriptions.csv"]


def test_parquet_holds_the_text_of_the_csv_files(tmp_path: Path) -> None:
    for form in ("csv", "parquet"):
        write_business(
            tmp_path / form, truth=tmp_path / f"t-{form}", customers=100, start=START, end=START, form=form
        )
    for entity in ENTITIES:
        with (tmp_path / "csv" / "2026-01-01" / f"{entity}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        stored = pq.read_table(tmp_path / "parquet" / "2026-01-01" / f"{entity}.parquet").to_pylist()
        assert [{name: value or "" for name, value in row.items()} for row in stored] == rows


@pytest.mark.parametrize("entity", ENTITIES)
def test_no_event_is_after_the_end_of_its_drop(tables: dict[str, pd.DataFrame], entity: str) -> None:
    table = tables[entity]
    assert (table["event_at"].str[:10] <= table["drop"]).all()
    assert table["event_at"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()


@pytest.mark.parametrize("entity", ENTITIES)
def test_versions_of_a_record_follow_one_another(tables: dict[str, pd.DataFrame], entity: str) -> None:
    table = tables[entity].drop_duplicates([name for name in tables[entity] if name != "drop"])
    assert not table.duplicated([*KEYS[entity], "revision"]).any()
    assert (table.groupby(KEYS[entity])["event_at"].nunique() == 1).all()
    both = table.pivot(index=KEYS[entity], columns="revision", values="drop").dropna()
    if "2" in both:
        assert (both["1"] < both["2"]).all()


def test_faults_come_at_their_declared_shares(tables: dict[str, pd.DataFrame]) -> None:
    usage = tables["usage"]
    fresh = first_deliveries(usage, "usage")
    # Events so old that whatever comes late has come.
    fresh = fresh[fresh["event_at"] < (END - timedelta(days=2 * LONGEST_DELAY_DAYS)).isoformat()]
    wait = pd.to_datetime(fresh["drop"]) - pd.to_datetime(fresh["event_at"].str[:10])
    assert (wait > timedelta()).mean() == pytest.approx(FAULTS.late_share, rel=0.2)
    assert wait.max() == timedelta(days=LONGEST_DELAY_DAYS)
    seen = usage.merge(fresh[KEYS["usage"]])
    content = [name for name in usage if name != "drop"]
    twice = seen.duplicated(content).sum() / len(fresh)
    assert twice == pytest.approx(FAULTS.duplicate_share, rel=0.25)
    second = seen[seen["revision"] == "2"]
    assert (second["is_deleted"] == "false").sum() / len(fresh) == pytest.approx(0.04, rel=0.2)
    assert (second["is_deleted"] == "true").sum() / len(fresh) == pytest.approx(0.02, rel=0.25)


def test_restated_rows_differ_and_histories_lose_no_change(tables: dict[str, pd.DataFrame]) -> None:
    for entity in set(ENTITIES) - {"plans"}:
        rows = tables[entity].drop_duplicates([name for name in tables[entity] if name != "drop"])
        content = [name for name in rows if name not in ("drop", "revision", "is_deleted")]
        living = rows[rows["is_deleted"] == "false"]
        assert not living.duplicated(content).any(), entity
    for entity in ("customers", "plans", "subscriptions", "invoices", "treatments"):
        assert (tables[entity]["is_deleted"] == "false").all()


def test_histories_start_once_and_end_and_return_in_turn(changes: pd.DataFrame) -> None:
    assert not changes.duplicated(["customer_id", "event_at"]).any()
    for _, history in changes.groupby("customer_id"):
        is_active = has_request = False
        for position, change in enumerate(history["change_type"]):
            assert (change == "start") == (position == 0)
            assert is_active != (change in ("start", "return"))
            assert (change in ("end_voluntary", "cancel_withdrawal")) <= has_request
            is_active = not change.startswith("end_")
            has_request = change == "cancel_request" if is_active else False
    kinds = set(changes["change_type"])
    assert {"upgrade", "downgrade", "price_change", "discount_change", "renewal", "return"} <= kinds


def test_subscriptions_carry_the_state_after_the_change(changes: pd.DataFrame) -> None:
    has_term = changes["contract"] != "month_to_month"
    assert (has_term == (changes["term_end_date"] != "")).all()
    price = changes["monthly_price_amount"]
    assert price.str.fullmatch(r"\d+\.\d\d").all()
    previous = changes.groupby("customer_id")["monthly_price_amount"].shift()
    moved = changes["change_type"] == "price_change"
    assert (price[moved] != previous[moved]).all()
    share = changes["discount_share"].astype(float)
    assert share.between(0, 0.5).all()


def test_rows_refer_to_rows_that_exist(tables: dict[str, pd.DataFrame]) -> None:
    invoices = set(tables["invoices"]["invoice_id"])
    missing = ~tables["payments"]["invoice_id"].isin(invoices)
    # What is missing is an invoice that is late beyond the last drop.
    assert missing.mean() < 0.02
    customers = set(tables["customers"]["customer_id"])
    assert tables["subscriptions"]["customer_id"].isin(customers).mean() > 0.99
    assert set(tables["subscriptions"]["plan_id"]) <= set(tables["plans"]["plan_id"])
    tickets = tables["tickets"]
    assert ((tickets["event_type"] == "rated") == (tickets["csat"] != "")).all()


def test_base_stays_near_its_target(changes: pd.DataFrame) -> None:
    last = changes.drop_duplicates("customer_id", keep="last")
    assert (~last["change_type"].str.startswith("end_")).sum() == pytest.approx(1200, rel=0.05)
