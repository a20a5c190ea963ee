"""Every file of the corpus gets its right result: nothing is lost, nothing is altered."""

import csv
import gzip
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import hypothesis
import pytest
from bad_input_corpus import CODECS, CORPUS, DECLARATION, Case, Rows
from clones import clone_warehouse, drop_warehouse
from hypothesis import strategies as st

from churn_ml.declarations import load_dataset
from churn_ml.errors import LandingError
from churn_ml.landing.delivery import LandedFile, land_file
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.raw_tables import ensure_raw_tables

csv.field_size_limit(10_000_000)
AS_OF = date(2026, 10, 31)
KNOWN_AT = datetime(2026, 11, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def warehouse(server: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """One warehouse with the corpus's own declaration for all cases."""
    project = tmp_path_factory.mktemp("project")
    (project / "datasets").mkdir()
    (project / "datasets" / "telco.yml").write_text(DECLARATION, encoding="utf-8")
    settings = clone_warehouse(server).model_copy(update={"project_dir": project})
    with connect(settings, Role.OWNER) as owner:
        ensure_raw_tables(owner, load_dataset(settings))
    yield settings
    drop_warehouse(settings)


@pytest.fixture
def parts(warehouse: Settings) -> Settings:
    """The corpus's warehouse with nothing landed."""
    with connect(warehouse, Role.OWNER) as owner:
        owner.execute("truncate raw.parts, raw.notes, raw.latin, raw.windows, ops.landing_batches cascade")
    return warehouse


def land(settings: Settings, path: Path, entity: str) -> LandedFile:
    return land_file(settings, path, entity, as_of_date=AS_OF, known_at=KNOWN_AT)


def stored(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with connect(settings, Role.OWNER) as owner:
        return owner.execute(query).fetchall()


def landed_rows(settings: Settings, entity: str) -> Rows:
    columns = "note" if entity == "notes" else "part_id, part_name, part_note"
    return stored(settings, f"select {columns} from raw.{entity} order by _row_number")


def read_by_csv_module(case: Case, path: Path) -> Rows:
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    text = content.decode(CODECS[case.entity]).removeprefix("\ufeff")
    header, *rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=";" if case.entity == "latin" else ","
    )
    order = [
        header.index(column) for column in (["note"] if case.entity == "notes" else ["id", "name", "note"])
    ]
    return [tuple(row[place] if row else "" for place in order) for row in rows]


def test_corpus_has_a_name_for_every_case() -> None:
    assert len({case.name for case in CORPUS}) == len(CORPUS) >= 30


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_file_gets_its_right_result(parts: Settings, tmp_path: Path, case: Case) -> None:
    path = case.write(tmp_path)
    if case.error is not None:
        with pytest.raises(LandingError, match=case.error):
            land(parts, path, case.entity)
        for table in (f"raw.{case.entity}", "ops.landing_batches", "ops.quarantine"):
            assert stored(parts, f"select from {table}") == []
        return

    result = land(parts, path, case.entity)

    expected = read_by_csv_module(case, path) if case.landed is None else case.landed
    assert landed_rows(parts, case.entity) == expected
    quarantine = stored(
        parts,
        "select reason, line_number, line_count, raw_bytes from ops.quarantine order by quarantine_id",
    )
    assert quarantine == case.quarantined
    assert (result.rows_landed, result.rows_quarantined) == (len(expected), len(quarantine))
    assert result.rows_in_file == result.rows_landed + result.rows_quarantined
    assert result.file_name.replace("\\\\", "\\") == path.name
    assert stored(parts, "select row_count_in_file, row_count_landed from ops.landing_batches") == [
        (result.rows_in_file, result.rows_landed)
    ]
    require_kept_lines(path, quarantine)
    again = land(parts, path, case.entity)
    assert (again.is_unchanged, again.batch_id) == (True, result.batch_id)
    assert len(landed_rows(parts, case.entity)) == result.rows_landed


def require_kept_lines(path: Path, quarantine: list[tuple[object, ...]]) -> None:
    """Quarantined bytes are the lines of the file that their numbers name."""
    if path.suffix != ".csv":
        return
    lines = path.read_bytes().split(b"\n")
    for _, number, count, raw in quarantine:
        assert b"\n".join(lines[number - 1 : number - 1 + count]) == raw.removesuffix(b"\n")


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
TRICKY = st.text(st.sampled_from('",\n\r\\.a é'), max_size=6)
TABLES = st.lists(st.tuples(*[TEXT | TRICKY] * 3), min_size=1, max_size=12)
# Below Python 3.13 the writer leaves a carriage return bare where lines end in a line feed.
DIALECTS = st.sampled_from(
    [
        (csv.QUOTE_MINIMAL, "\r\n"),
        (csv.QUOTE_ALL, "\n"),
        (csv.QUOTE_ALL, "\r\n"),
        (csv.QUOTE_NONNUMERIC, "\n"),
    ]
)


@hypothesis.settings(
    max_examples=60, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(table=TABLES, dialect=DIALECTS, has_last_line_end=st.booleans())
def test_table_written_by_the_csv_module_lands_identical(
    parts: Settings,
    tmp_path: Path,
    table: list[tuple[str, str, str]],
    dialect: tuple[int, str],
    has_last_line_end: bool,
) -> None:
    quoting, line_end = dialect
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator=line_end)
    writer.writerows([("id", "name", "note"), *table])
    content = text.getvalue() if has_last_line_end else text.getvalue().removesuffix(line_end)
    path = tmp_path / "parts.csv"
    path.write_bytes(content.encode())
    with connect(parts, Role.OWNER) as owner:
        owner.execute("truncate raw.parts, ops.landing_batches cascade")

    result = land(parts, path, "parts")

    assert landed_rows(parts, "parts") == table
    assert (result.rows_in_file, result.rows_quarantined) == (len(table), 0)
