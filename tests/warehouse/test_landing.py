"""Landing the Telco shape: idempotence, first loads, folders, the inbox and the night's snapshot."""

import csv
import gzip
import io
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_ml.declarations import load_dataset
from churn_ml.errors import LandingError
from churn_ml.landing.delivery import LandedFile, LandingSummary, land_file, land_inbox, land_path
from churn_ml.landing.snapshots import settle_night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run, read_run

OCTOBER = date(2026, 10, 31)
NOVEMBER = date(2026, 11, 30)
DAY = timedelta(days=1)


def cut_off(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 2, tzinfo=UTC) + DAY


def customers(settings: Settings, *ids: str) -> bytes:
    text = io.StringIO(newline="")
    columns = list(load_dataset(settings).entities["customers"].columns)
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([customer_id, *["No"] * (len(columns) - 1)] for customer_id in ids)
    return text.getvalue().encode()


def deliver(settings: Settings, day: date | str, *ids: str, name: str = "customers.csv") -> Path:
    path = settings.inbox / str(day) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(customers(settings, *ids))
    return path


def land(settings: Settings, path: Path, day: date | None = OCTOBER) -> LandedFile:
    return land_file(settings, path, "customers", as_of_date=day, known_at=cut_off(OCTOBER))


def stored(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with connect(settings, Role.OWNER) as owner:
        return owner.execute(query).fetchall()


def publish(settings: Settings, run: Run) -> None:
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.published_runs (as_of_date, run_id, known_as_of) values (%s, %s, %s)",
            [run.as_of_date, run.run_id, run.known_as_of],
        )
        owner.execute(
            "insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)"
            " values ('publish', %s, %s, 'a test', 'test')",
            [run.as_of_date, run.run_id],
        )


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """The warehouse of one test with an inbox of its own."""
    return settings.model_copy(update={"inbox_dir": tmp_path / "inbox"})


def test_real_telco_file_lands_every_row_as_delivered(settings: Settings, real_telco_file: Path) -> None:
    result = land(settings, real_telco_file)
    assert (result.rows_in_file, result.rows_landed, result.rows_quarantined) == (7043, 7043, 0)
    columns = ", ".join(load_dataset(settings).entities["customers"].columns.values())
    landed = stored(settings, f"select {columns} from raw.customers order by _row_number")
    with real_telco_file.open(newline="", encoding="utf-8") as file:
        assert landed == [tuple(row) for row in list(csv.reader(file))[1:]]
    assert stored(settings, "select count(*) from raw.customers where total_charges = ' '") == [(11,)]


def test_every_row_says_where_it_came_from(settings: Settings, tmp_path: Path) -> None:
    run = open_run(settings, "night", cut_off(OCTOBER))
    path = tmp_path / "customers.csv"
    path.write_bytes(customers(settings, "a", "b"))
    landed = land_file(
        settings, path, "customers", as_of_date=OCTOBER, known_at=run.known_as_of, run_id=run.run_id
    )
    rows = stored(
        settings,
        "select customer_id, _row_number, _batch_id, rows._as_of_date, _known_at, _landed_at = landed_at,"
        " run_id"
        " from raw.customers as rows join ops.landing_batches on batch_id = _batch_id order by _row_number",
    )
    assert rows == [
        (name, number, landed.batch_id, OCTOBER, run.known_as_of, True, run.run_id)
        for number, name in enumerate("ab", start=1)
    ]


