"""Typed versions: verdicts, what supersedes what, and that the order of arrival does not matter.

Where many orders are tried, the statements that dbt ran are run again; dbt itself made them.
"""

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from clones import clone_warehouse, drop_warehouse
from subscription_deliveries import (
    Row,
    at,
    change,
    contact,
    customer,
    deleted,
    deliver,
    invoice,
    plan,
    restated,
    ticket,
    treatment,
    usage_week,
)

from churn_ml.landing.delivery import land_file
from churn_ml.services.dbt import run_dbt
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import open_run

D1, D2, D3, D4 = (date(2026, 10, day) for day in (1, 2, 3, 4))
DAYS = (D1, D2, D3, D4)
C1 = "C00000001"
FIRST = invoice("i1", C1, at(D1))
VERSION_COLUMNS = "known_at, superseded_at, reject_reason, reject_detail, row_hash"
INVOICE_COLUMNS = (
    f"invoice_id, event_at, revision, is_deleted, customer_id, due_date, amount, {VERSION_COLUMNS}"
)
USAGE_COLUMNS = f"customer_id, event_at, revision, is_deleted, session_count, {VERSION_COLUMNS}"


def known(day: date) -> datetime:
    """When a first load's delivery of `day` was known."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def land(settings: Settings, day: date, entity: str, rows: Sequence[Row]) -> None:
    path = deliver(settings.inbox, day, entity, rows)
    land_file(settings, path, entity, as_of_date=day, known_at=None, first_load=True)


def stage(settings: Settings, *entities: str) -> None:
    run_id = open_run(settings, "night", known(D4) + timedelta(hours=2)).run_id
    models = [f"stg_subscriptions__{entity}" for entity in entities]
    run_dbt(settings, ["run", "--quiet", "--select", *models], run_id)


def read(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with connect(settings, Role.TRANSFORMER) as warehouse:
        return warehouse.execute(statement).fetchall()


def verdicts(settings: Settings, entity: str) -> list[tuple[object, ...]]:
    """Reject reason and day on which it was superseded, in the order of days and rows."""
    return read(
        settings,
        "select reject_reason, superseded_at::date::text from"
        f" staging.stg_subscriptions__{entity} order by known_at, row_number",
    )


def test_verdicts_on_the_rows_of_a_record(subscriptions: Settings) -> None:
    moved = restated(FIRST, 3, event_at=at(D1, "13:00:00"))
    future = invoice("i2", C1, at(D4))
    land(subscriptions, D1, "invoices", [FIRST])
    land(subscriptions, D2, "invoices", [restated(FIRST, amount="12.00"), FIRST, future])
    land(subscriptions, D3, "invoices", [restated(FIRST, amount="13.00"), moved, deleted(FIRST, 4)])
    stage(subscriptions, "invoices")
    assert verdicts(subscriptions, "invoices") == [
        (None, "2026-10-03"),
        (None, "2026-10-04"),
        ("duplicate", "2026-10-03"),
        ("event_in_future", None),
        ("conflicting_duplicate", "2026-10-04"),
        ("moved_event", "2026-10-04"),
        (None, None),
    ]


def test_a_late_first_revision_is_superseded_from_the_start(subscriptions: Settings) -> None:
    land(subscriptions, D1, "invoices", [restated(FIRST, amount="12.00")])
    land(subscriptions, D2, "invoices", [FIRST])
    stage(subscriptions, "invoices")
    assert verdicts(subscriptions, "invoices") == [(None, None), (None, "2026-10-02")]


def test_a_moved_event_sent_right_under_its_revision_is_taken(subscriptions: Settings) -> None:
    land(subscriptions, D1, "invoices", [FIRST])
    land(subscriptions, D2, "invoices", [restated(FIRST, event_at=at(D1, "13:00:00"))])
    land(subscriptions, D3, "invoices", [restated(FIRST, amount="12.00")])
    stage(subscriptions, "invoices")
    assert [row[0] for row in verdicts(subscriptions, "invoices")] == [None, "moved_event", None]


def test_a_deletion_may_leave_all_but_its_key_blank(subscriptions: Settings) -> None:
    land(
        subscriptions,
        D1,
        "invoices",
        [FIRST, deleted(FIRST) | {"customer_id": "", "due_date": "", "amount": "", "currency": ""}],
    )
    stage(subscriptions, "invoices")
    assert verdicts(subscriptions, "invoices") == [(None, "2026-10-02"), (None, None)]


def test_a_rerun_takes_nothing_in_twice(subscriptions: Settings) -> None:
    land(subscriptions, D1, "invoices", [FIRST])
    stage(subscriptions, "invoices")
    once = read(subscriptions, "select * from staging.stg_subscriptions__invoices")
    stage(subscriptions, "invoices")
    assert read(subscriptions, "select * from staging.stg_subscriptions__invoices") == once
    assert len(once) == 1


REFUSED = {
    "customers": (
        customer("c", at(D1)),
        [
            {"customer_id": " "},
            {"signup_date": "2026-02-29"},
            {"signup_date": "01.10.2026"},
            {"region": "North"},
            {"event_at": "2026-10-01 12:00:00"},
            {"event_at": "2026-02-30T12:00:00Z"},
            {"event_at": "2026-10-01T24:00:00Z"},
            {"event_at": "2026-10-01T12:00:00+02:00"},
            {"revision": "0"},
            {"revision": "1.0"},
            {"is_deleted": "yes"},
            {"gender": ""},
        ],
    ),
    "plans": (plan("p", at(D1)), [{"plan_tier": "gold"}, {"list_price_amount": "-1"}, {"currency": "EUR"}]),
    "subscriptions": (
        change("s", C1, at(D1)),
        [
            {"change_type": "pause"},
            {"discount_share": "1.01"},
            {"discount_share": "20 %"},
            {"monthly_price_amount": "20.0.0"},
            {"is_auto_renewal": "1"},
            {"contract": "one_year", "term_end_date": ""},
        ],
    ),
    "invoices": (
        FIRST,
        [{"amount": "100000.01"}, {"amount": "NaN"}, {"amount": "1e2"}, {"due_date": "2026-04-31"}],
    ),
    "usage": (usage_week(C1, D1), [{"session_count": "1.5"}, {"active_minutes": "-1"}, {"share_count": ""}]),
    "tickets": (
        ticket("t", C1, at(D1), "rated"),
        [{"csat": "6"}, {"csat": ""}, {"event_type": "reopened"}, {"priority": "urgent"}],
    ),
    "contacts": (contact("k", C1, at(D1)), [{"channel": "letter"}, {"direction": ""}]),
    "treatments": (
        treatment("r", C1, at(D1)),
        [{"treatment": "gift"}, {"is_held_out": ""}, {"cost_amount": "x"}],
    ),
}
ACCEPTED = {
    "customers": [
        customer("leap", at(D1), signup_date="2024-02-29"),
        customer("s", "2026-10-01T12:00:00.5+00:00"),
    ],
    "subscriptions": [change("s2", C1, at(D1), contract="one_year", term_end_date="2028-02-29")],
    "tickets": [ticket("t2", C1, at(D1), "opened")],
    "invoices": [invoice("zero", C1, at(D1), amount="0"), invoice("most", C1, at(D1), amount="100000.00")],
}


def test_each_kind_of_cast_refuses_what_it_must_and_says_why(subscriptions: Settings) -> None:
    faults = {entity: [row | change for change in changes] for entity, (row, changes) in REFUSED.items()}
    for entity, rows in faults.items():
        land(subscriptions, D1, entity, rows + ACCEPTED.get(entity, []))
    stage(subscriptions, *faults)
    for entity, rows in faults.items():
        found = read(
            subscriptions,
            "select reject_reason, reject_detail from"
            f" staging.stg_subscriptions__{entity} order by row_number",
        )
        assert [row[0] for row in found] == ["rejected_value"] * len(rows) + [None] * len(
            ACCEPTED.get(entity, [])
        ), entity
        for change_, (_, detail) in zip(REFUSED[entity][1], found, strict=False):
            assert str(detail).startswith(f"{list(change_)[-1]}: expected "), detail


# Every order of arrival -----------------------------------------------------------------------


@dataclass(frozen=True)
class Replay:
    """The statements by which dbt stages one entity, to be run without it."""

    settings: Settings
    entity: str
    whole: str
    addition: str
    strategy: str

    def stage(self) -> None:
        table = f"stg_subscriptions__{self.entity}"
        with connect(self.settings, Role.TRANSFORMER) as warehouse:
            warehouse.execute(
                "create temporary table new_batches on commit drop as select batch_id"
                f" from ops.landing_batches where entity = '{self.entity}' except"
                f" select batch_id from ops.staged_batches where model = '{table}'"
            )
            if warehouse.execute("select to_regclass(%s)", [f"staging.{table}"]).fetchone() == (None,):
                warehouse.execute(f"create table staging.{table} as {self.whole}")
            else:
                warehouse.execute(f"create temporary table given on commit drop as {self.addition}")
                warehouse.execute(self.strategy)
            warehouse.execute(
                f"insert into ops.staged_batches select '{table}', batch_id from pg_temp.new_batches"
            )

    def rows(self, columns: str) -> list[tuple[object, ...]]:
        return read(
            self.settings,
            f"select {columns} from staging.stg_subscriptions__{self.entity} order by {columns}",
        )

    def forget(self) -> None:
        with connect_admin(self.settings, database=self.settings.warehouse_database) as admin:
            admin.execute(f"truncate raw.{self.entity}, ops.landing_batches cascade")
            admin.execute(f"drop table if exists staging.stg_subscriptions__{self.entity} cascade")

    def arrive(self, batches: Sequence[tuple[date, list[Row]]], *, at_once: bool = False) -> None:
        """Land the batches in the order given; each is staged alone unless `at_once`."""
        self.forget()
        for day, rows in batches:
            land(self.settings, day, self.entity, rows)
            if not at_once:
                self.stage()
        self.stage()


@pytest.fixture(scope="module")
def replays(
    subscriptions_server: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Replay]]:
    settings = clone_warehouse(subscriptions_server).model_copy(
        update={"inbox_dir": tmp_path_factory.mktemp("replay")}
    )
    first = {"invoices": FIRST, "usage": usage_week(C1, D1)}
    statements: dict[str, list[str]] = {entity: [] for entity in first}
    for day in (D1, D2):
        for entity, row in first.items():
            land(settings, day, entity, [row])
        stage(settings, *first)
        for entity in first:
            statements[entity].append(ran(settings, "compiled", entity))
    yield {
        entity: Replay(settings, entity, *statements[entity], give(ran(settings, "run", entity)))
        for entity in first
    }
    drop_warehouse(settings)


def ran(settings: Settings, kind: str, entity: str) -> str:
    folder = settings.home / "dbt" / "target" / kind / "churn_warehouse" / "models" / "staging"
    return Path(folder / "subscriptions" / f"stg_subscriptions__{entity}.sql").read_text()


def give(strategy: str) -> str:
    return re.sub(r'"stg_subscriptions__\w+__dbt_tmp\d+"', '"given"', strategy)


def draw_batches(entity: str, seed: int) -> list[tuple[date, list[Row]]]:
    """Four deliveries of few records, so that their versions meet in every way."""
    draw = random.Random(seed)  # noqa: S311 - a seeded example, no secret
    return [(day, [draw_row(draw, entity, day) for _ in range(5)]) for day in DAYS]


def draw_row(draw: random.Random, entity: str, day: date) -> Row:
    number, revision = draw.randint(1, 2), draw.randint(1, 3)
    is_deleted = draw.random() < 0.15
    if entity == "usage":
        return usage_week(f"c{number}", draw.choice(DAYS), revision=revision, is_deleted=is_deleted,
                          session_count=draw.choice(["1", "2", "x"]))  # fmt: skip
    moment = at(D1 if draw.random() < 0.8 else draw.choice(DAYS))
    return invoice(f"i{number}", C1, moment, revision=revision, is_deleted=is_deleted, due_date="2026-11-01",
                   amount=draw.choice(["10.00", "11.00", "-1"]))  # fmt: skip


CASES = [("invoices", INVOICE_COLUMNS), ("usage", USAGE_COLUMNS)]


@pytest.mark.parametrize(("entity", "columns"), CASES)
def test_every_order_of_four_batches_gives_the_same_rows(
    replays: dict[str, Replay], entity: str, columns: str
) -> None:
    replay, batches = replays[entity], draw_batches(entity, seed=1)
    replay.arrive(batches, at_once=True)
    expected = replay.rows(columns)
    assert len({row[columns.split(", ").index("reject_reason")] for row in expected}) >= 4
    for order in itertools.permutations(batches):
        replay.arrive(order)
        assert replay.rows(columns) == expected


def visible_at(cut_off: datetime, columns: str) -> str:
    """What a cut-off sees of each row: verdict and visibility."""
    return (
        f"{columns.replace('superseded_at, ', '')}, reject_reason is null and not is_deleted and"
        f" (superseded_at is null or superseded_at > '{cut_off.isoformat()}') as is_visible"
    )


@pytest.mark.parametrize(("entity", "columns"), CASES)
@pytest.mark.parametrize("seed", range(2, 8))
def test_what_arrives_later_changes_nothing_that_a_cut_off_saw(
    replays: dict[str, Replay], entity: str, columns: str, seed: int
) -> None:
    replay, batches = replays[entity], draw_batches(entity, seed)
    seen = {}
    for count, (day, _) in enumerate(batches, start=1):
        replay.arrive(batches[:count], at_once=True)
        seen[day] = seen_by(replay, known(day), columns)
    for day, rows in seen.items():
        assert seen_by(replay, known(day), columns) == rows


def seen_by(replay: Replay, cut_off: datetime, columns: str) -> list[tuple[object, ...]]:
    return read(
        replay.settings,
        f"select {visible_at(cut_off, columns)} from staging.stg_subscriptions__{replay.entity}"
        f" where known_at <= '{cut_off.isoformat()}' order by {columns.replace('superseded_at, ', '')}, 1",
    )