def test_same_file_twice_is_a_no_op_that_says_so(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "customers.csv", tmp_path / "renamed.csv"
    for path in (first, second):
        path.write_bytes(customers(settings, "a", "b"))
    landed = land(settings, first)
    with caplog.at_level(logging.INFO, "churn_ml.landing"):
        again = land(settings, second)
    assert (landed.is_unchanged, again.is_unchanged, again.batch_id) == (False, True, landed.batch_id)
    assert f"the same file was landed as batch {landed.batch_id}" in caplog.text
    assert stored(settings, "select count(*) from raw.customers") == [(2,)]


def test_same_size_or_other_date_is_another_batch(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_bytes(customers(settings, "a"))
    land(settings, path)
    assert not land(settings, path, NOVEMBER).is_unchanged
    path.write_bytes(customers(settings, "b"))
    assert not land(settings, path).is_unchanged
    assert stored(settings, "select count(*), count(distinct _batch_id) from raw.customers") == [(3, 3)]


def test_same_file_at_the_same_time_lands_once(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_bytes(customers(settings, *(f"c{number}" for number in range(20_000))))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: land(settings, path), range(4)))
    assert sorted(result.is_unchanged for result in results) == [False, True, True, True]
    assert len({result.batch_id for result in results}) == 1
    assert stored(settings, "select count(*) from raw.customers") == [(20_000,)]


def test_failed_landing_leaves_nothing_and_can_be_repeated(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv.gz"
    whole = gzip.compress(customers(settings, *(f"c{number}" for number in range(50_000))))
    path.write_bytes(whole[:-100])
    with pytest.raises(LandingError, match="whole gzip file"):
        land(settings, path)
    assert stored(settings, "select from raw.customers") == []
    path.write_bytes(whole)
    assert land(settings, path).rows_landed == 50_000


@pytest.mark.parametrize("kind", ["clean", "torn"])
def test_row_numbers_start_at_one_and_leave_no_gap(settings: Settings, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "customers.csv"
    tail = b"torn\n" if kind == "torn" else b""
    path.write_bytes(customers(settings, *(f"c{number}" for number in range(3000))) + tail)
    land(settings, path)
    numbers = stored(
        settings, "select min(_row_number), max(_row_number), count(distinct _row_number) from raw.customers"
    )
    assert numbers == [(1, 3000, 3000)]


def test_loader_can_change_nothing_that_landed(settings: Settings) -> None:
    with connect(settings, Role.LOADER) as loader:
        rights = loader.execute(
            "select has_table_privilege('raw.customers', 'update'),"
            " has_table_privilege('raw.customers', 'delete')"
        ).fetchone()
    assert rights == (False, False)


def test_first_load_is_known_from_the_day_after(settings: Settings, tmp_path: Path) -> None:
    for day in (OCTOBER, NOVEMBER):
        deliver(settings, day, f"c{day}")
    landed = land_path(settings, settings.inbox, first_load=True)
    assert [file.as_of_date for file in landed] == [OCTOBER, NOVEMBER]
    known = stored(settings, "select _as_of_date, _known_at from raw.customers order by 1")
    assert known == [
        (OCTOBER, datetime(2026, 11, 1, tzinfo=UTC)),
        (NOVEMBER, datetime(2026, 12, 1, tzinfo=UTC)),
    ]
    assert stored(settings, "select distinct is_first_load from ops.landing_batches") == [(True,)]


def test_first_load_is_refused_once_a_night_was_published(settings: Settings) -> None:
    path = deliver(settings, OCTOBER, "a")
    publish(settings, open_run(settings, "night", cut_off(OCTOBER)))
    with connect(settings, Role.OWNER) as owner:
        owner.execute("delete from ops.published_runs")  # un-published nights count too
    with pytest.raises(LandingError, match="never published a night"):
        land_path(settings, path, first_load=True)
    assert stored(settings, "select from raw.customers") == []


def test_late_file_is_known_after_every_published_cut_off(settings: Settings) -> None:
    far_away = datetime(2099, 1, 1, 2, tzinfo=UTC)
    publish(settings, open_run(settings, "night", far_away))
    land_path(settings, deliver(settings, OCTOBER, "a"))
    assert stored(settings, "select distinct _known_at from raw.customers") == [
        (far_away + timedelta(microseconds=1),)
    ]


def test_known_at_needs_a_time_zone(settings: Settings, tmp_path: Path) -> None:
    path = deliver(settings, OCTOBER, "a")
    with pytest.raises(LandingError, match="with a time zone"):
        land_file(
            settings, path, "customers", as_of_date=OCTOBER, known_at=datetime(2026, 11, 1)
        )  # fmt: skip


def test_unknown_entity_is_refused(settings: Settings) -> None:
    path = deliver(settings, OCTOBER, "a")
    with pytest.raises(LandingError, match=r"entity of telco \(customers\), found 'invoices'"):
        land_file(settings, path, "invoices", as_of_date=OCTOBER, known_at=cut_off(OCTOBER))


def test_folder_lands_its_matching_files_in_order(settings: Settings) -> None:
    deliver(settings, OCTOBER, "b", name="b.csv")
    deliver(settings, OCTOBER, "a", name="a.csv")
    deliver(settings, OCTOBER, "x", name="README.txt")
    deliver(settings, OCTOBER, "x", name=".hidden.csv")
    landed = land_path(settings, settings.inbox / str(OCTOBER))
    assert [(file.file_name, file.as_of_date) for file in landed] == [("a.csv", OCTOBER), ("b.csv", OCTOBER)]


def test_file_takes_the_date_of_its_folder(settings: Settings) -> None:
    (landed,) = land_path(settings, deliver(settings, OCTOBER, "a"))
    assert landed.as_of_date == OCTOBER


def test_two_as_of_dates_are_refused(settings: Settings) -> None:
    path = deliver(settings, OCTOBER, "a")
    for delivered in (path, path.parent, settings.inbox):
        with pytest.raises(LandingError, match="found two: 2026-11-30 and 2026-10-31"):
            land_path(settings, delivered, as_of_date=NOVEMBER)


def test_snapshot_without_an_as_of_date_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_bytes(customers(settings, "a"))
    with pytest.raises(LandingError, match="Expected an as-of date"):
        land_path(settings, path)


def test_impossible_date_of_a_folder_is_refused(settings: Settings) -> None:
    with pytest.raises(LandingError, match="Expected a date as the name of the folder"):
        land_path(settings, deliver(settings, "2026-02-30", "a"))


def test_folder_without_matching_files_is_refused(settings: Settings) -> None:
    path = deliver(settings, OCTOBER, "a", name="notes.txt")
    with pytest.raises(LandingError, match=r"match customers: \*\.csv"):
        land_path(settings, path.parent)
    with pytest.raises(LandingError, match=r"notes\.txt: expected a name"):
        land_path(settings, path)


def test_inbox_lands_up_to_the_night_of_the_run(settings: Settings) -> None:
    for day in (OCTOBER, OCTOBER + DAY, NOVEMBER):
        deliver(settings, day, f"c{day}", f"d{day}")
    run = open_run(settings, "night", cut_off(OCTOBER + DAY))
    assert land_inbox(settings, run.run_id) == LandingSummary(2, 4, 0, 0)
    assert land_inbox(settings, run.run_id) == LandingSummary(0, 0, 0, 2)
    assert stored(settings, "select distinct _known_at from raw.customers") == [(run.known_as_of,)]


def test_file_that_landed_is_told_without_being_read(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    path, other = deliver(settings, OCTOBER, "a"), deliver(settings, NOVEMBER, "b")
    first = land_path(settings, settings.inbox)
    stamp = path.stat()
    path.write_bytes(path.read_bytes().replace(b"\na,", b"\nA,"))
    os.utime(
        path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns)
    )  # as no writer leaves it: shows that nothing is read
    with caplog.at_level(logging.INFO, "churn_ml.landing"):
        again = land_path(settings, settings.inbox)
    assert [(file.batch_id, file.is_unchanged) for file in again] == [(file.batch_id, True) for file in first]
    assert "2 files: 0 new, 2 unchanged of which 2 were not read" in caplog.text
    os.utime(path)
    os.utime(other)
    assert [file.is_unchanged for file in land_path(settings, settings.inbox)] == [False, True]


def test_moved_inbox_needs_no_second_reading(settings: Settings, tmp_path: Path) -> None:
    deliver(settings, OCTOBER, "a")
    land_path(settings, settings.inbox)
    moved = settings.model_copy(update={"inbox_dir": settings.inbox_dir.rename(tmp_path / "moved")})  # type: ignore[union-attr]
    assert land_path(moved, moved.inbox)[0].is_unchanged
    assert stored(settings, "select file_path from ops.landing_batches") == [("2026-10-31/customers.csv",)]


def test_same_path_for_another_date_is_another_delivery(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_bytes(customers(settings, "a"))
    results = [land_path(settings, path, as_of_date=day)[0] for day in (OCTOBER, NOVEMBER, OCTOBER)]
    assert [file.is_unchanged for file in results] == [False, False, True]


def test_broken_file_among_many_keeps_those_before_it(settings: Settings) -> None:
    for day, name in ((OCTOBER, "a"), (NOVEMBER, "b")):
        deliver(settings, day, name)
    (settings.inbox / str(OCTOBER + DAY)).mkdir()
    (settings.inbox / str(OCTOBER + DAY) / "broken.csv").write_bytes(b"no,header\n1,2\n")
    with pytest.raises(LandingError, match="expected the 21 declared columns"):
        land_path(settings, settings.inbox)
    assert stored(settings, "select customer_id, _row_number from raw.customers") == [("a", 1)]


def test_history_that_landed_late_cannot_become_a_first_load(settings: Settings) -> None:
    deliver(settings, OCTOBER, "a")
    land_path(settings, settings.inbox)
    with pytest.raises(LandingError, match="to be new for its first load, found it landed as batch"):
        land_path(settings, settings.inbox, first_load=True)


def test_absent_inbox_is_no_error(settings: Settings) -> None:
    run = open_run(settings, "night", cut_off(OCTOBER))
    assert land_inbox(settings, run.run_id) == LandingSummary(0, 0, 0, 0)


def test_file_beside_the_folders_of_the_inbox_is_refused(settings: Settings) -> None:
    settings.inbox.mkdir(parents=True)
    (settings.inbox / "customers.csv").write_bytes(customers(settings, "a"))
    run = open_run(settings, "night", cut_off(OCTOBER))
    with pytest.raises(LandingError, match="Move each file into the folder of the day"):
        land_inbox(settings, run.run_id)


def test_night_settles_on_the_newest_snapshot_it_may_know(settings: Settings) -> None:
    for day in (OCTOBER - DAY, OCTOBER, NOVEMBER):
        deliver(settings, day, f"c{day}")
    land_path(settings, settings.inbox, first_load=True)
    run = open_run(settings, "night", cut_off(OCTOBER + 5 * DAY))
    assert settle_night(settings, run.run_id)
    assert read_run(settings, run.run_id).as_of_date == OCTOBER


def test_night_does_not_see_a_snapshot_that_was_known_later(settings: Settings) -> None:
    early, late = deliver(settings, OCTOBER - DAY, "a"), deliver(settings, OCTOBER, "b")
    land_path(settings, early, known_at=cut_off(OCTOBER - DAY))
    land_path(settings, late, known_at=cut_off(OCTOBER) + DAY)
    run = open_run(settings, "night", cut_off(OCTOBER))
    assert settle_night(settings, run.run_id)
    assert read_run(settings, run.run_id).as_of_date == OCTOBER - DAY


def test_night_without_a_snapshot_fails_and_says_what_to_do(settings: Settings) -> None:
    land_path(settings, deliver(settings, NOVEMBER, "a"), known_at=cut_off(NOVEMBER))
    run = open_run(settings, "night", cut_off(OCTOBER))
    with pytest.raises(LandingError, match=r"found none\. Put a file in .*/telco/2026-10-31/"):
        settle_night(settings, run.run_id)


def test_night_that_may_not_know_its_snapshot_says_from_when_it_is_known(settings: Settings) -> None:
    land_path(settings, deliver(settings, OCTOBER, "a"), known_at=cut_off(NOVEMBER))
    run = open_run(settings, "night", cut_off(OCTOBER))
    with pytest.raises(
        LandingError, match="the one of 2026-10-31, which is known only from 2026-12-01T02:00"
    ):
        settle_night(settings, run.run_id)


def test_published_snapshot_leaves_a_later_night_unchanged(settings: Settings) -> None:
    land_path(settings, deliver(settings, OCTOBER, "a"), known_at=cut_off(OCTOBER))
    publish(settings, open_run(settings, "night", cut_off(OCTOBER)))
    later = open_run(settings, "night", cut_off(OCTOBER + DAY))
    assert not settle_night(settings, later.run_id)
    assert read_run(settings, later.run_id).status == "unchanged"


def test_same_night_again_and_training_are_not_held_up_by_a_published_snapshot(settings: Settings) -> None:
    land_path(settings, deliver(settings, OCTOBER, "a"), known_at=cut_off(OCTOBER))
    publish(settings, open_run(settings, "night", cut_off(OCTOBER)))
    again = open_run(settings, "night", cut_off(OCTOBER))
    training = open_run(settings, "training", cut_off(OCTOBER + DAY))
    assert settle_night(settings, again.run_id)
    assert settle_night(settings, training.run_id)
    assert read_run(settings, training.run_id).as_of_date == OCTOBER


def test_large_unclean_file_lands_in_a_few_seconds(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_bytes(
        customers(settings, *(f"c{n}" for n in range(30_000))) + b'"' * 40_001 + b"\n" + b'"\n' * 2000
    )
    result = land(settings, path)
    assert (result.rows_landed, result.rows_in_file > 30_000) == (30_000, True)
    assert result.seconds < 30


def test_register_holds_a_file_once_whatever_its_size_says(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_bytes(customers(settings, "a"))
    land(settings, path)
    with connect(settings, Role.OWNER) as owner:
        owner.execute("update ops.landing_batches set file_byte_count = 1")
    with pytest.raises(LandingError, match=r"in ops\.landing_batches with another size"):
        land(settings, path)
    assert stored(settings, "select count(*) from raw.customers") == [(1,)]


def test_file_that_grows_while_it_is_read_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_bytes(customers(settings, "a"))
    with ThreadPoolExecutor(1) as pool:
        with connect(settings, Role.OWNER) as blocker:
            blocker.execute("lock table raw.customers in exclusive mode")
            landing = pool.submit(land, settings, path)
            wait_for_lock(settings)
            with path.open("ab") as file:
                file.write(customers(settings, "b").splitlines(keepends=True)[1])
        with pytest.raises(LandingError, match="the file changed while it was read"):
            landing.result()
    assert stored(settings, "select from ops.landing_batches") == []


def wait_for_lock(settings: Settings) -> None:
    for _ in range(3000):
        if stored(settings, "select from pg_locks where not granted"):
            return
        time.sleep(0.02)
    pytest.fail("the landing never waited for the table")


def dataset_with(settings: Settings, tmp_path: Path, before: str, after: str) -> Settings:
    project = tmp_path / "project"
    (project / "datasets").mkdir(parents=True)
    text = (settings.project_dir / "datasets" / "telco.yml").read_text(encoding="utf-8")
    (project / "datasets" / "telco.yml").write_text(text.replace(before, after), encoding="utf-8")
    return settings.model_copy(update={"project_dir": project})


def dated(settings: Settings, tmp_path: Path) -> Settings:
    panel = "panel: {spacing: month_end, most_dates: 2, least_dates: 2, most_customers: 1000, treated: keep}"
    return dataset_with(settings, tmp_path, 'kind: "snapshot"', f'kind: "dated"\n{panel}')


def test_dated_dataset_keeps_the_date_of_its_night(settings: Settings, tmp_path: Path) -> None:
    settings = dated(settings, tmp_path)
    run = open_run(settings, "night", cut_off(OCTOBER))
    assert settle_night(settings, run.run_id)
    assert read_run(settings, run.run_id).as_of_date == OCTOBER


def test_dated_dataset_lands_a_file_without_a_date(settings: Settings, tmp_path: Path) -> None:
    settings = dated(settings, tmp_path)
    path = tmp_path / "customers.csv"
    path.write_bytes(customers(settings, "a"))
    assert [land(settings, path, None).is_unchanged for _ in range(2)] == [False, True]
    assert stored(settings, "select _as_of_date from raw.customers") == [(None,)]


@pytest.mark.parametrize("name", ["customers.csv", "customers.csv.gz", "customers.parquet"])
def test_dated_delivery_without_rows_says_that_nothing_happened(
    settings: Settings, tmp_path: Path, name: str
) -> None:
    path = deliver(settings, OCTOBER, name=name)
    header = path.read_bytes()
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(header))
    elif name.endswith(".parquet"):
        pq.write_table(
            pa.table({column: pa.array([], pa.string()) for column in header.decode().strip().split(",")}),
            path,
        )
    with pytest.raises(LandingError, match="An empty snapshot would replace every customer by nobody"):
        land_path(settings, path)
    (landed,) = land_path(dated(settings, tmp_path), path)
    assert (landed.rows_in_file, landed.is_unchanged) == (0, False)
    assert stored(settings, "select as_of_date, row_count_in_file from ops.landing_batches") == [(OCTOBER, 0)]


def test_name_that_matches_two_entities_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = deliver(settings, OCTOBER, "a")
    second = """  others:
    files: ["customers.*"]
    delimiter: ","
    encoding: "UTF8"
    key: ["id"]
    columns: {"id": "id"}
sensitive_features: []"""
    settings = dataset_with(settings, tmp_path, "sensitive_features: []", second)
    with pytest.raises(LandingError, match="found customers and others"):
        land_path(settings, path)


def test_folder_with_another_name_is_left_alone_and_named_in_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(settings, OCTOBER, "a")
    deliver(settings, "archive", "b")
    with caplog.at_level(logging.WARNING, "churn_ml.landing"):
        assert len(land_path(settings, settings.inbox)) == 1
    assert "archive is not named YYYY-MM-DD: left alone" in caplog.text
